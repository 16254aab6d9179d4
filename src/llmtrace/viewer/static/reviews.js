// The queue: the calls that wait for a person, those that were decided, and the work that runs gave up (dead letters).

import { visibleText } from "./decisions.js";
import { chip, copyText, el, pageHead, quiet } from "./dom.js";
import { ago, callText, duration, nameText } from "./format.js";
import { go, note, placeText, toList } from "./place.js";
import { PAGE, TablePage } from "./virtual.js";

const LISTS = { waiting: "waiting", decided: "decided", letters: "given up" };
const HEADS = ["state", "call, and why it is held", "agent and task", "asked", "time left"];
const LETTER_HEADS = ["state", "what was given up, why, and the command to send it again", "agent and task", "given up", ""];
const EXAMPLE = '@llmtrace.tool(review="when ungrounded")';

export function leftText(review) {
  const left = review.deadline - Date.now();
  return left > 0 ? `${duration(left)} left` : "time is over";
}

export function stateText(review) {
  if (review.state === "proposed") return review.alive ? "waits" : "program ended";
  return review.state === "approved" && review.decision ? nameText(review.decision) : nameText(review.state);
}

export const stateClass = (review) => (review.state === "proposed" && review.alive ? "running" : review.state);

export class QueueView extends TablePage {
  ticks = 0;

  constructor(app, data, query) {
    super(app, data);
    this.which = query.get("letters") === "1" ? "letters" : query.get("decided") === "1" ? "decided" : "waiting";
  }

  async open() {
    document.title = "reviews · llmtrace";
    this.app.className = "list queue";
    const toggle = (which) => el("button", { "data-list": which, onclick: () => this.show(which) }, LISTS[which]);
    this.toggles = el("div.toggle", { role: "group", label: "Which" }, Object.keys(LISTS).map(toggle));
    this.heads = el("div.review-row.heads", { "aria-hidden": true });
    this.notice = el("p.gone", { hidden: true });
    this.makeTable("Reviews", 52, 84);
    this.app.replaceChildren(
      el("header.top", pageHead("Reviews", "calls that wait for a person, what was decided, and what runs gave up", this.toggles, this.count)),
      el("main.table", { label: "Reviews" }, this.notice,
        this.heads, this.box));
    this.mark();
    this.box.focus({ preventScroll: true });
    await this.load();
  }

  show(which) {
    this.which = which;
    note("reviews", which === "waiting" ? {} : { [which]: "1" });
    this.mark();
    this.cursor = 0;
    this.load();
  }

  mark() {
    for (const button of this.toggles.children) button.ariaPressed = button.dataset.list === this.which;
    this.heads.replaceChildren(...(this.which === "letters" ? LETTER_HEADS : HEADS).map((head) => el("span", head)));
  }

  rowHeight() {
    return this.which === "letters" ? 22 : 0; // one line more
  }

  async fetch(limit, offset) {
    if (this.which === "letters") {
      const found = await this.data.letters();
      return { ...found, rows: found.letters.map((row) => ({ ...row, key: `letter-${row.id}` })) };
    }
    const found = await this.data.reviews({ decided: this.which === "decided" ? "1" : "", limit, before: offset ? this.rows[offset - 1].asked : null });
    return { ...found, rows: found.reviews.map((row) => ({ ...row, key: row.id })) };
  }

  async load() {
    const asked = ++this.asked;
    const before = this.rows[this.cursor]?.id;
    const found = await this.fetch(Math.min(200, Math.max(PAGE, this.rows.length)), 0);
    if (asked !== this.asked) return;
    this.more = found.more;
    this.notice.textContent = found.problem;
    this.notice.hidden = !found.problem;
    this.put(found.rows, before);
  }

  countWords() {
    return LISTS[this.which];
  }

  emptyWords() {
    if (this.which === "decided") return quiet("No review was decided yet.");
    if (this.which === "letters") return quiet("No work was given up: no dead letter is open.");
    return [el("h2", "Nothing waits for a person"), el("p", "Hold a tool's calls with one line: ", el("code", EXAMPLE), "."), el("p", "A call that is held stands here until somebody approves, edits, rejects or answers it.")];
  }

  row(at) {
    const row = this.rows[at];
    const cell = (cls, ...inside) => el("span", { class: cls, role: "gridcell" }, inside);
    if (row.command) return this.letter(at, row, cell);
    return el("div", this.common(at, "review-row", `review-${row.id}`),
      cell("", el(`span.state ${stateClass(row)}`, stateText(row))),
      cell("said", el("a", { href: `#/reviews/${row.id}`, tabindex: -1 }, visibleText(row.tool === null ? row.question : callText(row.tool, row.call))), row.by ? `by ${row.by}` : visibleText(row.reason)),
      cell("agent", el("b", row.agent ?? ""), row.task ?? ""),
      cell("num", ago(row.asked)),
      cell("num", row.state === "proposed" ? leftText(row) : ""));
  }

  letter(at, row, cell) {
    const copy = (event) => { event.stopPropagation(); copyText(row.command, "command"); };
    const what = row.state === "failed" ? `the retry failed: ${row.note}` : row.what;
    return el("div", this.common(at, "review-row letter", `review-${row.id}`),
      cell("", el(`span.state ${row.state}`, nameText(row.state))),
      cell("said", el("a", { href: placeText(`trace/${row.trace}`, { span: row.id }), tabindex: -1 }, visibleText(`${nameText(row.reason)}: ${row.name}`)), visibleText(what), el("code", row.command)),
      cell("agent", el("b", row.agent ?? ""), row.task ?? ""),
      cell("num", ago(row.at)),
      cell("num", chip("copy", copy, { tabindex: -1, title: "copy the command" })));
  }

  enter(at) {
    const row = this.rows[at];
    if (row?.command) go(`trace/${row.trace}`, { span: row.id });
    else if (row) go(`reviews/${row.id}`);
  }

  key(event) {
    if (super.key(event)) return true;
    const lists = Object.keys(LISTS);
    if (event.key === "d") this.show(lists[(lists.indexOf(this.which) + 1) % lists.length]);
    else if (["u", "Escape"].includes(event.key)) toList();
    else return false;
    return true;
  }

  reviewed() {
    this.load();
  }

  tick() {
    this.ticks += 1;
    if (this.ticks % 5 === 0 && this.rows.length && this.which === "waiting") this.load(); // a program may have died
    else this.list?.redraw(...this.rows.map((row) => row.key));
  }
}

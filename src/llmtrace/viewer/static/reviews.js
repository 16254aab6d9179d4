// The queue: calls that wait for a person, decided ones, and dead letters.

import { visibleText } from "./decisions.js";
import { el, pageHead, quiet } from "./dom.js";
import { ago, callText, duration, nameText } from "./format.js";
import { note, toList } from "./place.js";
import { PAGE, TablePage, cell } from "./virtual.js";

const LISTS = ["waiting", "decided", "given_up"];
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

const placeOf = (row) => row.place ?? `#/reviews/${row.id}`;

export class QueueView extends TablePage {
  ticks = 0;

  constructor(app, data, query) {
    super(app, data);
    this.which = LISTS.find((name) => query.get(name)) ?? "waiting";
  }

  async open() {
    document.title = "reviews · llmtrace";
    this.app.className = "list queue";
    const toggle = (which) => el("button", { "aria-pressed": this.which === which, onclick: () => this.show(which) }, nameText(which));
    this.toggles = el("div.toggle", { role: "group", label: "Which" }, LISTS.map(toggle));
    this.notice = el("p.gone", { hidden: true });
    this.makeTable("Reviews", 52, 84);
    this.app.replaceChildren(
      el("header.top", pageHead("Reviews", "calls that wait for a person, are decided, or were given up", this.toggles, this.count)),
      el("main.table", { label: "Reviews" }, this.notice,
        el("div.review-row.heads", { "aria-hidden": true }, ["state", "what, and why", "agent and task", "since", "time left"].map((head) => el("span", head))), this.box));
    this.box.focus({ preventScroll: true });
    await this.load();
  }

  show(which) {
    this.which = which;
    note("reviews", { [which]: which !== "waiting" });
    for (const [at, button] of [...this.toggles.children].entries()) button.ariaPressed = LISTS[at] === which;
    this.cursor = 0;
    this.load();
  }

  async fetch(limit, offset) {
    const found = await this.data.reviews({ [this.which]: "1", limit, before: offset ? this.rows[offset - 1].asked : null });
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
    return nameText(this.which);
  }

  emptyWords() {
    if (this.which !== "waiting") return quiet(`Nothing was ${nameText(this.which)}.`);
    return [el("h2", "Nothing waits for a person"), el("p", "Hold a tool's calls with one line: ", el("code", EXAMPLE), "."), el("p", "A call that is held stands here until somebody approves, edits, rejects or answers it.")];
  }

  row(at) {
    const row = this.rows[at];
    return el("div", this.common(at, "review-row", `review-${row.id}`),
      cell("", el(`span.state ${stateClass(row)}`, stateText(row))),
      cell("said", el("a", { href: placeOf(row), tabindex: -1 }, visibleText(row.tool === null ? row.question : callText(row.tool, row.call))), row.by ? `by ${row.by}` : visibleText(row.reason)),
      cell("agent", el("b", row.agent ?? ""), row.task ?? ""),
      cell("num", ago(row.asked)),
      cell("num", row.state === "proposed" ? leftText(row) : ""));
  }

  enter(at) {
    const row = this.rows[at];
    if (row) location.hash = placeOf(row);
  }

  key(event) {
    if (super.key(event)) return true;
    if (event.key === "d") this.show(LISTS[(LISTS.indexOf(this.which) + 1) % 3]);
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

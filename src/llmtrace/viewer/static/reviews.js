// The queue: the calls that wait for a person, and those that were decided.

import { visibleText } from "./decisions.js";
import { el, home, keysButton, quiet, stepsOf } from "./dom.js";
import { ago, callText, count, duration, nameText } from "./format.js";
import { go, note, toList } from "./place.js";
import { VirtualList } from "./virtual.js";

const PAGE = 100;
const EXAMPLE = '@llmtrace.tool(review="when ungrounded")';

/** How long is left to decide. */
export function leftText(review) {
  const left = review.deadline - Date.now();
  return left > 0 ? `${duration(left)} left` : "time is over";
}

/** Where a review stands. */
export function stateText(review) {
  if (review.state === "proposed") return review.alive ? "waits" : "program ended";
  if (review.state === "in_doubt") return "in doubt";
  return review.state === "approved" && review.decision ? nameText(review.decision) : nameText(review.state);
}

/** A state as a class of `.state`. */
export const stateClass = (review) => ({ proposed: review.alive ? "running" : "warning", in_doubt: "error", failed: "error", done: "ok", approved: "ok", started: "running", answered: "ok" })[review.state] ?? "warning";

export class QueueView {
  rows = /** @type {any[]} */ ([]);
  cursor = 0;
  more = false;
  problem = "";
  ticks = 0;

  /** @param {HTMLElement} app @param {URLSearchParams} query */
  constructor(app, data, query) {
    this.app = app;
    this.data = data;
    this.decided = query.get("decided") === "1";
  }

  async open() {
    document.title = "reviews · llmtrace";
    this.app.className = "list queue";
    const toggle = (decided, text) => el("button", { "aria-pressed": String(this.decided === decided), text, onclick: () => this.show(decided) });
    this.toggles = el("div", { class: "toggle", role: "group", "aria-label": "Which" }, toggle(false, "waiting"), toggle(true, "decided"));
    this.count = el("span", { class: "dim", role: "status" });
    this.notice = el("p", { class: "gone", hidden: true });
    this.box = el("div", { class: "rows", role: "grid", tabindex: "0", "aria-label": "Reviews" });
    this.app.replaceChildren(
      el("header", { class: "top" }, home(), el("div", { class: "what" }, el("h1", { text: "Reviews" }), el("p", { class: "dim", text: "calls that wait for a person, and what was decided" })), this.toggles, this.count, keysButton()),
      el("main", { class: "table", "aria-label": "Reviews" }, this.notice,
        el("div", { class: "review-row heads", "aria-hidden": "true" }, ["state", "call, and why it is held", "agent and task", "asked", "time left"].map((head) => el("span", { text: head }))), this.box));
    this.list = new VirtualList(this.box, { render: (at) => this.row(at), estimate: () => (innerWidth < 700 ? 84 : 52), key: (at) => this.rows[at].id, onScroll: (_, last) => { if (last > this.rows.length - 20 && this.more) this.loadMore(); } });
    this.box.focus({ preventScroll: true });
    await this.load();
  }

  show(decided) {
    this.decided = decided;
    note("reviews", { decided: decided ? "1" : "" });
    for (const [at, button] of [...this.toggles.children].entries()) button.setAttribute("aria-pressed", String(Boolean(at) === decided));
    this.cursor = 0;
    this.load();
  }

  async load() {
    const decided = this.decided;
    const before = this.rows[this.cursor]?.id;
    const found = await this.data.reviews({ decided: decided ? "1" : "", limit: Math.min(200, Math.max(PAGE, this.rows.length)) });
    if (decided !== this.decided) return;
    this.rows = found.reviews;
    this.more = found.more;
    this.cursor = Math.max(0, this.rows.findIndex((row) => row.id === before));
    this.notice.textContent = found.problem;
    this.notice.hidden = !found.problem;
    this.drawRows();
  }

  async loadMore() {
    if (this.loading) return;
    this.loading = true;
    const found = await this.data.reviews({ decided: this.decided ? "1" : "", limit: PAGE, before: this.rows[this.rows.length - 1].asked });
    this.loading = false;
    this.rows.push(...found.reviews);
    this.more = found.more;
    this.drawRows();
  }

  drawRows() {
    this.count.textContent = `${count(this.rows.length)}${this.more ? "+" : ""} ${this.decided ? "decided" : "waiting"}`;
    this.box.querySelector(".empty")?.remove();
    this.list?.reset(this.rows.length);
    if (!this.rows.length) this.box.append(el("div", { role: "row", class: "empty" }, el("div", { role: "gridcell", class: "empty" }, this.emptyWords())));
  }

  emptyWords() {
    if (this.decided) return quiet("No review was decided yet.");
    return [el("h2", { text: "Nothing waits for a person" }), el("p", {}, "Hold a tool's calls with one line: ", el("code", { text: EXAMPLE }), "."), el("p", { text: "A call that is held stands here until somebody approves, edits, rejects or answers it." })];
  }

  row(at) {
    const row = this.rows[at];
    const cell = (cls, ...inside) => el("span", { class: cls, role: "gridcell" }, inside);
    return el("div", { class: "review-row", role: "row", id: `review-${row.id}`, "aria-selected": String(at === this.cursor), onclick: (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); this.enter(at); } } },
      cell("", el("span", { class: `state ${stateClass(row)}`, text: stateText(row) })),
      cell("said", el("a", { href: `#/reviews/${row.id}`, tabindex: -1, text: visibleText(row.tool === null ? row.question : callText(row.tool, row.call)) }), row.by ? `by ${row.by}` : visibleText(row.reason)),
      cell("agent", el("b", { text: row.agent ?? "" }), row.task ?? ""),
      cell("num", ago(row.asked)),
      cell("num", row.state === "proposed" ? leftText(row) : ""));
  }

  enter(at) {
    if (this.rows[at]) go(`reviews/${this.rows[at].id}`);
  }

  move(to) {
    const before = this.rows[this.cursor]?.id;
    this.cursor = Math.max(0, Math.min(this.rows.length - 1, to));
    const now = this.rows[this.cursor]?.id;
    for (const id of [before, now]) if (id) this.list?.redraw(id);
    this.list?.show(this.cursor);
    if (now) this.box.setAttribute("aria-activedescendant", `review-${now}`);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const steps = stepsOf(event.key, 10);
    if (steps) this.move(this.cursor + steps);
    else if (["Enter", "l", "ArrowRight"].includes(event.key)) this.enter(this.cursor);
    else if (event.key === "d") this.show(!this.decided);
    else if (["u", "Escape"].includes(event.key)) toList();
    else return false;
    return true;
  }

  reviewed() {
    this.load();
  }

  tick() {
    this.ticks += 1;
    if (this.ticks % 5 === 0 && this.rows.length && !this.decided) this.load(); // a program may have died
    else for (const row of this.rows) this.list?.redraw(row.id);
  }

  close() {
    this.list?.close();
  }
}

// Two traces beside each other, step by step; the first step in which they part is chosen.

import { differences } from "./attempts.js";
import { dim, el, home, keysButton, say, stepsOf } from "./dom.js";
import { clock, cost, count, duration, plural, tokensOf } from "./format.js";
import { block, callPieces, parsed, textBlock } from "./json.js";
import { failureNode, letterOf, preview } from "./lines.js";
import { messageNode } from "./messages.js";
import { go, placeText, toList } from "./place.js";
import { VirtualList } from "./virtual.js";

const MARKS = { same: "=", changed: "≠", left: "←", right: "→" };
const WORDS = { same: "the same in both", changed: "different", left: "only in the first", right: "only in the second" };

export class CompareView {
  cursor = 0;
  pairs = /** @type {any[]} */ ([]);

  /** @param {HTMLElement} app @param {string[]} ids */
  constructor(app, data, ids) {
    this.app = app;
    this.data = data;
    this.ids = ids;
  }

  async open() {
    this.app.className = "comparing";
    this.app.replaceChildren(el("p", { class: "quiet loading", role: "status", text: "comparing …" }));
    this.diff = await this.data.compare(this.ids[0], this.ids[1]);
    this.pairs = this.diff.pairs;
    document.title = "compare · llmtrace";
    this.rowsBox = el("div", { class: "rows", role: "listbox", tabindex: "0", "aria-label": "Steps of both" });
    this.pane = el("section", { class: "pane", tabindex: "0", "aria-label": "The chosen step of both" });
    const side = (trace) => el("div", { class: "side" }, el("span", { class: `health ${trace.health}`, text: trace.health }), el("a", { href: placeText(`trace/${trace.id}`), text: trace.task ?? trace.name }),
      dim([plural(trace.spans, "step"), duration(trace.duration), `${tokensOf(trace)} tokens`, cost(trace.cost), clock(trace.start)].join(" · ")));
    const apart = this.pairs.filter((pair) => pair.what !== "same").length;
    this.app.replaceChildren(
      el("header", { class: "top" }, home(),
        el("div", { class: "what" }, el("h1", { text: this.diff.first === null ? "Same steps in both" : `First difference: step ${this.diff.first + 1} of ${this.pairs.length}` }),
          dim(`${plural(apart, "step")} different${this.diff.left_out ? `; ${count(this.diff.left_out)} steps not compared, there are too many` : ""}`)),
        el("span", { class: "dim", text: "n next difference" }), keysButton()),
      el("nav", { class: "sides", "aria-label": "Both traces" }, side(this.diff.left), side(this.diff.right)),
      el("main", { class: "panes", "aria-label": "Comparison" }, el("section", { class: "steps", "aria-label": "Steps" }, this.rowsBox), this.pane));
    this.list = new VirtualList(this.rowsBox, { render: (at) => this.row(at), estimate: () => 26, key: (at) => String(at) });
    this.list.reset(this.pairs.length);
    this.rowsBox.focus({ preventScroll: true });
    this.select(this.diff.first ?? 0);
  }

  row(at) {
    const pair = this.pairs[at];
    const cell = (row) => el("span", { class: `label${row ? ` k-${row.kind}` : ""}`, "data-letter": row && letterOf(row), style: { "--depth": 0 } }, row ? [el("b", { text: row.name }), preview(row)] : null);
    return el("div", { class: `row pair ${pair.what}`, role: "option", id: `pair-${at}`, "aria-selected": String(at === this.cursor), "aria-label": `${(pair.left ?? pair.right).name}: ${WORDS[pair.what]}`, onclick: () => this.select(at) },
      cell(pair.left), el("span", { class: "what-mark", text: MARKS[pair.what] }), cell(pair.right));
  }

  async select(to) {
    const before = this.cursor;
    this.cursor = Math.max(0, Math.min(this.pairs.length - 1, to));
    this.list?.redraw(String(before));
    this.list?.redraw(String(this.cursor));
    this.list?.show(this.cursor);
    this.rowsBox.setAttribute("aria-activedescendant", `pair-${this.cursor}`);
    const mine = this.cursor;
    const pair = this.pairs[mine];
    if (!pair) return;
    const payloads = await Promise.all([pair.left, pair.right].map(async (row, side) => (row ? (await this.data.payloads(this.ids[side], [row.id]))[row.id] : null)));
    if (mine !== this.cursor) return;
    this.pane.replaceChildren(el("h2", { class: "apart", text: `Step ${mine + 1}: ${WORDS[pair.what]}` }), el("div", { class: "beside" }, [pair.left, pair.right].map((row, side) => this.column(row, payloads[side], payloads[1 - side], side))));
  }

  column(row, payload, other, side) {
    if (!row || !payload) return el("div", { class: "attempt" }, el("h3", { text: side ? "second" : "first" }), dim("has no such step"));
    const marks = (a, b) => ({ marks: new Map(other ? differences(a, b).map((pointer) => [pointer, { cls: "changed" }]) : []) });
    return el("div", { class: "attempt" },
      el("h3", {}, el("a", { href: placeText(`trace/${this.ids[side]}`, { span: row.id }), text: `${side ? "second" : "first"} · ${row.name}` }), el("span", { class: `state ${row.state}`, text: row.state === "ok" ? "" : row.state }), duration(row.end === undefined ? null : row.end - row.start)),
      payload.arguments !== undefined ? block(callPieces(row.name, payload.arguments, marks(payload.arguments, other?.arguments)), { cls: "code call" }) : null,
      payload.has_result ? textBlock(payload.result, "code result", undefined, [], marks(parsed(payload.result), parsed(other?.result))) : null,
      payload.failure ? failureNode(payload) : null,
      row.kind === "agent" || row.kind === "workflow" ? (payload.input ?? []).filter((piece) => !Array.isArray(piece)).map((message) => messageNode(message)) : null,
      (payload.output ?? []).map((message) => messageNode(message)));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const steps = stepsOf(event.key, 20);
    if (document.activeElement === this.pane && event.key !== "Escape") return false;
    if (steps) this.select(this.cursor + steps);
    else if (event.key === "n" || event.key === "e") this.next(1);
    else if (event.key === "N" || event.key === "E") this.next(-1);
    else if (event.key === "Enter") {
      const pair = this.pairs[this.cursor];
      go(`trace/${this.ids[pair.left ? 0 : 1]}`, { span: (pair.left ?? pair.right).id });
    } else if (event.key === "u" || event.key === "Escape") toList();
    else return false;
    return true;
  }

  next(direction) {
    for (let at = this.cursor + direction; at >= 0 && at < this.pairs.length; at += direction) {
      if (this.pairs[at].what !== "same") return this.select(at);
    }
    return say("no further difference");
  }

  close() {
    this.list?.close();
  }
}

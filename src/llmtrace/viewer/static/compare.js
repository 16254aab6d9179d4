// Two traces beside each other, step by step.

import { dim, el, fill, link, pageHead, say, stepsOf } from "./dom.js";
import { clock, cost, count, duration, plural, tokensOf } from "./format.js";
import { callBlock, parsed, textBlock } from "./json.js";
import { failureNode, lengthOf, letterOf, preview } from "./lines.js";
import { changeMarks } from "./marks.js";
import { messageNode, newMessages } from "./messages.js";
import { go, placeText, toList } from "./place.js";
import { Page, VirtualList } from "./virtual.js";

const MARKS = { same: "=", changed: "≠", left: "←", right: "→" };
const WORDS = { same: "the same in both", changed: "different", left: "only in the first", right: "only in the second" };

export class CompareView extends Page {
  constructor(app, data, ids) {
    super(app, data);
    this.ids = ids;
  }

  async open() {
    this.wait("comparing", "comparing …");
    this.diff = await this.data.compare(this.ids[0], this.ids[1]);
    this.pairs = this.diff.pairs;
    document.title = "compare · llmtrace";
    this.rowsBox = el("div.rows", { role: "listbox", tabindex: 0, label: "Steps of both" });
    this.pane = el("section.pane", { tabindex: 0, label: "The chosen step of both" });
    const side = (trace) => el("div.side", el(`span.health.${trace.health}`, trace.health), link(placeText(`trace/${trace.id}`), trace.task ?? trace.name),
      dim([plural(trace.spans, "step"), duration(trace.duration), `${tokensOf(trace)} tokens`, cost(trace.cost), clock(trace.start)].join(" · ")));
    const apart = this.pairs.filter((pair) => pair.what !== "same").length;
    this.app.replaceChildren(
      el("header.top", pageHead(this.diff.first === null ? "Same steps in both" : `First difference: step ${this.diff.first + 1} of ${this.pairs.length}`,
        `${plural(apart, "step")} different${this.diff.left_out ? `; ${count(this.diff.left_out)} steps not compared, there are too many` : ""}`, el("span.dim", "n next difference"))),
      el("nav.sides", { label: "Both traces" }, side(this.diff.left), side(this.diff.right)),
      el("main.panes", { label: "Comparison" }, el("section.steps", { label: "Steps" }, this.rowsBox), this.pane));
    this.list = new VirtualList(this.rowsBox, { render: (at) => this.row(at), estimate: () => 26, key: (at) => String(at) });
    this.list.reset(this.pairs.length);
    this.rowsBox.focus({ preventScroll: true });
    this.select(this.diff.first ?? 0);
  }

  row(at) {
    const pair = this.pairs[at];
    const cell = (row) => (row ? el(`span.label.k-${row.kind}`, { "data-letter": letterOf(row), style: { "--depth": 0 } }, el("b", row.name), preview(row)) : el("span.label"));
    return el(`div.row.pair.${pair.what}`, { role: "option", id: `pair-${at}`, "aria-selected": at === this.cursor, label: `${(pair.left ?? pair.right).name}: ${WORDS[pair.what]}`, onclick: () => this.select(at) },
      cell(pair.left), el("span.what-mark", MARKS[pair.what]), cell(pair.right));
  }

  async select(to) {
    const before = this.cursor;
    this.cursor = Math.max(0, Math.min(this.pairs.length - 1, to));
    this.list.move(String(before), this.cursor);
    const mine = this.cursor;
    const pair = this.pairs[mine];
    if (!pair) return;
    const sides = [pair.left, pair.right];
    const payloads = await Promise.all(sides.map(async (row, side) => row && (await this.data.payloads(this.ids[side], [row.id]))[row.id]));
    if (mine !== this.cursor) return;
    fill(this.pane, el("h2.apart", `Step ${mine + 1}: ${WORDS[pair.what]}`), el("div.beside", sides.map((row, side) => this.column(row, payloads[side], payloads[1 - side], side))));
  }

  column(row, payload, other, side) {
    if (!row || !payload) return el("div.attempt", el("h3", side ? "second" : "first"), dim("has no such step"));
    const marks = (a, b) => (other ? changeMarks(a, b) : {});
    return el("div.attempt", el("h3", link(placeText(`trace/${this.ids[side]}`, { span: row.id }), `${side ? "second" : "first"} · ${row.name}`), el(`span.state.${row.state}`, row.state === "ok" ? "" : row.state), lengthOf(row)),
      payload.arguments !== undefined && callBlock(row.name, payload.arguments, marks(payload.arguments, other?.arguments)),
      payload.has_result && textBlock(payload.result, "code result", undefined, [], marks(parsed(payload.result), parsed(other?.result))),
      payload.failure && failureNode(payload),
      ["agent", "workflow"].includes(row.kind) && newMessages(payload).map((message) => messageNode(message)),
      (payload.output ?? []).map((message) => messageNode(message)));
  }

  key(event) {
    const steps = stepsOf(event.key, 20);
    if (document.activeElement === this.pane && event.key !== "Escape") return false;
    if (steps) this.select(this.cursor + steps);
    else if (event.key === "n" || event.key === "e") this.next(1);
    else if (event.key === "N" || event.key === "E") this.next(-1);
    else if (event.key === "Enter") {
      const pair = this.pairs[this.cursor];
      go(`trace/${this.ids[pair.left ? 0 : 1]}`, { span: (pair.left ?? pair.right).id });
    } else if (["u", "Escape"].includes(event.key)) toList();
    else return false;
    return true;
  }

  next(direction) {
    for (let at = this.cursor + direction; at >= 0 && at < this.pairs.length; at += direction) if (this.pairs[at].what !== "same") return this.select(at);
    say("no further difference");
  }
}

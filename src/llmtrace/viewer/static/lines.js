// One line of the tree: a bar in the waterfall, or a card in the conversation. Few elements each, for there are many.

import { el } from "./dom.js";
import * as format from "./format.js";
import { callPieces, block, parsed, textPieces, jsonPieces } from "./json.js";
import { marking, answerMarks, quotes, suspecting } from "./marks.js";
import { messageNodes } from "./messages.js";
import { isProblem } from "./tree.js";
import { barPlace } from "./zoom.js";

/** @typedef {import("./types.js").Payload} Payload */
/** @typedef {import("./types.js").Use} Use */
const LETTERS = /** @type {any} */ ({ model: "M", tool: "T", agent: "A", workflow: "W", plan: "P", retrieval: "R", embedding: "E", memory: "B", step: "S" });
const letterOf = (row) => LETTERS[row.kind] ?? "S";
const SHORT_TEXT = 1200;

/** @typedef {import("./types.js").Row} Row */
/** @typedef {{key: string, depth: number, row?: Row, fold?: any, kids?: number, within?: string|null}} Line */

/** Classes of a line by what is known of its span. @param {Row} row */
function stateOf(view, row) {
  const names = [row.state];
  if (row.refused) names.push("refused");
  if (view.lit.has(row.id)) names.push("lit");
  if (view.above.has(row.id)) names.push("above");
  if (view.found.has(row.id)) names.push("hit");
  return names.join(" ");
}

/** @param {Line} line */
function common(view, line, cls) {
  const row = line.row;
  const open = line.fold ? Boolean(view.tree.open.get(line.key)) : line.kids ? view.tree.open.get(line.key) !== false : null;
  return {
    class: `${cls} ${row ? stateOf(view, row) : "fold"}`,
    id: `line-${line.key.replaceAll(" ", "-")}`,
    role: "treeitem",
    "aria-level": line.depth + 1,
    "aria-selected": String(line.key === view.cursor),
    "aria-expanded": open === null ? undefined : String(open),
    style: { "--depth": line.depth },
    onclick: (/** @type {MouseEvent} */ event) => {
      if (/** @type {HTMLElement} */ (event.target).closest("a, button")) return;
      const twisted = /** @type {HTMLElement} */ (event.target).closest(".label") && event.offsetX < 16 && open !== null;
      if (twisted || (line.fold && line.key === view.cursor)) view.toggle(line);
      view.select(line.key);
    },
    ondblclick: () => view.toggle(line),
  };
}

/** @param {Line} line */
export function waterfallRow(view, line) {
  if (line.fold) return foldRow(view, line);
  const row = /** @type {Row} */ (line.row);
  const end = row.end ?? (row.state === "running" ? view.now() : view.span);
  const { left, width, out } = barPlace(view, row.start, end);
  const hidden = line.kids && view.tree.open.get(line.key) === false ? view.tree.below.get(row.id) - (isProblem(row) ? 1 : 0) : 0;
  const number = view.suspectAt.get(row.id);
  const marks = row.marks ?? [];
  return el("div", common(view, line, "row"),
    el("span", { class: `label k-${row.kind}`, "data-letter": letterOf(row), "data-twist": line.kids ? (view.tree.open.get(line.key) === false ? "▸" : "▾") : "" },
      el("b", { text: row.name }), row.said ? (row.kind === "tool" ? `(${row.said})` : ` ${row.said}`) : row.kind === "tool" ? "()" : ""),
    number || marks.length || row.error || hidden
      ? el("span", { class: `mark ${severity(row)}`, "data-number": number, text: hidden > 0 ? `${hidden} ✗` : markText(row, marks) }) : null,
    el("span", { class: `bar k-${row.kind}${out || barEnd(left, width)}`, "data-time": out ? "" : timeText(row), style: { "--left": left.toFixed(3), "--width": width.toFixed(3) } }));
}

/** Where a bar's time stands: behind it, before it, or in it. @param {number} left @param {number} width */
function barEnd(left, width) {
  return left + width <= 80 ? "" : left > 20 ? " end" : " inside";
}

function timeText(row) {
  if (row.state === "running") return "running";
  if (row.end === undefined) return "interrupted";
  return format.duration(row.end - row.start);
}

/** @param {Row} row @param {[string, string][]} marks */
function markText(row, marks) {
  const names = marks.map(([, name]) => name);
  if (!names.length && row.error) names.push(row.error.split(".").pop() ?? row.error);
  return names.slice(0, 2).join(", ").replaceAll("_", " ") + (names.length > 2 ? ` +${names.length - 2}` : "");
}

function severity(row) {
  return isProblem(row) ? "error" : row.state === "warning" ? "warning" : "";
}

export function foldText(fold) {
  const names = fold.names.join(", ");
  return `${names} × ${fold.repeats.toLocaleString("en-US")}, ${format.plural(fold.distinct, "distinct argument")}`;
}

/** @param {Line} line */
function foldRow(view, line) {
  const { fold } = line.fold;
  const first = fold[0];
  const last = fold[fold.length - 1];
  const end = last.end ?? view.now();
  const { left, width, out } = barPlace(view, first.start, end);
  const errors = fold.reduce((sum, row) => sum + (view.tree.below.get(row.id) ?? 0), 0);
  const numbers = fold.map((row) => view.suspectAt.get(row.id)).filter(Boolean);
  const number = numbers.length ? Math.min(...numbers) : undefined;
  return el("div", common(view, line, "row"),
    el("span", { class: "label k-fold", "data-letter": "↻", "data-twist": view.tree.open.get(line.key) ? "▾" : "▸" }, el("b", { text: foldText(line.fold) }),
      ` first ${format.duration(first.start)}, last ${format.duration(last.start)}`),
    errors || number ? el("span", { class: `mark ${errors ? "error" : ""}`, "data-number": number, text: errors ? `${errors} ✗` : "" }) : null,
    el("span", { class: `bar k-fold${out || barEnd(left, width)}`, "data-time": out ? "" : format.duration(end - first.start), style: { "--left": left.toFixed(3), "--width": width.toFixed(3) } }));
}

/** @param {Line} line */
export function conversationCard(view, line) {
  if (line.fold) return el("div", common(view, line, "card fold-card"), el("b", { text: `↻ ${foldText(line.fold)}` }), el("span", { class: "dim", text: view.tree.open.get(line.key) ? " open" : " folded" }));
  const row = /** @type {Row} */ (line.row);
  const payload = view.payloads.get(row.id);
  const number = view.suspectAt.get(row.id);
  const title = row.kind === "model" ? row.name : row.kind === "tool" ? "" : row.name;
  const head = row.kind === "tool" ? null : el("div", { class: `card-head k-${row.kind}`, "data-letter": letterOf(row) },
    el("b", { text: title }), ` ${factsText(row)}`, number ? el("span", { class: "mark error", "data-number": number, text: "" }) : null);
  return el("div", common(view, line, `card c-${row.kind}`), head, payload ? cardBody(view, row, payload) : el("p", { class: "dim", text: row.said ?? "…" }));
}

function factsText(row) {
  const facts = [];
  if (row.in !== undefined || row.out !== undefined) facts.push(`${format.count(row.in)} → ${format.count(row.out)} tokens`);
  if (row.end !== undefined) facts.push(format.duration(row.end - row.start));
  else facts.push(row.state);
  return facts.join(" · ");
}

/** @param {Row} row @param {Payload} payload */
function cardBody(view, row, payload) {
  const uses = view.usesOf(row.id);
  if (row.kind === "tool") {
    const number = view.suspectAt.get(row.id);
    return [
      el("div", { class: "call-line" },
        block(callPieces(row.name, payload.arguments, suspecting(view, row.id, payload.arguments, marking(view, payload.violations, uses, "arguments"))), { cls: "code call", most: SHORT_TEXT }),
        number ? el("span", { class: "mark error", "data-number": number, text: "" }) : null),
      resultNode(view, payload, SHORT_TEXT),
    ];
  }
  if (row.kind === "model") {
    const calls = (payload.output ?? []).flatMap((message) => message.parts).filter((part) => part.type === "tool_call" && view.executions.has(part.id));
    return [...messageNodes(view, payload, { brief: true }), ...answerNodes(view, payload, uses, SHORT_TEXT, true),
      calls.length ? el("p", { class: "dim", text: `→ ${calls.map((part) => part.name).join(", ")}` }) : null];
  }
  const task = (payload.input ?? []).flatMap((message) => Array.isArray(message) ? [] : message.parts.filter((part) => part.type === "text"));
  return [task.length ? el("pre", { class: "text", text: format.cut(task.map((part) => part.content).join("\n"), SHORT_TEXT) }) : null,
    payload.failure ? failureNode(payload) : null];
}

/** What a tool answered, or how it failed. @param {Payload} payload @param {number=} most @param {import("./json.js").Marking=} marks */
export function resultNode(view, payload, most, marks) {
  if (payload.facts.executed === false || (payload.operation === "ToolExecution" && payload.facts.executed === undefined && !payload.has_result)) {
    if (!payload.failure) return null;
  }
  if (payload.has_result) {
    const told = parsed(payload.result);
    const quoted = quotes(view, payload.id);
    const pieces = typeof told === "string" ? textPieces(told, quoted) : jsonPieces(told, { ...marks, quotes: quoted });
    return block(pieces, { cls: "code result", most, colours: typeof told !== "string" });
  }
  return payload.failure ? failureNode(payload) : null;
}

/** @param {Payload} payload */
export function failureNode(payload) {
  const failure = /** @type {{type: string, message: string}} */ (payload.failure);
  return el("p", { class: "failure" }, el("b", { text: failure.type }), failure.message ? ` ${format.cut(failure.message, 2000)}` : "");
}

/** What a model answered: its words and the calls it asked for. @param {Payload} payload @param {Use[]} uses @param {number=} most @param {boolean=} brief calls that have an execution stand there only */
export function answerNodes(view, payload, uses, most, brief = false) {
  const nodes = [];
  for (const message of payload.output ?? []) {
    for (const part of message.parts) {
      if (part.type === "text" && part.content) nodes.push(block(textPieces(part.content, [...quotes(view, payload.id), ...answerMarks(view, uses)]), { cls: "text answer", colours: false, most }));
      else if (part.type === "reasoning") nodes.push(el("details", { class: "thinks" }, el("summary", { text: "reasoning" }), el("pre", { class: "text", text: part.content })));
      else if (part.type === "tool_call" && brief && view.executions.has(part.id)) continue;
      else if (part.type === "tool_call") nodes.push(callNode(view, payload, part, uses, most));
      else if (part.type !== "text") nodes.push(block(jsonPieces(part), { most }));
    }
  }
  return nodes;
}

/** @param {Payload} payload @param {import("./types.js").Part} part @param {Use[]} uses @param {number=} most */
function callNode(view, payload, part, uses, most) {
  const violations = payload.violations.filter((one) => one.where === "arguments" && one.call_id === (part.id ?? null) && (part.id || one.tool === part.name));
  const mine = uses.filter((use) => use.part === "argument" && use.call === (part.id ?? null) && use.tool === part.name);
  const execution = part.id ? view.executions.get(part.id) : undefined;
  return el("div", { class: "call-line" },
    block(callPieces(part.name, part.arguments, suspecting(view, payload.id, part.arguments, marking(view, violations, mine, "arguments"))), { cls: "code call", most }),
    execution ? el("a", { class: "to", href: view.linkTo(execution), text: "→ execution", "aria-label": `execution of ${part.name}` }) : null);
}

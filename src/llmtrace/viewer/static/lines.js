// One line of the tree: a bar in the waterfall, or a card in the conversation. Few elements each, for there are many.

import { dim, el } from "./dom.js";
import { cost, count, cut, duration, nameText, plural, someNames } from "./format.js";
import { callPieces, block, textBlock, textPieces } from "./json.js";
import { marking, answerMarks, quotes, suspecting } from "./marks.js";
import { messageNodes, partNode } from "./messages.js";
import { isProblem } from "./tree.js";
import { barPlace } from "./zoom.js";

const LETTERS = { memory: "B", review: "?" };
/** Of a kind, its first letter; M is a model, a question to a person has its own sign. @param {Row} row */
export const letterOf = ({ kind }) => LETTERS[kind] ?? kind[0].toUpperCase();
const SHORT_TEXT = 1200;

/** Classes of a line by what is known of its span. @param {Row} row */
function stateOf(view, row) {
  const names = [row.state];
  if (row.refused) names.push("refused");
  if (view.lit.has(row.id)) names.push("lit");
  names.push(view.reached.get(row.id) ?? "");
  if (view.above.has(row.id)) names.push("above");
  if (view.found.has(row.id)) names.push("hit");
  return names.join(" ");
}

/** @param {Line} line */
function common(view, line, cls) {
  const row = line.row;
  const open = view.isOpen(line);
  return {
    class: `${cls} ${row ? stateOf(view, row) : `fold ${line.fold.fold.map((one) => view.reached.get(one.id)).find(Boolean) ?? ""}`}`,
    id: `line-${line.key.replaceAll(" ", "-")}`,
    role: "treeitem",
    "aria-level": line.depth + 1,
    "aria-selected": String(line.key === view.cursor),
    "aria-expanded": open === null ? undefined : String(open),
    style: { "--depth": line.depth },
    onclick: (event) => {
      const on = /** @type {HTMLElement} */ (event.target);
      if (on.closest("a, button")) return;
      const label = on.closest(".label");
      const twisted = label && open !== null && event.clientX - label.getBoundingClientRect().left < parseFloat(getComputedStyle(label).paddingLeft) - 9;
      if (twisted || (line.fold && line.key === view.cursor)) view.toggle(line);
      view.select(line.key);
    },
  };
}

/** @param {Line} line */
export function waterfallRow(view, line) {
  if (line.fold) return foldRow(view, line);
  const row = /** @type {Row} */ (line.row);
  const hidden = view.isOpen(line) === false ? view.tree.below.get(row.id) - (isProblem(row) ? 1 : 0) : 0;
  const number = view.suspectAt.get(row.id);
  const marks = row.marks ?? [];
  return el("div", common(view, line, "row"),
    el("span", { class: `label k-${row.kind}`, "data-letter": letterOf(row), "data-twist": twist(view, line) },
      el("b", { text: row.name }), preview(row)),
    number || marks.length || row.error || hidden
      ? el("span", { class: `mark ${severity(row)}`, "data-number": number, text: hidden > 0 ? `${hidden} ✗` : markText(row, marks) }) : null,
    bar(view, row.kind, row.start, row.end ?? (row.state === "running" ? view.now() : view.span), timeText(view, row)));
}

/** @param {Row} row */
export function rowTip(row) {
  const facts = [`${row.kind}, began at ${duration(row.start)}`, ...factsOf(row), row.cost === undefined ? "" : cost(row.cost)].filter(Boolean);
  const found = (row.marks ?? []).map(([, name]) => nameText(name));
  if (row.error) found.push(row.error);
  return [el("b", { text: row.name }), el("div", { class: "dim", text: facts.join(" · ") }), row.said ? el("div", { dir: "auto", text: row.said }) : null,
    found.length ? el("div", { class: "drift", text: found.join(", ") }) : null];
}

/** The first words of a call or an answer, read in their own direction. @param {Row} row */
export const preview = (row) => el("bdi", { text: row.kind === "tool" ? `(${row.said ?? "…"})` : row.said });

/** @param {Line} line */
function twist(view, line) {
  const open = view.isOpen(line);
  return open === null ? "" : open ? "▾" : "▸";
}

/** A bar, with its time behind it, before it, or in it. */
function bar(view, kind, start, end, time) {
  const { left, width, out } = barPlace(view, start, end);
  const side = left + width <= 80 ? "" : left > 20 ? " end" : " inside";
  return el("span", { class: `bar k-${kind}${out || side}`, "data-time": out ? "" : time, style: { "--left": left.toFixed(3), "--width": width.toFixed(3) } });
}

const numberNode = (number) => number && el("span", { class: "mark error", "data-number": number });

function timeText(view, row) {
  if (row.state === "running") return `${row.kind === "review" ? "waits" : "running"} ${duration(view.now() - row.start)}`;
  if (row.end === undefined) return "interrupted";
  return duration(row.end - row.start);
}

/** @param {Row} row @param {[string, string][]} marks */
function markText(row, marks) {
  const names = marks.map(([, name]) => name);
  if (!names.length && row.error) names.push(row.error.split(".").pop() ?? row.error);
  return someNames(names);
}

function severity(row) {
  return isProblem(row) ? "error" : row.state === "warning" ? "warning" : "";
}

export function foldText(fold) {
  const names = fold.names.join(", ");
  return `${names} × ${count(fold.repeats)}, ${plural(fold.distinct, "distinct argument")}`;
}

/** @param {Line} line */
function foldRow(view, line) {
  const { fold } = line.fold;
  const first = fold[0];
  const last = fold[fold.length - 1];
  const end = last.end ?? view.now();
  const errors = fold.reduce((sum, row) => sum + (view.tree.below.get(row.id) ?? 0), 0);
  const numbers = fold.map((row) => view.suspectAt.get(row.id)).filter(Boolean);
  const number = numbers.length ? Math.min(...numbers) : undefined;
  return el("div", common(view, line, "row"),
    el("span", { class: "label k-fold", "data-letter": "↻", "data-twist": twist(view, line) }, el("b", { text: foldText(line.fold) }),
      el("bdi", { text: `first ${duration(first.start)}, last ${duration(last.start)}` })),
    errors || number ? el("span", { class: `mark ${errors ? "error" : ""}`, "data-number": number, text: errors ? `${errors} ✗` : "" }) : null,
    bar(view, "fold", first.start, end, duration(end - first.start)));
}

/** @param {Line} line */
export function conversationCard(view, line) {
  if (line.fold) return el("div", common(view, line, "card fold-card"), el("b", { text: `↻ ${foldText(line.fold)}` }), el("span", { class: "dim", text: view.isOpen(line) ? " open" : " folded" }));
  const row = /** @type {Row} */ (line.row);
  const payload = view.payloads.get(row.id);
  const head = row.kind === "tool" ? null : el("div", { class: `card-head k-${row.kind}`, "data-letter": letterOf(row) },
    el("b", { text: row.name }), ` ${factsOf(row).join(" · ")}`, numberNode(view.suspectAt.get(row.id)));
  return el("div", common(view, line, `card c-${row.kind}`), head, payload ? cardBody(view, row, payload) : dim(row.said ?? "…"));
}

/** @param {Row} row */
export function factsOf(row) {
  const facts = [row.end === undefined ? row.state : duration(row.end - row.start)];
  if (row.in !== undefined || row.out !== undefined) facts.push(`${count(row.in)} → ${count(row.out)} tokens${row.cached ? ` (${count(row.cached)} cached)` : ""}`);
  return facts;
}

/** @param {Row} row @param {Payload} payload */
function cardBody(view, row, payload) {
  const uses = view.usesOf(row.id);
  if (row.kind === "tool") {
    return [
      el("div", { class: "call-line" },
        callBlock(view, row.id, row.name, payload.arguments, payload.violations, uses, SHORT_TEXT),
        numberNode(view.suspectAt.get(row.id))),
      resultNode(view, payload, SHORT_TEXT),
    ];
  }
  if (row.kind === "model") {
    const calls = (payload.output ?? []).flatMap((message) => message.parts).filter((part) => part.type === "tool_call" && view.executions.has(part.id));
    return [...messageNodes(view, payload, { brief: true }), ...answerNodes(view, payload, uses, SHORT_TEXT, true),
      calls.length ? dim(`→ ${calls.map((part) => part.name).join(", ")}`) : null];
  }
  const task = (payload.input ?? []).flatMap((message) => Array.isArray(message) ? [] : message.parts.filter((part) => part.type === "text"));
  return [task.length ? textBlock(task.map((part) => part.content).join("\n"), "text", SHORT_TEXT) : null,
    payload.failure ? failureNode(payload) : null];
}

/** A call with its marks. @param {string} id of its span @param {Violation[]} violations @param {Use[]} uses @param {number=} most */
function callBlock(view, id, name, args, violations, uses, most) {
  return block(callPieces(name, args, suspecting(view, id, args, marking(view, violations, uses, "arguments"))), { cls: "code call", most });
}

/** What a tool answered, or how it failed. @param {Payload} payload @param {number=} most @param {Marking=} marks */
export function resultNode(view, payload, most, marks) {
  if (payload.has_result) return textBlock(payload.result, "code result", most, quotes(view, payload.id), marks);
  return payload.failure ? failureNode(payload) : null;
}

export function failureNode({ failure }) {
  return el("p", { class: "failure" }, el("b", { text: failure.type }), ` ${cut(failure.message, 2000).replace(`${failure.type}: `, "")}`);
}

/** What a model answered: its words and the calls it asked for. @param {Payload} payload @param {Use[]} uses @param {number=} most @param {boolean=} brief calls that have an execution stand there only */
export function answerNodes(view, payload, uses, most, brief = false) {
  const quoted = quotes(view, payload.id);
  return (payload.output ?? []).flatMap((message) => message.parts).map((part) => {
    if (part.type === "tool_call") return brief && view.executions.has(part.id) ? null : callNode(view, payload, part, uses, most);
    if (part.type !== "text") return partNode(part, view);
    if (!part.content) return null;
    if (!/^(Inf|Fetch)/.test(payload.operation)) return textBlock(part.content, "text answer", most, quoted);
    return block(textPieces(part.content, [...quoted, ...answerMarks(view, uses)]), { cls: "text answer", colours: false, most });
  });
}

/** @param {Payload} payload @param {Part} part @param {Use[]} uses @param {number=} most */
function callNode(view, payload, part, uses, most) {
  const violations = payload.violations.filter((one) => one.where === "arguments" && one.call_id === (part.id ?? null) && (part.id || one.tool === part.name));
  const mine = uses.filter((use) => use.part === "argument" && use.call === (part.id ?? null) && use.tool === part.name);
  const execution = part.id ? view.executions.get(part.id) : undefined;
  return el("div", { class: "call-line" },
    callBlock(view, payload.id, part.name, part.arguments, violations, mine, most),
    execution ? el("a", { class: "to", href: view.linkTo(execution), text: "→ execution", "aria-label": `execution of ${part.name}` }) : null);
}

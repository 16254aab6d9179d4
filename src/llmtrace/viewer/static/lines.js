// One line of the tree: a bar in the waterfall, or a card in the conversation.

import { dim, el } from "./dom.js";
import { cost, count, cut, duration, nameText, plural, someNames } from "./format.js";
import { MOST_CHARACTERS, block, callBlock, textBlock, textPieces } from "./json.js";
import { marking, answerMarks, quotes, suspecting } from "./marks.js";
import { answerParts, messageNodes, newMessages, partNode } from "./messages.js";
import { isProblem } from "./tree.js";
import { barPlace } from "./zoom.js";

const LETTERS = { memory: "B", review: "?" };
/** The letter of a kind. @param {Row} row */
export const letterOf = ({ kind }) => LETTERS[kind] ?? kind[0].toUpperCase();
const SHORT_TEXT = 1200;

/** Classes of a line by what is known of its span. */
function stateOf(view, row) {
  return [row.state, row.refused && "refused", view.lit.has(row.id) && "lit", view.reached.get(row.id), view.above.has(row.id) && "above", view.found.has(row.id) && "hit"].filter(Boolean).join(" ");
}

function common(view, line, cls) {
  const row = line.row;
  const open = view.isOpen(line);
  return {
    class: `${cls} ${row ? stateOf(view, row) : `fold ${line.fold.fold.map((one) => view.reached.get(one.id)).find(Boolean) ?? ""}`}`,
    id: `line-${line.key.replaceAll(" ", "-")}`,
    role: "treeitem",
    "aria-level": line.depth + 1,
    "aria-selected": line.key === view.cursor,
    "aria-expanded": open,
    style: { "--depth": line.depth },
    onclick: (event) => {
      const on = event.target;
      if (on.closest("a, button")) return;
      const label = on.closest(".label");
      const twisted = label && open !== null && event.clientX - label.getBoundingClientRect().left < parseFloat(getComputedStyle(label).paddingLeft) - 9;
      if (twisted || line.fold) view.toggle(line);
      view.select(line.key);
    },
  };
}

export function waterfallRow(view, line) {
  if (line.fold) return foldRow(view, line);
  const row = line.row;
  const hidden = view.isOpen(line) === false ? view.tree.below.get(row.id) - (isProblem(row) ? 1 : 0) : 0;
  const number = view.suspectAt.get(row.id);
  const marks = row.marks ?? [];
  return el("div", common(view, line, "row"),
    el(`span.label.k-${row.kind}`, { "data-letter": letterOf(row), "data-twist": twist(view, line) }, el("b", row.name), preview(row)),
    number || marks.length || row.error || hidden ? el(`span.mark.${severity(row)}`, { "data-number": number }, hidden > 0 ? `${hidden} ✗` : markText(row, marks)) : null,
    bar(view, row.kind, row.start, row.end ?? (row.state === "running" ? view.now() : view.span), timeText(view, row)));
}

/** @param {Row} row */
export function rowTip(row) {
  const facts = [`${row.kind}, began at ${duration(row.start)}`, ...factsOf(row), row.cost === undefined ? "" : cost(row.cost)].filter(Boolean);
  const found = (row.marks ?? []).map(([, name]) => nameText(name));
  if (row.error) found.push(row.error);
  return [el("b", row.name), el("div.dim", facts.join(" · ")), row.said && el("div", { dir: "auto" }, row.said),
    found.length ? el("div.drift", found.join(", ")) : null];
}

/** The first words of a call or an answer, read in their own direction. */
export const preview = (row) => el("bdi", row.kind === "tool" ? `(${row.said ?? "…"})` : row.said);

const twist = (view, line) => ({ true: "▾", false: "▸" })[view.isOpen(line)] ?? "";

/** A bar, with its time behind, before, or in it. */
function bar(view, kind, start, end, time) {
  const { left, width, out } = barPlace(view, start, end);
  const room = innerWidth < 820 ? 45 : 20;
  const side = left + width <= 100 - room ? "" : left > room ? " end" : " inside";
  return el(`span.bar k-${kind}${out || side}`, { "data-time": out ? "" : time, style: { "--left": left.toFixed(3), "--width": width.toFixed(3) } });
}

const numberNode = (number) => number && el("span.mark.error", { "data-number": number });

function timeText(view, row) {
  if (row.state === "running") return `${row.kind === "review" ? "waits" : "running"} ${duration(view.now() - row.start)}`;
  if (row.end === undefined) return "interrupted";
  return lengthOf(row);
}

/** @param {Row} row */
export const lengthOf = ({ start, end }) => duration(end === undefined ? null : end - start);

function markText(row, marks) {
  const names = marks.map(([, name]) => name);
  if (!names.length && row.error) names.push(row.error.split(".").pop() ?? row.error);
  return someNames(names);
}

const severity = (row) => (isProblem(row) ? "error" : row.state === "warning" ? "warning" : "");

const foldText = ({ names, repeats, distinct }) => `${names.join(", ")} × ${count(repeats)}, ${plural(distinct, "distinct argument")}`;

function foldRow(view, line) {
  const { fold } = line.fold;
  const [first, last] = [fold[0], fold.at(-1)];
  const end = last.end ?? view.now();
  const errors = fold.reduce((sum, row) => sum + (view.tree.below.get(row.id) ?? 0), 0);
  const [number] = fold.map((row) => view.suspectAt.get(row.id)).filter(Boolean).sort((a, b) => a - b);
  return el("div", common(view, line, "row"),
    el("span.label.k-fold", { "data-letter": "↻", "data-twist": twist(view, line) }, el("b", foldText(line.fold)), el("bdi", `first ${duration(first.start)}, last ${duration(last.start)}`)),
    errors || number ? el(`span.mark ${errors ? "error" : ""}`, { "data-number": number }, errors ? `${errors} ✗` : "") : null,
    bar(view, "fold", first.start, end, duration(end - first.start)));
}

export function conversationCard(view, line) {
  if (line.fold) return el("div", common(view, line, "card fold-card"), el("b", `${twist(view, line)} ${foldText(line.fold)}`));
  const row = line.row;
  const payload = view.payloads.get(row.id);
  const head = row.kind !== "tool" && el(`div.card-head.k-${row.kind}`, { "data-letter": letterOf(row) }, el("b", row.name), ` ${factsOf(row).join(" · ")}`, numberNode(view.suspectAt.get(row.id)));
  return el("div", common(view, line, `card c-${row.kind}`), head, payload ? cardBody(view, row, payload) : dim(row.said ?? "…"));
}

/** @param {Row} row */
export function factsOf(row) {
  const facts = [row.end === undefined ? row.state : lengthOf(row)];
  if (row.in !== undefined || row.out !== undefined) facts.push(`${count(row.in)} → ${count(row.out)} tokens${row.cached ? ` (${count(row.cached)} cached)` : ""}`);
  return facts;
}

/** @param {Payload} payload */
function cardBody(view, row, payload) {
  const uses = view.usesOf(row.id);
  if (row.kind === "tool") {
    return [
      el("div.call-line", markedCall(view, row.id, row.name, payload.arguments, payload.violations, uses, SHORT_TEXT), numberNode(view.suspectAt.get(row.id))),
      resultNode(view, payload, SHORT_TEXT),
    ];
  }
  if (row.kind === "model") {
    const calls = answerParts(payload).filter((part) => part.type === "tool_call" && view.executions.has(part.id));
    return [...messageNodes(view, payload, true), ...answerNodes(view, payload, uses, SHORT_TEXT, true),
      calls.length ? dim(`→ ${calls.map((part) => part.name).join(", ")}`) : null];
  }
  const task = newMessages(payload).flatMap((message) => message.parts).filter((part) => part.type === "text");
  return [task.length ? textBlock(task.map((part) => part.content).join("\n"), "text", SHORT_TEXT) : null,
    payload.failure && failureNode(payload)];
}

const markedCall = (view, id, name, args, violations, uses, most) => callBlock(name, args, suspecting(view, id, args, marking(view, violations, uses, "arguments")), most);

export function resultNode(view, payload, most, marks) {
  if (payload.has_result) return textBlock(payload.result, "code result", most, quotes(view, payload.id), marks);
  return payload.failure && failureNode(payload);
}

export const failureNode = ({ failure }) => el("p.failure", el("b", failure.type), ` ${cut(failure.message, 2000).replace(`${failure.type}: `, "")}`);

/** What a model answered; in brief, without the calls that have an execution. @param {Payload} payload */
export function answerNodes(view, payload, uses, most = MOST_CHARACTERS, brief = false) {
  const quoted = quotes(view, payload.id);
  return answerParts(payload).map((part) => {
    if (part.type === "tool_call") return brief && view.executions.has(part.id) ? null : callNode(view, payload, part, uses, most);
    if (part.type !== "text") return partNode(part, view);
    if (!part.content) return null;
    if (!/^(Inf|Fetch)/.test(payload.operation)) return textBlock(part.content, "text answer", most, quoted);
    return block(textPieces(part.content, [...quoted, ...answerMarks(view, uses)]), { cls: "text answer", colours: false, most });
  });
}

function callNode(view, payload, part, uses, most) {
  const id = part.id ?? null;
  const violations = payload.violations.filter((one) => one.where === "arguments" && one.call_id === id && (id || one.tool === part.name));
  const mine = uses.filter((use) => use.part === "argument" && use.call === id && use.tool === part.name);
  const execution = id && view.executions.get(id);
  return el("div.call-line", markedCall(view, payload.id, part.name, part.arguments, violations, mine, most),
    execution && el("a.to", { href: view.linkTo(execution), label: `execution of ${part.name}` }, "→ execution"));
}

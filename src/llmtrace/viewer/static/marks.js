// What is marked inside a call or an answer: fields that broke the schema, and values with the place they came from.

import { el } from "./dom.js";
import { compact, cut, nameText, worded } from "./format.js";
import { names } from "./json.js";

/** What was expected and what came. @param {Violation} found */
export function expectedText(found) {
  const got = found.got == null ? "" : `, got ${cut(compact(found.got), 40)}`;
  if (found.code === "missing") return "missing";
  if (found.code === "unexpected" || found.expected == null) return found.message;
  return `expected ${cut(worded(found.expected), 60)}${got}`;
}

/**
 * Marks for the arguments (or the result, the output) that violations and uses are about.
 * @param {Violation[]} violations @param {Use[]} uses @param {string} where
 */
export function marking(view, violations, uses, where) {
  /** @type {Map<string, Mark>} */
  const marks = new Map();
  /** @type {Map<string, {name: string, note: string}[]>} */
  const ghosts = new Map();
  for (const use of uses.filter((one) => one.part === "argument")) {
    for (const mark of useMarks(view, use)) {
      const other = marks.get(use.pointer);
      marks.set(use.pointer, { ...mark, more: other && [other, ...(other.more ?? [])] });
    }
  }
  for (const found of violations) {
    if (found.where !== where) continue;
    if (found.code === "missing" && found.pointer) {
      const name = names(found.pointer).pop() ?? "";
      const parent = found.pointer.slice(0, found.pointer.lastIndexOf("/"));
      ghosts.set(parent, [...(ghosts.get(parent) ?? []), { name, note: "✗ missing" }]);
      continue;
    }
    const before = marks.get(found.pointer);
    marks.set(found.pointer, {
      ...before,
      start: undefined,
      cls: `bad ${found.severity}`,
      note: [before?.note, `✗ ${expectedText(found)}`].filter(Boolean).join(" · "),
      words: () => [el("b", { text: nameText(found.code) }), ` ${found.message}`, el("br"), expectedText(found), ...(before?.words?.() ?? [])],
    });
  }
  return { marks, ghosts };
}

/** Marks, with one on the suspect's argument. @param {{marks: Map<string, Mark>}} marking */
export function suspecting(view, id, args, marking) {
  const suspect = view.diagnosis?.suspects[view.suspectOf(id)];
  const at = suspect?.pointer;
  const before = marking.marks.get(at);
  const value = at ? names(at).reduce((here, name) => here?.[name], args) : undefined;
  if (value !== undefined && !/bad|ungrounded/.test(before?.cls ?? "") && [compact(value), "null"].includes(compact(suspect.value))) {
    marking.marks.set(at, { ...before, start: undefined, cls: "suspected", note: "⚠ suspect", words: () => [el("b", { text: suspect.evidence }), el("br"), ...(before?.words?.() ?? [])] });
  }
  return marking;
}

/** Where in a span a value stands, as the address says it: a JSON pointer, the characters there, and of a plain text what they are. */
export function placeOf(origin, match = origin.matches?.[0]) {
  return match && !match.of_name ? `${match.pointer}@${match.origin_start}-${match.origin_end}${match.pointer ? "" : `=${match.text}`}` : origin.pointer;
}

/** What of a span is looked for: the place that led to it, as a mark. */
export function soughtIn(view, id) {
  const [, pointer = "", start, end, text = ""] = view.focus.span === id ? /^(.*?)(?:@(\d+)-(\d+)(?:=(.*))?)?$/s.exec(view.focus.pointer) ?? [] : [];
  return { cls: "origin", pointer, text, start: start ? Number(start) : undefined, end: Number(end ?? 0) };
}

/** The words that were followed to a span. @returns {[string, Mark][]} */
export function soughtWords(view, id) {
  const { text, ...mark } = soughtIn(view, id);
  return text ? [[text, mark]] : [];
}

/** The suspect's value where it stands in a text, and the words that were followed to it. @returns {[string, Mark][]} */
export function quotes(view, id) {
  const { pointer, value } = view.diagnosis?.suspects[view.suspectOf(id)] ?? {};
  const isWord = !pointer && ["string", "number"].includes(typeof value);
  return [...(isWord ? [/** @type {[string, Mark]} */ ([String(value), { cls: "suspected" }])] : []), ...soughtWords(view, id)];
}

/** Of a value a mark on each part of it that stands in its origin, or on all of it. @param {Use} use @returns {Mark[]} */
function useMarks(view, use) {
  const origin = use.from ?? use.first;
  const parts = use.from?.matches?.length ? use.from.matches : [use];
  return parts.map((part) => ({
    cls: use.status,
    note: use.first_ungrounded ? "⚠ ungrounded: in no message and no result before" : undefined,
    start: part.end ? part.start : undefined,
    end: part.end,
    href: use.status === "grounded" && origin ? view.linkTo(origin.span, placeOf(origin, part.text ? part : undefined)) : undefined,
    words: () => useWords(view, use),
    enter: () => origin && view.light([origin.span, ...(use.latest ? [use.latest.span] : [])]),
    leave: () => view.light([]),
  }));
}

/** @param {Use} use */
function useWords(view, use) {
  const place = (/** @type {Origin} */ origin) => {
    const row = view.row(origin.span);
    return `${origin.place}${origin.pointer ? ` ${origin.pointer}` : ""}${row ? ` (${row.name})` : ""}`;
  };
  if (use.status === "grounded" && use.from) {
    return [el("b", { text: "comes from " }), place(use.from),
      use.latest ? el("div", { text: `stands again in ${place(use.latest)}` }) : null, el("div", { class: "dim", text: "click to go there; b goes back step by step" })];
  }
  if (use.status === "ungrounded") {
    return [el("b", { text: "ungrounded" }), ": in no message and no result before", use.first && !use.first_ungrounded ? `; first in ${place(use.first)}` : ""];
  }
  return [el("b", { text: "origin unknown" }), use.reason ? `: ${use.reason}` : ""];
}

/** The values of an answer with their marks. @param {Use[]} uses @returns {[string, Mark][]} */
export function answerMarks(view, uses) {
  return uses.filter((use) => use.part === "answer").flatMap((use) => useMarks(view, use).map((mark) => /** @type {[string, Mark]} */ ([
    mark.start === undefined ? worded(use.value) : [...worded(use.value)].slice(mark.start - use.start, (mark.end ?? 0) - use.start).join(""), mark])));
}

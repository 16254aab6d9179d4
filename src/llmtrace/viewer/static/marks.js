// What is marked inside a call or an answer: fields that broke the schema, and values with their origin.

import { el } from "./dom.js";
import { compact, cut, exactNumber, nameText, worded } from "./format.js";
import { names, segment } from "./json.js";

/** @param {Violation} found */
export function expectedText(found) {
  const got = found.got == null ? "" : `, got ${cut(compact(found.got), 40)}`;
  if (found.code === "missing") return "missing";
  if (found.code === "unexpected" || found.expected == null) return found.message;
  return `expected ${cut(worded(found.expected), 60)}${got}`;
}

/** Marks for the arguments (or the result, the output) that violations and uses are about. */
export function marking(view, violations, uses, where) {
  const [marks, ghosts] = [new Map(), new Map()];
  for (const use of uses.filter((one) => one.part === "argument")) {
    for (const mark of useMarks(view, use)) {
      const other = marks.get(use.pointer);
      marks.set(use.pointer, { ...mark, more: other && [other, ...(other.more ?? [])] });
    }
  }
  for (const found of violations.filter((one) => one.where === where)) {
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
      words: () => [el("b", nameText(found.code)), ` ${found.message}`, el("br"), expectedText(found), ...(before?.words?.() ?? [])],
    });
  }
  return { marks, ghosts };
}

export function suspecting(view, id, args, marking) {
  const suspect = view.diagnosis?.suspects[view.suspectOf(id)];
  const at = suspect?.pointer;
  const before = marking.marks.get(at);
  const value = at ? names(at).reduce((here, name) => here?.[name], args) : undefined;
  if (value !== undefined && !/bad|ungrounded/.test(before?.cls ?? "") && [compact(value), "null"].includes(compact(suspect.value))) {
    marking.marks.set(at, { ...before, start: undefined, cls: "suspected", note: "⚠ suspect", words: () => [el("b", suspect.evidence), el("br"), ...(before?.words?.() ?? [])] });
  }
  return marking;
}

/** Where in a span a value stands, for the address: a JSON pointer, the characters there, of a plain text what they are. */
export function placeOf(origin, match = origin.matches?.[0]) {
  return match && !match.of_name ? `${match.pointer}@${match.origin_start}-${match.origin_end}${match.pointer ? "" : `=${match.text}`}` : origin.pointer;
}

/** What of a span is looked for: the place that led to it, as a mark. */
export function soughtIn(view, id) {
  const [, pointer = "", start, end, text = ""] = view.focus.span === id ? /^(.*?)(?:@(\d+)-(\d+)(?:=(.*))?)?$/s.exec(view.focus.pointer) ?? [] : [];
  return { cls: "origin", pointer, text, start: start ? Number(start) : undefined, end: Number(end ?? 0) };
}

export function soughtWords(view, id) {
  const { text, ...mark } = soughtIn(view, id);
  return text ? [[text, mark]] : [];
}

/** The suspect's value where it stands in a text, and the words that were followed to it. */
export function quotes(view, id) {
  const { pointer, value } = view.diagnosis?.suspects[view.suspectOf(id)] ?? {};
  const isWord = !pointer && ["string", "number"].includes(typeof value);
  return [...(isWord ? [[String(value), { cls: "suspected" }]] : []), ...soughtWords(view, id)];
}

/** A mark on each part of a value that stands in its origin, or on all of it. */
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

function useWords(view, use) {
  const place = ({ span, place, pointer }) => `${place}${pointer ? ` ${pointer}` : ""}${view.row(span) ? ` (${view.row(span).name})` : ""}`;
  if (use.status === "grounded" && use.from) return [el("b", "comes from "), place(use.from), use.latest && el("div", `stands again in ${place(use.latest)}`), el("div.dim", "click to go there; b goes back step by step")];
  if (use.status === "ungrounded") return [el("b", "ungrounded"), ": in no message and no result before", use.first && !use.first_ungrounded ? `; first in ${place(use.first)}` : ""];
  return [el("b", "origin unknown"), use.reason ? `: ${use.reason}` : ""];
}

export const answerMarks = (view, uses) => uses.filter((use) => use.part === "answer").flatMap((use) => useMarks(view, use).map((mark) => [
  mark.start === undefined ? worded(use.value) : [...worded(use.value)].slice(mark.start - use.start, (mark.end ?? 0) - use.start).join(""), mark]));

/** Pointers at which two values differ, as deep as both have the same members. */
function differences(a, b, pointer = "") {
  const both = a && b && typeof a === "object" && typeof b === "object" && Array.isArray(a) === Array.isArray(b) && exactNumber(a) === undefined;
  if (!both) return compact(a) === compact(b) ? [] : [pointer];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) => {
    const at = `${pointer}${segment(name)}`;
    return name in a && name in b ? differences(a[name], b[name], at) : [at];
  });
}

export const changeMarks = (a, b) => ({ marks: new Map(differences(a, b).map((pointer) => [pointer, { cls: "changed" }])) });

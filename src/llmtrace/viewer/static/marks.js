// What is marked inside a call or an answer: fields that broke the schema, and values with the place they came from.

import { el } from "./dom.js";
import { compact, cut, worded } from "./format.js";
import { names } from "./json.js";

/** @typedef {import("./types.js").Violation} Violation */
/** @typedef {import("./types.js").Use} Use */
/** @typedef {import("./json.js").Mark} Mark */

/** What was expected and what came, in a few words. @param {Violation} found */
export function expectedText(found) {
  const got = found.got === null || found.got === undefined || found.code === "missing" ? "" : `, got ${cut(compact(found.got), 40)}`;
  if (found.code === "missing") return "missing";
  if (found.code === "unexpected") return cut(found.message, 90);
  if (found.expected !== null && found.expected !== undefined) return `expected ${cut(worded(found.expected), 60)}${got}`;
  return cut(found.message, 90) + got;
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
  for (const use of uses) if (use.part === "argument") marks.set(use.pointer, useMark(view, use));
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
      cls: `bad ${found.severity}`,
      note: [before?.note, `✗ ${expectedText(found)}`].filter(Boolean).join(" · "),
      words: () => [el("b", { text: found.code.replaceAll("_", " ") }), ` ${found.message}`, el("br"), expectedText(found), ...(before?.words?.() ?? [])],
    });
  }
  return { marks, ghosts };
}

/** Marks with that of the suspect: on the argument that it is about. @param {string} id @param {{marks: Map<string, Mark>}} marking */
export function suspecting(view, id, given, marking) {
  const suspect = view.diagnosis?.suspects[view.suspectOf(id)];
  const at = suspect?.pointer;
  const before = marking.marks.get(at);
  const held = at && names(at).reduce((here, name) => here?.[name], given);
  if (at && !/bad|made-up/.test(before?.cls ?? "") && compact(held ?? null) === compact(suspect.value)) {
    marking.marks.set(at, { ...before, cls: "suspected", note: "⚠ suspect", words: () => [el("b", { text: suspect.evidence }), el("br"), ...(before?.words?.() ?? [])] });
  }
  return marking;
}

/** Words that the suspect quotes from its step. @param {string} id @returns {[string, Mark][]} */
export function quotes(view, id) {
  const suspect = view.diagnosis?.suspects[view.suspectOf(id)];
  const words = [...(suspect?.evidence ?? "").matchAll(/“([^”]+)”/g)].map((one) => one[1]);
  if (suspect && !suspect.pointer && ["string", "number"].includes(typeof suspect.value)) words.push(String(suspect.value));
  return words.map((one) => [one, { cls: "suspected" }]);
}

/** @param {Use} use @returns {Mark} */
export function useMark(view, use) {
  const origin = use.from ?? use.first;
  return {
    cls: use.status === "ungrounded" ? "made-up" : use.status === "grounded" ? "grounded" : "unknown",
    note: use.made_up ? "⚠ made up: in no message and no result before" : undefined,
    href: use.status === "grounded" && origin ? view.linkTo(origin.span, origin.pointer) : undefined,
    words: () => useWords(view, use),
    enter: () => origin && view.light([origin.span, ...(use.latest ? [use.latest.span] : [])]),
    leave: () => view.light([]),
  };
}

/** @param {Use} use */
function useWords(view, use) {
  const place = (/** @type {import("./types.js").Origin} */ origin) => {
    const row = view.tree.rows.get(origin.span);
    return `${origin.place}${origin.pointer ? ` ${origin.pointer}` : ""}${row ? ` (${row.name})` : ""}`;
  };
  if (use.status === "grounded" && use.from) {
    return [el("b", { text: use.form === "derived" ? "worked out from " : "comes from " }), place(use.from),
      use.latest ? el("div", { text: `stands again in ${place(use.latest)}` }) : null, el("div", { class: "dim", text: "click to go there; b goes back step by step" })];
  }
  if (use.status === "ungrounded") {
    const first = use.first && !use.made_up ? `; the model said it first in ${place(use.first)}` : "";
    return [el("b", { text: "made up" }), use.form === "from_example" ? ": only a tool's definition shows it, as an example" : `: in no message and no result before${first}`];
  }
  return [el("b", { text: "origin unknown" }), use.reason ? `: ${use.reason}` : ""];
}

/** The values of an answer with their marks. @param {Use[]} uses @returns {[string, Mark][]} */
export function answerMarks(view, uses) {
  return uses.filter((use) => use.part === "answer").map((use) => [worded(use.value), useMark(view, use)]);
}

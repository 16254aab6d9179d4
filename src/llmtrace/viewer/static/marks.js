// What is marked inside a call or an answer: fields that broke the schema, and values with the place they came from.

import { el } from "./dom.js";
import { compact, cut } from "./format.js";

/** @typedef {import("./types.js").Violation} Violation */
/** @typedef {import("./types.js").Use} Use */
/** @typedef {import("./json.js").Mark} Mark */

function worded(value) {
  return typeof value === "string" ? value : compact(value);
}

/** What was expected and what came, in a few words. @param {Violation} found */
export function expectedText(found) {
  const got = found.got === null || found.got === undefined || found.code === "missing" ? "" : `, got ${cut(compact(found.got), 40)}`;
  if (found.code === "missing") return "missing";
  if (found.expected !== null && found.expected !== undefined) return `expected ${cut(worded(found.expected), 60)}${got}`;
  return cut(found.message, 90) + got;
}

/**
 * Marks for the arguments (or the result, the output) that violations and uses are about.
 * @param {Violation[]} violations @param {Use[]} uses @param {string} where
 * @returns {import("./json.js").Marking}
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
      const at = found.pointer.lastIndexOf("/");
      const name = found.pointer.slice(at + 1).replaceAll("~1", "/").replaceAll("~0", "~");
      const parent = found.pointer.slice(0, at);
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

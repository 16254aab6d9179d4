// What a person decided, in words, and what an edit changed.

import { el } from "./dom.js";
import { clock, escaped, worded } from "./format.js";
import { block, callPieces, jsonPieces, textBlock } from "./json.js";
import { changeMarks } from "./marks.js";

const DECISIONS = {
  approved: "Approved", edited: "Approved with other arguments", rejected: "Rejected", answered: "Answered by a person", timed_out: "Denied: nobody decided in time",
  unattended: "Denied: nobody was there to decide", pending: "Not decided: the run ended first",
};
const HIDDEN = /[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]/g;

/** A text in which characters that a reader cannot see, or that turn the text around, are written out. */
export const visibleText = (text) => text.replace(HIDDEN, escaped);

export const visible = (pieces) => pieces.map((piece) => ({ ...piece, text: visibleText(piece.text) }));

/** What was decided, by whom, when and why. */
export function decisionNode(tool, before, { kind, by, at, note, value }, heading = "h3") {
  const good = kind === "approved" || kind === "edited" || kind === "answered";
  return el(`section.decision.${good ? "ok" : "denied"}`, { label: "Decision" },
    el(heading, {}, DECISIONS[kind] ?? kind, by ? ` by ${by}` : "", at && el("span.dim", clock(at))),
    note && el("p.text", visibleText(note)),
    kind === "edited" && differenceNode(tool, before, value),
    kind === "answered" && textBlock(value, "code result"));
}

export function differenceNode(tool, before, after) {
  const marks = changeMarks(before, after);
  const side = (title, value) => el("div.attempt", el("h3", title), block(visible(callPieces(tool, value, marks)), { cls: "code call" }));
  return el("div.beside", side("before", before), side("after", after));
}

/** What was held: a call, or what the program wanted to have looked at. */
export function heldNode(tool, payload) {
  return block(visible(tool ? callPieces(tool, payload) : typeof payload === "string" ? [{ text: worded(payload) }] : jsonPieces(payload)), { cls: tool ? "code call" : "code", colours: tool !== null });
}

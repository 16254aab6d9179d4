// What a person decided, in words, and what an edit changed.

import { differences } from "./attempts.js";
import { el } from "./dom.js";
import { clock, worded } from "./format.js";
import { block, callPieces, jsonPieces, textBlock } from "./json.js";

const DECISIONS = {
  approved: "Approved", edited: "Approved with other arguments", rejected: "Rejected", answered: "Answered by a person", timed_out: "Denied: nobody decided in time",
  unattended: "Denied: nobody was there to decide", pending: "Not decided: the run ended first",
};
const HIDDEN = /[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]/g;

/** A text in which characters that a reader cannot see, or that turn the text around, are written out. @param {string} text */
export const visibleText = (text) => text.replace(HIDDEN, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** @param {Piece[]} pieces */
export const visible = (pieces) => pieces.map((piece) => ({ ...piece, text: visibleText(piece.text) }));

/** What was decided, by whom, when and why. @param {{kind: string, by?: string|null, at?: number|null, note?: string|null, value?: Json}} decision */
export function decisionNode(tool, before, decision, heading = "h3") {
  const { kind, by, at, note, value } = decision;
  const good = kind === "approved" || kind === "edited" || kind === "answered";
  return el("section", { class: `decision ${good ? "ok" : "denied"}`, "aria-label": "Decision" },
    el(heading, {}, DECISIONS[kind] ?? kind, by ? ` by ${by}` : "", at ? el("span", { class: "dim", text: clock(at) }) : null),
    note ? el("p", { class: "text", text: visibleText(note) }) : null,
    kind === "edited" ? differenceNode(tool, before, value) : null,
    kind === "answered" ? textBlock(value, "code result") : null);
}

/** A call before and after, with what is different marked. */
export function differenceNode(tool, before, after) {
  const marks = new Map(differences(before, after).map((pointer) => [pointer, { cls: "changed" }]));
  const side = (title, value) => el("div", { class: "attempt" }, el("h3", { text: title }), block(visible(callPieces(tool, value, { marks })), { cls: "code call" }));
  return el("div", { class: "beside" }, side("before", before), side("after", after));
}

/** What was held: a call, or what the program wanted to have looked at. */
export function heldNode(tool, payload) {
  return block(visible(tool ? callPieces(tool, payload) : typeof payload === "string" ? [{ text: worded(payload) }] : jsonPieces(payload)), { cls: tool ? "code call" : "code", colours: tool !== null });
}

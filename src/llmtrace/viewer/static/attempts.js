// Attempts at one thing: calls of the same tool, one after the other, because the one before went wrong.

import { dim, el } from "./dom.js";
import { compact, exactNumber } from "./format.js";
import { titled } from "./detail.js";
import { block, callPieces, segment } from "./json.js";

/** The calls that belong together with `row`, in order. @param {Row} row @returns {Row[]} */
export function attemptsOf(view, row) {
  const calls = (view.tree.children.get(view.tree.parentOf(row)) ?? []).filter((one) => one.kind === "tool" && one.name === row.name);
  const at = calls.indexOf(row);
  let first = at;
  while (first > 0 && isFailed(calls[first - 1])) first -= 1;
  let last = at;
  while (last < calls.length - 1 && isFailed(calls[last])) last += 1;
  return calls.slice(first, last + 1);
}

const isFailed = (row) => row.state === "error" || row.refused;

/** @param {Row} row */
export function attemptsNode(view, row) {
  const attempts = attemptsOf(view, row);
  if (attempts.length < 2) return null;
  const at = attempts.indexOf(row);
  const pair = at > 0 ? [at - 1, at] : [0, 1];
  const box = el("div", { class: "beside" }, dim("…"));
  view.need(pair.map((place) => attempts[place].id)).then((payloads) => {
    const [before, after] = pair.map((place) => payloads.get(attempts[place].id));
    if (!before || !after) return;
    const changed = differences(before.arguments, after.arguments);
    box.replaceChildren(...pair.map((place, side) => el("div", { class: "attempt" },
      el("h4", {}, el("a", { href: view.linkTo(attempts[place].id), text: `attempt ${place + 1}` }), el("span", { class: `state ${attempts[place].state}`, text: attempts[place].state })),
      block(callPieces(row.name, side ? after.arguments : before.arguments, { marks: new Map(changed.map((pointer) => [pointer, { cls: "changed" }])) }), { cls: "code call" }))));
  });
  return titled(`Attempts (${attempts.length})`, box);
}

/** Pointers at which two values differ, as deep as both have the same members. @returns {string[]} */
export function differences(a, b, pointer = "") {
  const both = a && b && typeof a === "object" && typeof b === "object" && Array.isArray(a) === Array.isArray(b) && exactNumber(a) === undefined;
  if (!both) return compact(a) === compact(b) ? [] : [pointer];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) => {
    const at = `${pointer}${segment(name)}`;
    return name in a && name in b ? differences(a[name], b[name], at) : [at];
  });
}

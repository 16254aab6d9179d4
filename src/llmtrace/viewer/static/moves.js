// What the keys do in a trace. One table, from which the help is made too.

import { toList } from "./place.js";
import { say } from "./dom.js";
import { copyMenu } from "./copy.js";
import { openEdit } from "./edit.js";
import { placeOf } from "./marks.js";
import { fit, pan, zoom } from "./zoom.js";

/** Where the cursor is. */
export const at = (view) => view.lines.findIndex((line) => line.key === view.cursor);

function move(view, steps) {
  const to = Math.max(0, Math.min(view.lines.length - 1, at(view) + steps));
  if (view.lines[to]) view.select(view.lines[to].key);
}

/** The next or previous of some rows, from where the cursor is, around the end. */
function step(view, rows, direction, none) {
  if (!rows.length) return say(none);
  const order = view.tree.walked;
  const place = new Map(order.map((row, index) => [row.id, index]));
  const here = place.get(view.cursor) ?? -1;
  const sorted = rows.map((row) => place.get(row.id)).sort((a, b) => a - b);
  const next = direction > 0 ? sorted.find((one) => one > here) ?? sorted[0] : sorted.filter((one) => one < here).pop() ?? sorted.at(-1);
  view.go(order[next].id);
  if (sorted.length > 1) say(`${sorted.indexOf(next) + 1} of ${sorted.length}`);
}

/** One step back: along the suspect's chain, else to a value's origin, else to who asked for this. */
async function back(view) {
  const row = view.row(view.cursor);
  if (!row) return;
  const suspect = view.diagnosis?.suspects[view.suspect];
  if (suspect?.span_id === row.id) return say(`here it begins: ${suspect.chain.at(-1)?.note || suspect.title}`);
  const to = chainStep(view, row.id) ?? (await originOf(view, row)) ?? askedBy(view, row);
  if (!to || to.span === row.id) return say("nothing leads further back from here");
  view.trail.push(row.id);
  view.go(to.span, to.pointer ?? "");
  if (to.words) say(to.words);
}

function forth(view) {
  const to = view.trail.pop();
  if (to) view.go(to);
  else say("this is where you began to go back");
}

function chainStep(view, id) {
  const suspects = view.diagnosis?.suspects ?? [];
  const chain = (suspects[view.suspect] ?? suspects[0])?.chain ?? [];
  const here = chain.map((one) => one.span_id).lastIndexOf(id);
  const next = here >= 0 && chain[here + 1];
  return next && view.row(next.span_id) ? { span: next.span_id, words: chain[here].note } : null;
}

async function originOf(view, row) {
  if (!view.uses.has(row.id)) await view.origins([row.id]);
  const uses = view.usesOf(row.id).filter((use) => use.from && use.from.span !== row.id && view.row(use.from.span)?.start <= row.start);
  const [use] = uses.sort((a, b) => view.row(b.from.span).start - view.row(a.from.span).start);
  return use ? { span: use.from.span, pointer: placeOf(use.from), words: `${use.pointer || JSON.stringify(use.value)} comes from ${use.from.place} ${use.from.pointer}` } : null;
}

function askedBy(view, row) {
  const model = row.call && view.tree.order.find((one) => one.calls?.includes(row.call));
  if (model) return { span: model.id, words: "the model that asked for this call" };
  const order = view.tree.walked;
  const before = order.slice(0, order.indexOf(row)).reverse().find((one) => one.kind === "model" || one.kind === "tool");
  if (before) return { span: before.id, words: "the step before" };
  return row.parent && { span: row.parent };
}

function sideways(view, direction) {
  const line = view.lines[at(view)];
  if (!line) return;
  const open = view.isOpen(line);
  if (direction > 0 && open === false) view.toggle(line);
  else if (direction > 0) move(view, 1);
  else if (open) view.toggle(line);
  else if (line.within) view.select(line.within);
  else if (view.row(line.row?.parent)) view.select(line.row.parent);
}

export function show(view, mode) {
  if (view.mode === mode) return;
  view.mode = mode;
  view.makeList();
  view.drawHead();
  view.select(view.cursor);
}

/** Keys, the words of the help, what they do. @type {[string[], string, (view: any, key: string) => any][]} */
export const MOVES = [
  [["j", "ArrowDown"], "next step", (view) => move(view, 1)],
  [["k", "ArrowUp"], "previous step", (view) => move(view, -1)],
  [["l", "ArrowRight"], "open what is folded", (view) => sideways(view, 1)],
  [["h", "ArrowLeft"], "fold, or go to the parent", (view) => sideways(view, -1)],
  [["PageDown", " "], "a page down", (view) => move(view, 20)],
  [["PageUp"], "a page up", (view) => move(view, -20)],
  [["g", "Home"], "first step", (view) => move(view, -1e9)],
  [["G", "End"], "last step", (view) => move(view, 1e9)],
  [[..."123456789"], "jump to the suspect", (view, key) => view.goSuspect(Number(key) - 1)],
  [["e"], "next problem", (view) => step(view, view.tree.problems, 1, "nothing went wrong here")],
  [["E"], "previous problem", (view) => step(view, view.tree.problems, -1, "nothing went wrong here")],
  [["b"], "one step back along the lineage", (view) => back(view)],
  [["B"], "and forth again", (view) => forth(view)],
  [["r"], "what fed this step and what it fed; again: hide", (view) => { if (!view.diagnosis) say("still reading"); view.spreading = !view.spreading; view.drawPane(); }],
  [["w"], "waterfall", (view) => show(view, "w")],
  [["c"], "conversation", (view) => show(view, "c")],
  [["+", "="], "closer: a part of the time", (view) => zoom(view, 0.5)],
  [["-"], "farther", (view) => zoom(view, 2)],
  [[","], "earlier", (view) => pan(view, -0.25)],
  [["."], "later", (view) => pan(view, 0.25)],
  [["z"], "the time of this step only; all again", (view) => fit(view)],
  [["n"], "next hit of the search", (view) => step(view, view.hits, 1, "search with / first")],
  [["N"], "previous hit", (view) => step(view, view.hits, -1, "search with / first")],
  [["y"], "copy: for a model, JSON, curl, Python", (view) => copyMenu(view)],
  [["i"], "edit a value: the command that runs it again so", (view) => openEdit(view)],
  [["p"], "pause, or go on with, live news", (view) => pause(view)],
  [["f"], "follow the newest step", (view) => { view.follows = !view.follows; say(view.follows ? "following the newest step" : "no longer following"); }],
  [["Enter"], "into the pane of the step", (view) => view.pane.focus()],
  [["u", "Escape"], "back to the list", (view) => { if (view.data.live) toList(); }],
];

function pause(view) {
  view.paused = !view.paused;
  say(view.paused ? "paused" : "live again");
  if (!view.paused && view.waiting) {
    view.waiting = false;
    view.refresh();
  }
  view.drawHead();
}

export function traceKey(view, event) {
  const line = view.lines[at(view)];
  if (event.key === "Enter" && line?.fold) {
    view.toggle(line);
    return true;
  }
  const inside = view.pane.contains(document.activeElement);
  if (inside && event.key === "Escape") {
    view.rowsBox.focus();
    return true;
  }
  if (inside && ["ArrowDown", "ArrowUp", "PageDown", "PageUp", " ", "Home", "End"].includes(event.key)) return false;
  const found = MOVES.find(([keys]) => keys.includes(event.key));
  found?.[2](view, event.key);
  return Boolean(found);
}

// The part of the time that the waterfall shows.

import { across, el, more } from "./dom.js";
import { duration } from "./format.js";

const CLOSEST = 0.01;
const BESIDE = 0.15;

const frame = (view) => view.zoomed ?? { from: 0, to: view.span };

/** Where a moment stands, in percent; outside of what is shown it is less than 0 or more than 100. */
export function place(view, ms) {
  const { from, to } = frame(view);
  return ((ms - from) / (to - from)) * 100;
}

/** A bar within what is shown; `out`: it lies before or after. */
export function barPlace(view, start, end) {
  const left = place(view, start);
  const right = place(view, end);
  const out = right < 0 ? " before" : left > 100 ? " after" : "";
  const from = Math.max(0, Math.min(100, left));
  return { left: from, width: out ? 0 : Math.max(0, Math.min(100, right) - from), out };
}

function set(view, from, to) {
  const length = Math.min(view.span, Math.max(CLOSEST, to - from));
  const begin = Math.max(0, Math.min(view.span - length, from));
  view.zoomed = length >= view.span * 0.999 ? null : { from: begin, to: begin + length };
  view.drawLines();
}

/** Closer (`factor` below 1) or farther, about a moment. */
export function zoom(view, factor, about) {
  const { from, to } = frame(view);
  const row = view.row(view.cursor);
  const at = about ?? (row && row.start >= from && row.start <= to ? (row.start + Math.min(to, row.end ?? row.start)) / 2 : (from + to) / 2);
  set(view, at - (at - from) * factor, at + (to - at) * factor);
}

/** @param {number} share of what is shown */
export function pan(view, share) {
  const { from, to } = frame(view);
  set(view, from + (to - from) * share, to + (to - from) * share);
}

/** All of it again; or, asked of the whole, the chosen step. */
export function fit(view) {
  const row = view.row(view.cursor);
  if (view.zoomed || !row) return set(view, 0, view.span);
  const end = row.end ?? view.span;
  const around = Math.max(CLOSEST, (end - row.start) * BESIDE);
  return set(view, row.start - around, end + around);
}

/** A step that lies outside of what is shown comes into its middle. */
export function follow(view, row) {
  if (!view.zoomed || !row) return;
  const { from, to } = view.zoomed;
  if (row.start >= from && row.start <= to) return;
  set(view, row.start - (to - from) / 4, row.start + ((to - from) * 3) / 4);
}

export function axisNodes(view) {
  const { from, to } = frame(view);
  const ticks = [0, 0.25, 0.5, 0.75].map((share) => el("span", { style: { "--left": share * 100 } }, moment(from + (to - from) * share, to - from)));
  const words = view.zoomed ? more([`${(view.span / (to - from)).toFixed(1)} × closer · show all `, el("kbd", "z")], () => fit(view)) : el("span");
  return [words, el("div.axis", { "aria-hidden": "true", onpointerdown: (event) => drag(view, event) }, ticks)];
}

/** A moment, as fine as neighbours need it to be told apart. */
function moment(ms, shown) {
  if (!ms) return "0";
  if (ms < 60_000 || shown > 240_000) return duration(ms);
  const digits = shown > 8_000 ? 0 : shown > 800 ? 1 : shown > 80 ? 2 : 3;
  return `${Math.floor(ms / 60_000)}m ${((ms % 60_000) / 1000).toFixed(digits)}s`;
}

function drag(view, event) {
  const axis = event.currentTarget;
  const began = across(axis, event);
  const range = el("i.range");
  axis.append(range);
  axis.setPointerCapture(event.pointerId);
  const ends = (one) => [began, across(axis, one)].sort((a, b) => a - b);
  axis.onpointermove = (one) => {
    const [low, high] = ends(one);
    range.style.left = `${low * 100}%`;
    range.style.width = `${(high - low) * 100}%`;
  };
  axis.onpointerup = (one) => {
    const [low, high] = ends(one);
    const { from, to } = frame(view);
    axis.onpointermove = axis.onpointerup = null;
    range.remove();
    if (high - low > 0.01) set(view, from + (to - from) * low, from + (to - from) * high);
  };
}

/** Ctrl and the wheel over the bars: closer and farther about the pointer; Shift and the wheel: along. */
export function listenToWheel(view) {
  view.rowsBox.addEventListener("wheel", (event) => {
    const axis = view.axis.querySelector(".axis");
    if (!axis || !(event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    const { from, to } = frame(view);
    const turned = event.deltaY || event.deltaX;
    if (event.shiftKey) pan(view, Math.sign(turned) * 0.1);
    else zoom(view, turned > 0 ? 1.25 : 0.8, from + (to - from) * across(axis, event));
  }, { passive: false });
}

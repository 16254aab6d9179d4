// Under the waterfall: how full the context was at each call, tokens and cost as they added up.

import { across, el, tip } from "./dom.js";
import { cost, count, duration } from "./format.js";
import { place } from "./zoom.js";

const HEIGHT = 44;
const sizeOf = (row) => (row.in ?? 0) + (row.out ?? 0);

export function curveNode(view) {
  const calls = view.tree.order.filter((row) => row.in !== undefined || row.cost !== undefined);
  if (calls.length < 2) return null;
  const most = Math.max(...calls.map(sizeOf), 1);
  let spent = 0;
  let tokens = 0;
  const points = calls.map((row) => {
    spent += row.cost ?? 0;
    tokens += sizeOf(row);
    return { row, x: place(view, row.start) * 10, context: sizeOf(row), spent, tokens };
  });
  const end = points[points.length - 1];
  const priced = calls.some((row) => row.cost !== undefined);
  const y = (share) => (HEIGHT - 2 - share * (HEIGHT - 4)).toFixed(1);
  const bars = points.map((one) => `M${one.x.toFixed(1)} ${HEIGHT}V${y(one.context / most)}h${Math.max(2, place(view, one.row.end ?? one.row.start) * 10 - one.x).toFixed(1)}V${HEIGHT}z`).join("");
  const line = points.map((one, at) => `${at ? "H" : "M"}${one.x.toFixed(1)}${at ? "V" : " "}${y(priced && end.spent ? one.spent / end.spent : one.tokens / end.tokens)}`).join("");
  const picture = el("svg", { viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", role: "img", label: `Context up to ${count(most)} tokens, ${count(end.tokens)} tokens in all` },
    el("path.context", { d: bars }), el("path.spent", { d: `${line}H1000` }));
  const words = el("p.curve-words", el("span.of-context", `context ≤ ${count(most)} tokens`), el("span.of-spent", priced ? `cost ${cost(end.spent)}` : `${count(end.tokens)} tokens`));
  const plot = el("div.plot", picture);
  let near = end;
  plot.addEventListener("pointermove", (event) => {
    const x = across(plot, event) * 1000;
    near = points.reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best), points[0]);
  });
  plot.addEventListener("click", () => view.select(near.row.id));
  tip(plot, () => [el("b", `${near.row.name} at ${duration(near.row.start)}`), el("div", `context ${count(near.row.in)} → ${count(near.row.out)} tokens`), el("div", `until here ${count(near.tokens)} tokens${priced ? `, ${cost(near.spent)}` : ""}`)]);
  return el("div.curve", words, plot);
}

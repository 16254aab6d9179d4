// What fed the chosen step, and what it fed: listed in the pane, and lit in the tree.

import { dim, el, quiet } from "./dom.js";
import { cut, plural } from "./format.js";

const titleOf = (row) => `${row?.name} ${cut(row?.said ?? "", 60)}`;

/** By span, the class of its line. */
export function spreadClasses(view) {
  const lit = (side, cls) => (view.spread?.[side] ?? []).map((one) => [one.span, cls]);
  return new Map([...lit("up", "fed"), ...lit("down", "infected")].filter(([id]) => id !== view.cursor));
}

export function spreadNode(view) {
  if (!view.spreading) return null;
  if (!view.spread) return quiet("Inputs of this step unknown.");
  const { up, down, more } = view.spread;
  const list = (title, cls, reached) => el("section", { class: cls, "aria-label": title },
    el("h3", { text: reached.length ? title : `${title}: nothing that can be seen` }),
    el("ol", {}, reached.map((one) => el("li", { style: { "--depth": Math.min(one.distance, 8) - 1 } },
      el("a", { href: view.linkTo(one.span), text: one.span === view.cursor ? "this request" : titleOf(view.row(one.span)) }), el("span", { class: "dim", text: one.why })))));
  return el("div", { class: "spread" }, list("↑ What fed it", "fed", up), list("↓ What it fed", "infected", down),
    more ? dim(`${plural(more, "step")} farther away not listed`) : null);
}

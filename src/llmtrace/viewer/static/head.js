// The line over a trace: what it is, how it went, what it lasted.

import { el, home, keysButton } from "./dom.js";
import { UNKNOWN, clock, cost, plural, tokensOf, lasted } from "./format.js";
import { show } from "./moves.js";
import { copyMenu } from "./copy.js";
import { waitingChip } from "./waiting.js";

export function traceHead(view) {
  const trace = view.trace;
  const errors = view.tree.problems.filter((row) => row.state !== "warning").length;
  const facts = [plural(trace.spans, "step"), lasted(trace), `${tokensOf(trace)} tokens`, cost(trace.cost), errors ? plural(errors, "error") : UNKNOWN, clock(trace.start)].filter((fact) => !fact.startsWith(UNKNOWN)).join(" · ");
  const search = el("input", { type: "search", class: "search", placeholder: "Search this trace", "aria-label": "Search this trace", value: view.query.words, onchange: () => view.search(search.value.trim()) });
  const toggle = (mode, text) => el("button", { "aria-pressed": String(view.mode === mode), onclick: () => show(view, mode) }, text, el("kbd", { text: mode }));
  return [
    home(view.data.live),
    el("div", { class: "what" }, el("h1", { dir: "auto", text: trace.task ?? trace.name, title: trace.task ?? "" }),
      el("p", { class: "dim" }, el("span", { class: `health ${trace.health}`, text: trace.health }), `${trace.agents.join(", ") || trace.name} · ${facts}`)),
    el("div", { class: "toggle", role: "group", "aria-label": "View" }, toggle("w", "Waterfall "), toggle("c", "Conversation ")),
    search,
    view.data.live && trace.replayOf ? el("a", { class: "chip", href: `#compare/${trace.replayOf}/${view.id}`, text: "beside its recording", title: "This run is a replay" }) : null,
    view.paused ? el("span", { class: "chip on", text: "paused" }) : null,
    view.data.live ? waitingChip() : null,
    el("button", { class: "chip", text: "copy", onclick: () => copyMenu(view) }),
    view.data.live ? el("a", { class: "chip", href: `/api/traces/${view.id}/page`, download: "", text: "export" }) : null,
    keysButton(),
  ];
}

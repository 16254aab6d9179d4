// The strip over a trace: suspects with their evidence, where to look first, what was checked.

import { el, quiet } from "./dom.js";
import { callText, compact, cut, likelihood, nameText, plural, worded } from "./format.js";

const SHOWN = 3;
const SPAN = / ?\(span (\w{16})\)/;

/** True of a suspect that marks the run. @param {Suspect} suspect */
export const isMarked = (suspect) => suspect.confidence !== "possible";

const listOf = (lines) => el("ol", {}, lines);

export function suspectStrip(view) {
  const diagnosis = /** @type {Diagnosis|null} */ (view.diagnosis);
  if (!diagnosis || diagnosis.fault) return [diagnosis?.fault ? quiet(diagnosis.fault) : quiet("looking for suspects …", "looking"), listOf(view.tree.problems.slice(0, SHOWN).map((row) => problemLine(view, row)))];
  const lines = diagnosis.suspects.map((suspect, at) => suspectLine(view, suspect, at));
  const marked = diagnosis.suspects.filter(isMarked).length;
  const { places, checked, unchecked } = diagnosis;
  return [
    marked ? listOf(lines.slice(0, Math.min(marked, SHOWN))) : quiet(verdictText(diagnosis)),
    foldedPart(view, `${marked - SHOWN} more`, false, lines.slice(SHOWN, marked)),
    diagnosis.reports.map((report) => quiet(`Reported: ${report}`)),
    foldedPart(view, "Where to look first", !marked, places.map((place) => placeLine(view, place))),
    foldedPart(view, `${plural(lines.length - marked, "thing")} worth a look`, false, lines.slice(marked)),
    foldedPart(view, `${plural(checked.length, "check")} ran`, false, checked.length ? [el("li", { class: "quiet", text: checked.map(nameText).join(", ") })] : []),
    unchecked.length ? el("p", { class: "quiet" }, "Not checked: ", linked(view, unchecked.join(" "))) : null,
  ];
}

/** Of a run that no suspect marks. */
function verdictText(diagnosis) {
  if (diagnosis.failed) return "The run failed, but no step is a clear cause.";
  if (diagnosis.health === "running") return "Still running. Nothing so far.";
  return diagnosis.is_judged ? "No suspect." : "Nothing could be judged.";
}

/** A list that stays as open as it was left. */
function foldedPart(view, title, open, lines) {
  return lines.length ? el("details", { class: "section", open: view.unfolded.get(title) ?? open, ontoggle: (event) => view.unfolded.set(title, event.target.open) }, el("summary", { text: title }), listOf(lines)) : null;
}

/** A step to go to. */
function line(cls, isChosen, go, key, title, why, score) {
  return el("li", {}, el("button", { class: `suspect ${cls}`, "aria-pressed": String(isChosen), onclick: go },
    key ? el("kbd", { text: key }) : null, el("b", { text: title }), el("span", { class: "why", text: why }), el("span", { class: "score", text: score })));
}

function suspectLine(view, suspect, at) {
  return line(suspect.confidence, view.suspect === at && view.cursor === suspect.span_id, () => view.goSuspect(at), String(at + 1), suspect.title, suspect.evidence.replace(SPAN, ""), confidenceText(suspect));
}

/** @param {Place} place */
function placeLine(view, place) {
  return line("possible", view.cursor === place.span_id, () => view.go(place.span_id), "", place.title, place.evidence ? `found: ${place.evidence}` : "by position only", likelihood(place.probability));
}

/** Shown until there is a diagnosis. @param {Row} row */
function problemLine(view, row) {
  const found = (row.marks ?? []).map(([, name]) => nameText(name)).join(", ");
  return line("possible", view.cursor === row.id, () => view.go(row.id), "e", row.name, found || (row.error ?? ""), "");
}

/** The word, the probability where it was measured, and the count. @param {Suspect} suspect */
export function confidenceText({ confidence, probability, count }) {
  return [confidence, probability === null ? "" : likelihood(probability), count > 1 ? `${count} times` : ""].filter(Boolean).join(", ");
}

/** Words with the spans that they name as links. */
const linked = (view, text) => text.split(SPAN).map((piece, at) => (at % 2 && view.tree.rows.has(piece) ? [" (", el("a", { href: view.linkTo(piece), text: view.row(piece).name }), ")"] : piece));

/** The suspect in the pane of its span: evidence, the chain, advice. */
export function suspectCard(view, at) {
  const suspect = view.diagnosis.suspects[at];
  return el("section", { class: `suspicion ${suspect.confidence}`, "aria-label": "Suspicion" },
    el("h3", {}, el("kbd", { text: String(at + 1) }), ` ${suspect.title}`, el("span", { class: "score", text: confidenceText(suspect) })),
    el("p", {}, linked(view, suspect.evidence)),
    suspect.symptoms.length ? el("p", { text: `It explains: ${suspect.symptoms.join("; ")}.` }) : null,
    el("button", { class: "more where", hidden: true, text: "show where", onclick: () => view.pane.querySelector(".suspected")?.scrollIntoView({ block: "center" }) }),
    suspect.chain.length > 1 ? el("ol", { class: "chain", "aria-label": "The chain back from the outcome" }, chainNodes(suspect.chain.map((step, place) =>
      el("li", { class: place === suspect.chain.length - 1 ? "last" : "" },
        el("a", { href: view.linkTo(step.span_id), "aria-current": step.span_id === view.cursor ? "step" : undefined, text: stepText(step) }),
        step.note ? el("span", { class: "dim", text: step.note }) : null)))) : null,
    suspect.advice ? el("p", { class: "advice", text: suspect.advice }) : null);
}

/** Both ends of a chain; what is between them unfolds, so that the call below stays on the screen. */
function chainNodes(steps) {
  const between = steps.slice(2, -2);
  if (between.length < 2) return steps;
  const more = el("li", {}, el("button", { class: "more", text: `${between.length} steps between`, onclick: () => more.replaceWith(...between) }));
  return [...steps.slice(0, 2), more, ...steps.slice(-2)];
}

/** @param {Step} step */
function stepText({ title, value }) {
  if (value == null) return title;
  if (title.startsWith("argument ")) return `${title} = ${compact(value)}`;
  if (typeof value === "object" && !Array.isArray(value)) return cut(callText(title, value), 160);
  return cut(`${title}: ${worded(value)}`, 160);
}

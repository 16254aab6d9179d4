// The strip over a trace: suspects, where to look first, what was checked.

import { el, link, more, quiet } from "./dom.js";
import { callText, compact, cut, isObject, likelihood, nameText, plural, worded } from "./format.js";

const SHOWN = 3;
const SPAN = / ?\(span (\w{16})\)/;

export const isMarked = (suspect) => suspect.confidence !== "possible";

const listOf = (lines) => el("ol", lines);

export function suspectStrip(view) {
  const { diagnosis } = view;
  if (!diagnosis || diagnosis.fault) return [diagnosis ? quiet(diagnosis.fault) : quiet("looking for suspects …", "looking"), listOf(view.tree.problems.slice(0, SHOWN).map((row) => problemLine(view, row)))];
  const lines = diagnosis.suspects.map((suspect, at) => suspectLine(view, suspect, at));
  const marked = diagnosis.suspects.filter(isMarked).length;
  const { places, checked, unchecked } = diagnosis;
  return [
    marked ? listOf(lines.slice(0, Math.min(marked, SHOWN))) : quiet(diagnosis.verdict),
    foldedPart(view, `${marked - SHOWN} more`, false, lines.slice(SHOWN, marked)),
    diagnosis.reports.map((report) => quiet(`Reported: ${report}`)),
    foldedPart(view, "Where to look first", !marked, places.map((place) => placeLine(view, place))),
    foldedPart(view, `${plural(lines.length - marked, "thing")} worth a look`, false, lines.slice(marked)),
    foldedPart(view, `${plural(checked.length, "check")} ran`, false, checked.length ? [el("li.quiet", checked.map(nameText).join(", "))] : []),
    unchecked.length ? el("p.quiet", "Not checked: ", linked(view, unchecked.join(" "))) : null,
  ];
}

/** A list that stays as open as it was left. */
function foldedPart(view, title, open, lines) {
  return lines.length ? el("details.section", { open: view.unfolded.get(title) ?? open, ontoggle: (event) => view.unfolded.set(title, event.target.open) }, el("summary", title), listOf(lines)) : null;
}

const line = (cls, isChosen, go, key, title, why, score) => el("li", el(`button.suspect.${cls}`, { "aria-pressed": isChosen, onclick: go },
  key && el("kbd", key), el("b", title), el("span.why", why), el("span.score", score)));

function suspectLine(view, suspect, at) {
  return line(suspect.confidence, view.suspect === at && view.cursor === suspect.span_id, () => view.goSuspect(at), at + 1, suspect.title, suspect.evidence.replace(SPAN, ""), confidenceText(suspect));
}

function placeLine(view, place) {
  return line("possible", view.cursor === place.span_id, () => view.go(place.span_id), "", place.title, place.evidence ? `found: ${place.evidence}` : "by position only", likelihood(place.probability));
}

/** Shown until there is a diagnosis. @param {Row} row */
function problemLine(view, row) {
  const found = (row.marks ?? []).map(([, name]) => nameText(name)).join(", ");
  return line("possible", view.cursor === row.id, () => view.go(row.id), "e", row.name, found || (row.error ?? ""), "");
}

/** The word, the probability where it was measured, and the count. */
export const confidenceText = ({ confidence, probability, count }) => [confidence, probability === null ? "" : likelihood(probability), count > 1 ? `${count} times` : ""].filter(Boolean).join(", ");

const linked = (view, text) => text.split(SPAN).map((piece, at) => (at % 2 && view.tree.rows.has(piece) ? [" (", link(view.linkTo(piece), view.row(piece).name), ")"] : piece));

export function suspectCard(view, at) {
  const suspect = view.diagnosis.suspects[at];
  return el(`section.suspicion.${suspect.confidence}`, { label: "Suspicion" },
    el("h3", el("kbd", at + 1), ` ${suspect.title}`, el("span.score", confidenceText(suspect))),
    el("p", linked(view, suspect.evidence)),
    suspect.symptoms.length ? el("p", `It explains: ${suspect.symptoms.join("; ")}.`) : null,
    el("button.more.where", { onclick: () => view.pane.querySelector(".suspected")?.scrollIntoView({ block: "center" }) }, "show where"),
    suspect.chain.length > 1 && el("ol.chain", { label: "The chain back from the outcome" }, chainNodes(suspect.chain.map((step, place) =>
      el(place === suspect.chain.length - 1 ? "li.last" : "li", el("a", { href: view.linkTo(step.span_id), "aria-current": step.span_id === view.cursor ? "step" : null }, stepText(step)),
        step.note && el("span.dim", step.note))))),
    suspect.advice && el("p.advice", suspect.advice));
}

/** Both ends of a chain; what is between them unfolds. */
function chainNodes(steps) {
  const between = steps.slice(2, -2);
  if (between.length < 2) return steps;
  const gap = el("li", more(`${between.length} steps between`, () => gap.replaceWith(...between)));
  return [...steps.slice(0, 2), gap, ...steps.slice(-2)];
}

function stepText({ title, value }) {
  if (value == null) return title;
  if (title.startsWith("argument ")) return `${title} = ${compact(value)}`;
  if (isObject(value)) return cut(callText(title, value), 160);
  return cut(`${title}: ${worded(value)}`, 160);
}

// Suspects on top: where the run may have gone wrong, the strongest first, each with its evidence and the way back to it.

import { el } from "./dom.js";
import { callText, compact, count, cut, duration, likelihood, worded } from "./format.js";

const SHOWN = 3;

export function suspectStrip(view) {
  const diagnosis = view.diagnosis;
  if (!diagnosis) return [el("p", { class: "quiet looking", text: lookingText(view) }), ...problemsSoFar(view)];
  const { suspects } = diagnosis;
  if (diagnosis.failed) return [el("p", { class: "quiet", text: diagnosis.failed }), ...problemsSoFar(view)];
  const unlikely = suspects.length && suspects[0].score < diagnosis.likely;
  const shown = view.allSuspects ? suspects.slice(0, 9) : suspects.slice(0, SHOWN);
  const hidden = suspects.length - shown.length;
  const same = (suspect) => suspects.some((one) => one !== suspect && one.title === suspect.title);
  return [
    !suspects.length ? el("p", { class: "quiet", text: "No suspect: nothing in this trace was invalid, failed, or came from nowhere." }) : null,
    unlikely ? el("p", { class: "quiet", text: view.trace?.health === "failed" ? "It went wrong, and no step stands out. The likeliest first:" : "Nothing here is likely to have done harm. What is a little suspect:" }) : null,
    el("ol", {}, shown.map((suspect, at) => el("li", {},
      el("button", {
        class: `suspect${suspect.score < diagnosis.likely ? " weak" : ""}`, "aria-pressed": String(view.suspect === at && view.cursor === suspect.span_id),
        onclick: () => view.goSuspect(at),
      }, el("kbd", { text: String(at + 1) }), el("b", { text: suspect.title }), el("span", { class: "why", text: (same(suspect) ? toldApart(view, suspect) : "") + suspect.evidence.replace(SPAN, "") }),
      el("span", { class: "score", text: likelihood(suspect.score), title: "probability that it began here" }))))),
    hidden > 0 ? el("button", { class: "more", text: `${hidden} more`, onclick: () => { view.allSuspects = true; view.drawSuspects(); } }) : null,
    diagnosis.unknown.length ? el("p", { class: "quiet" }, "Not visible: ", linked(view, diagnosis.unknown.join("; "))) : null,
    diagnosis.symptoms.map((said) => el("p", { class: "quiet", text: `Said of ${said}` })),
  ];
}

const SPAN = / ?\(span (\w{16})\)/;

/** Words with the spans that they name as links. */
const linked = (view, text) => text.split(SPAN).map((piece, at) => (at % 2 && view.tree.rows.has(piece) ? [" (", el("a", { href: view.linkTo(piece), text: view.row(piece).name }), ")"] : piece));

/** What tells suspects of one title apart. */
function toldApart(view, suspect) {
  const value = worded(suspect.value ?? "");
  if (!value) return `At ${duration(view.row(suspect.span_id)?.start)}: `;
  return suspect.evidence.includes(value) ? "" : `${cut(value, 40)}: `;
}

/** What is being done, once it has taken a second. */
function lookingText(view) {
  const seconds = Math.round((performance.now() - view.began) / 1000);
  return seconds < 1 ? "looking for suspects …" : `looking for suspects: ${view.stage || "reading"} (${count(view.trace?.spans)} steps) … ${seconds} s`;
}

/** What is known at once: where errors began. */
function problemsSoFar(view) {
  const found = view.tree.problems.slice(0, SHOWN);
  if (!found.length) return [];
  return [el("ol", {}, found.map((row) => el("li", {}, el("button", { class: "suspect weak", "aria-pressed": String(view.cursor === row.id), onclick: () => view.go(row.id) },
    el("kbd", { text: "e" }), el("b", { text: row.name }), el("span", { class: "why", text: [...(row.marks ?? []).map(([, name]) => name.replaceAll("_", " ")), row.refused ? "refused" : row.error ?? ""].filter(Boolean).join(", ") })))))];
}

/** The suspect in the pane of its span: evidence, the way back, what to do. */
export function suspectCard(view, at) {
  const suspect = view.diagnosis.suspects[at];
  return el("section", { class: `suspicion${suspect.score < view.diagnosis.likely ? " weak" : ""}`, "aria-label": "Suspicion" },
    el("h3", {}, el("kbd", { text: String(at + 1) }), ` ${suspect.title}`),
    el("p", {}, linked(view, suspect.evidence)),
    el("button", { class: "more where", hidden: true, text: "show where", onclick: () => view.pane.querySelector(".suspected")?.scrollIntoView({ block: "center" }) }),
    suspect.chain.length > 1 ? el("ol", { class: "chain", "aria-label": "The way back from the answer" }, suspect.chain.map((step, place) =>
      el("li", { class: place === suspect.chain.length - 1 ? "last" : "" },
        el("a", { href: view.linkTo(step.span_id), "aria-current": step.span_id === view.cursor ? "step" : undefined, text: stepText(step) }),
        step.note ? el("span", { class: "dim", text: step.note }) : null))) : null,
    suspect.advice ? el("p", { class: "advice", text: suspect.advice }) : null);
}

/** @param {Step} step */
function stepText(step) {
  if ((step.value ?? null) === null) return step.title;
  if (step.title.startsWith("argument ")) return `${step.title} = ${compact(step.value)}`;
  if (typeof step.value === "object" && !Array.isArray(step.value)) return cut(callText(step.title, step.value), 300);
  return cut(`${step.title}: ${worded(step.value)}`, 300);
}

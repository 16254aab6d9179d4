// The pane of one span: what was found, what went in and came out, schema beside arguments, attempts side by side, raw facts.

import { dim, el, fill, lazySection } from "./dom.js";
import { decisionNode, heldNode } from "./decisions.js";
import { cost, cut, duration, exactNumber, nameText, worded } from "./format.js";
import { attemptsNode } from "./attempts.js";
import { editButton } from "./edit.js";
import { block, brokenPieces, callPieces, jsonPieces, names, segment, textBlock } from "./json.js";
import { answerNodes, factsOf, failureNode, resultNode } from "./lines.js";
import { expectedText, marking, soughtIn, suspecting } from "./marks.js";
import { messageNode, messageNodes } from "./messages.js";
import { placeText } from "./place.js";
import { rateButton } from "./rate.js";
import { spreadNode } from "./spread.js";
import { suspectCard } from "./suspects.js";

/** @param {Row} row @param {Payload} payload */
export function detail(view, row, payload) {
  const uses = view.usesOf(row.id);
  const suspect = view.suspectOf(row.id);
  return [
    headNode(view, row, payload),
    suspect >= 0 ? suspectCard(view, suspect) : null,
    spreadNode(view),
    findingsNode(view, payload),
    ...bodyNodes(view, row, payload, uses),
    factsNode(row, payload),
    ...rawSections(payload),
  ];
}

/** @param {Row} row @param {Payload} payload */
function headNode(view, row, payload) {
  const path = view.tree.path(row).slice(0, 8).reverse();
  const facts = factsOf(row);
  if (row.cost !== undefined) facts.push(cost(row.cost));
  if (row.first !== undefined) facts.push(`first token ${duration(row.first)}`);
  if (row.first !== undefined && row.end !== undefined && row.out && row.out > 1) facts.push(`${duration((row.end - row.start - row.first) / (row.out - 1))} a token`);
  return el("header", { class: "span-head" },
    el("nav", { class: "path", "aria-label": "Path to this step" }, path.map((above) => el("a", { href: view.linkTo(above.id), text: above.name }))),
    el("h2", { class: `k-${row.kind}` }, el("span", { class: "kind", text: row.kind }), row.name, el("span", { class: `state ${row.state}`, text: stateText(row) })),
    el("p", { class: "facts-line" }, facts.join(" · "), payload.conversation && view.data.live ? [" · ", el("a", { href: placeText("", { conversation: payload.conversation }), text: `conversation ${cut(payload.conversation, 40)}` })] : null, rateButton(view, row)));
}

function stateText(row) {
  if (row.refused) return "refused";
  if (row.kind === "review" && row.state === "running") return "waits";
  return row.state === "ok" ? "" : row.state;
}

/** @param {Payload} payload */
function findingsNode(view, payload) {
  const found = [
    ...payload.violations.map((one) => ({ severity: one.severity, name: one.code, where: one.pointer, text: one.message, more: expectedText(one), sources: [] })),
    ...payload.evaluations.filter((one) => one.name !== "invalid_tool_call" || !payload.violations.length).map((one) => ({
      severity: one.name === "outcome" && one.label === "failure" ? "error" : one.severity, name: one.label && !["fail", one.name].includes(one.label) ? `${one.name}: ${one.label}` : one.name,
      where: one.pointer, text: one.explanation, more: evidenceText(one.evidence), sources: one.sources ?? [] })),
  ];
  const failure = payload.failure && !(payload.violations.length && payload.failure.type === "invalid_tool_call") ? payload.failure : null;
  if (!found.length && !failure) return null;
  return el("section", { class: "findings", "aria-label": "Findings" }, el("ul", {},
    found.map((one) => el("li", { class: one.severity },
      el("b", { text: nameText(one.name) }), one.where ? el("code", { text: one.where }) : null, ` ${one.text}`,
      one.more && one.more !== one.text ? el("span", { class: "more-of", text: one.more }) : null,
      one.sources.map((span) => view.tree.rows.has(span) ? el("a", { class: "to", href: view.linkTo(span), text: `← ${view.row(span).name}` }) : null))),
    failure ? el("li", { class: "error" }, failureNode(payload), failure.stacktrace ? el("details", {}, el("summary", { text: `stack trace${payload.raised && `: ${payload.raised}`}` }), el("pre", { class: "code", text: failure.stacktrace })) : null) : null));
}

function evidenceText(evidence) {
  return Object.entries(evidence ?? {}).map(([name, value]) => `${name} ${cut(worded(value), 120)}`).join(" · ");
}

/** @param {Row} row @param {Payload} payload @param {Use[]} uses */
function bodyNodes(view, row, payload, uses) {
  if (row.kind === "tool" || payload.operation === "ToolExecution") return callBody(view, row, payload, uses);
  if (payload.operation === "Inference" || payload.operation === "FetchResponse") {
    const nodes = messageNodes(view, payload);
    return [
      row.state === "running" && !nodes.length ? el("p", { class: "gone", text: "The request is stored when the call ends." }) : null,
      ...(row.state === "running" && !nodes.length ? wholeRun(view) : []),
      nodes.length ? titled("New in this call", ...nodes) : null,
      payload.output?.length ? titled("Answer", ...answerNodes(view, payload, uses), editButton(view, payload, "")) : null,
      payload.facts.partial ? el("p", { class: "gone", text: "the stream ended before its end" }) : null,
    ];
  }
  if (payload.review) return reviewBody(view, row, payload.review);
  const input = /** @type {Message[]} */ (payload.input ?? []);
  if (!row.parent && !input.length && !payload.output?.length) return [...wholeRun(view), ...givenNodes(view, payload)];
  return [
    input.length ? titled("Task", ...input.map((message) => messageNode(message, "", view))) : null,
    payload.output?.length ? titled("Answer", ...answerNodes(view, payload, uses)) : null,
    ...givenNodes(view, payload),
  ];
}

/** What the whole run was asked and answered, on a root that does not say it itself. */
function wholeRun(view) {
  const { task, answer } = view.trace;
  return [task ? titled("Task of this run", textBlock(task, "text")) : null, answer ? titled("Answer of this run", textBlock(answer, "text answer")) : null];
}

/** @param {Payload} payload */
function givenNodes(view, payload) {
  return [
    payload.arguments !== undefined ? titled("Given", block(jsonPieces(payload.arguments))) : null,
    payload.has_result ? titled("Result", resultNode(view, payload)) : null,
  ];
}

/** What waits, as the store of reviews has it; nothing if it is not there any more. */
function waitingNodes(found) {
  return found.id ? [
    el("p", { class: "gone", text: "It waits for a person. Nothing has run." }), found.reason ? el("p", {}, el("b", { text: "Held because " }), found.reason) : null,
    heldNode(found.tool, found.payload), el("p", {}, el("a", { class: "chip on", href: `#/reviews/${found.id}`, text: "decide it" }))] : [];
}

/** A wait for a person: what was held, why, and what was decided. @param {Row} row */
function reviewBody(view, row, review) {
  const at = exactNumber(review.decided_at) ?? review.decided_at;
  const waiting = el("div", { class: "values" });
  if (row.state === "running" && view.data.live) view.data.reviews({ span: row.id }).then((found) => fill(waiting, waitingNodes(found))).catch(() => null);
  return [
    review.reason && row.state !== "running" ? el("p", {}, el("b", { text: "Held because " }), review.reason) : null,
    waiting,
    review.payload == null || review.decision === "edited" ? null : titled(review.tool ? "Call" : "Shown", heldNode(review.tool, review.payload)),
    review.decision ? decisionNode(review.tool ?? "", review.payload, { kind: review.decision, by: review.decided_by, at: at == null ? null : Number(at) / 1e6, note: review.note, value: review.value }) : null,
  ];
}

/** @param {Row} row @param {Payload} payload @param {Use[]} uses */
function callBody(view, row, payload, uses) {
  const marks = suspecting(view, row.id, payload.arguments, marking(view, payload.violations, uses, "arguments"));
  const broken = payload.violations.find((one) => one.line !== null && one.where === "arguments");
  const raw = typeof payload.arguments === "string";
  const pretty = raw && broken
    ? block([{ text: `${row.name}(` }, ...brokenPieces(payload.arguments, broken.line ?? 1, broken.column ?? 1, { cls: "bad error", note: `✗ line ${broken.line}, column ${broken.column}` }), { text: ")" }], { colours: false })
    : block(callPieces(row.name, payload.arguments, marks), { cls: "code call" });
  const schema = payload.definition?.parameters ? schemaNode(payload) : null;
  const beside = schema && payload.violations.length;
  const sought = soughtIn(view, row.id);
  const back = sought.pointer ? { marks: new Map([[sought.pointer, sought]]) } : marking(view, payload.violations, [], "result");
  return [
    titled("Call", el("div", { class: beside ? "beside" : "" }, el("div", {}, pretty, raw ? null : rawToggle(payload.arguments, marks)), beside ? schema : null), editButton(view, payload, "Arguments")),
    payload.facts.repaired !== undefined ? titled("Ran with other arguments", block(callPieces(row.name, payload.facts.repaired))) : null,
    payload.facts.executed !== true ? el("p", { class: "gone", text: `${row.refused ? "refused: " : ""}the tool did not run` }) : null,
    payload.has_result ? titled("Result", resultNode(view, payload, undefined, back), editButton(view, payload, "Result")) : null,
    attemptsNode(view, row),
    schema && !beside ? lazySection("Schema", () => schema) : null,
  ];
}

/** The same as the JSON text that was sent, marks and all. @param {Marking} marks */
function rawToggle(args, marks) {
  return args == null ? null : el("details", { class: "raw" }, el("summary", { text: "JSON" }), block(jsonPieces(args, marks)));
}

/** @param {Payload} payload */
function schemaNode(payload) {
  const definition = /** @type {Definition} */ (payload.definition);
  const marks = new Map();
  for (const one of payload.violations) {
    if (one.where !== "arguments") continue;
    const at = schemaPointer(definition.parameters, one.pointer);
    if (at !== null) marks.set(at, { cls: "wanted" });
  }
  return el("div", { class: "schema" }, el("h4", { text: "Schema" }), definition.description ? dim(cut(definition.description, 600)) : null, block(jsonPieces(definition.parameters, { marks })));
}

/** Where a schema speaks of the value at a pointer, as far as its plain members say. @returns {string|null} */
function schemaPointer(schema, pointer) {
  let at = "";
  let here = schema;
  for (const plain of names(pointer)) {
    if (here?.properties && plain in here.properties) [here, at] = [here.properties[plain], `${at}/properties${segment(plain)}`];
    else if (here?.items && /^\d+$/.test(plain)) [here, at] = [here.items, `${at}/items`];
    else return at || null;
  }
  return at || null;
}

export function titled(title, ...content) {
  return el("section", { class: "part", "aria-label": title }, el("h3", { text: title }), ...content);
}

/** @param {Row} row @param {Payload} payload */
function factsNode(row, payload) {
  const facts = Object.entries(payload.facts).filter(([name]) => !["name", "executed", "repaired", "partial"].includes(name));
  return el("dl", { class: "facts" }, facts.slice(0, 40).flatMap(([name, value]) => [
    el("dt", { text: nameText(name) }), el("dd", { text: cut(worded(value), 400) })]));
}

/** @param {Payload} payload */
function rawSections(payload) {
  const sections = [];
  if (payload.tools?.length) sections.push(lazySection(`Tools on offer (${payload.tools.length})`, () => (payload.tools ?? []).slice(0, 30).map((tool) => lazySection(tool.name, () => [tool.description ? dim(tool.description) : null, block(jsonPieces(tool.parameters))]))));
  for (const name of ["attributes", "events", "links"]) {
    const number = Object.keys(payload[name]).length;
    if (number) sections.push(lazySection(`${name[0].toUpperCase()}${name.slice(1)} (${number})`, () => block(jsonPieces(payload[name]))));
  }
  sections.push(lazySection("Resource and identity", () => block(jsonPieces({ span_id: payload.id, name: payload.name, start: payload.start, end: payload.end, scope: payload.scope, resource: payload.resource }))));
  return sections;
}

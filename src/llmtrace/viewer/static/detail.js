// The pane of one span.

import { dim, el, fill, lazySection, link, quiet } from "./dom.js";
import { decisionNode, heldNode } from "./decisions.js";
import { cost, cut, duration, exactNumber, nameText, plural, worded } from "./format.js";
import { editButton } from "./edit.js";
import { block, brokenPieces, callBlock, jsonBlock, names, segment, textBlock } from "./json.js";
import { answerNodes, factsOf, failureNode, resultNode } from "./lines.js";
import { changeMarks, expectedText, marking, soughtIn, suspecting } from "./marks.js";
import { messageNode, messageNodes, newMessages } from "./messages.js";
import { placeText } from "./place.js";
import { rateButton } from "./rate.js";
import { suspectCard } from "./suspects.js";

export function detail(view, row, payload) {
  const suspect = view.suspectOf(row.id);
  return [headNode(view, row, payload), suspect >= 0 && suspectCard(view, suspect), spreadNode(view), findingsNode(view, payload), bodyNodes(view, row, payload, view.usesOf(row.id)), factsNode(payload), rawSections(payload)];
}

/** @param {Payload} payload */
function headNode(view, row, payload) {
  const facts = factsOf(row);
  if (row.cost !== undefined) facts.push(cost(row.cost));
  if (row.first !== undefined) {
    facts.push(`first token ${duration(row.first)}`);
    if (row.end !== undefined && row.out > 1) facts.push(`${duration((row.end - row.start - row.first) / (row.out - 1))} a token`);
  }
  return el("header.span-head", el("nav.path", { label: "Path to this step" }, view.tree.path(row).slice(0, 8).reverse().map((above) => link(view.linkTo(above.id), above.name))),
    el(`h2.k-${row.kind}`, el("span.kind", row.kind), row.name, el(`span.state.${row.state}`, stateText(row))),
    el("p.facts-line", facts.join(" · "), payload.conversation && view.data.live && [" · ", link(placeText("", { conversation: payload.conversation }), `conversation ${cut(payload.conversation, 40)}`)], rateButton(view, row)));
}

function stateText(row) {
  if (row.refused) return "refused";
  if (row.kind === "review" && row.state === "running") return "waits";
  return row.state === "ok" ? "" : row.state;
}

/** @param {Payload} payload */
function findingsNode(view, payload) {
  const found = [
    ...payload.violations.map((one) => ({ ...one, name: one.code, text: one.message, more: expectedText(one), sources: [] })),
    ...payload.evaluations.filter((one) => one.name !== "invalid_tool_call" || !payload.violations.length).map((one) => ({
      ...one, severity: one.name === "outcome" && one.label === "failure" ? "error" : one.severity, name: one.label && !["fail", one.name].includes(one.label) ? `${one.name}: ${one.label}` : one.name,
      text: one.explanation, more: Object.entries(one.evidence ?? {}).map(([name, value]) => `${name} ${cut(worded(value), 120)}`).join(" · ") })),
  ];
  const failure = payload.violations.length && payload.failure?.type === "invalid_tool_call" ? null : payload.failure;
  if (!found.length && !failure) return null;
  return el("section.findings", { label: "Findings" }, el("ul", found.map((one) => el("li", { class: one.severity },
      el("b", nameText(one.name)), one.pointer && el("code", one.pointer), ` ${one.text}`,
      one.more && one.more !== one.text && el("span.more-of", one.more),
      one.sources.map((span) => view.tree.rows.has(span) && el("a.to", { href: view.linkTo(span) }, `← ${view.row(span).name}`)))),
    failure && el("li.error", failureNode(payload), failure.stacktrace && el("details", el("summary", `stack trace${payload.raised && `: ${payload.raised}`}`), el("pre.code", failure.stacktrace)))));
}

/** @param {Payload} payload */
function bodyNodes(view, row, payload, uses) {
  if (row.kind === "tool") return callBody(view, row, payload, uses);
  const answer = (...more) => (payload.output?.length ? titled("Answer", answerNodes(view, payload, uses), more) : null);
  if (row.kind === "model") {
    const nodes = messageNodes(view, payload);
    return [
      nodes.length ? titled("New in this call", nodes) : row.state === "running" && [el("p.gone", "The request is stored when the call ends."), wholeRun(view)],
      answer(editButton(view, payload, "")),
      payload.facts.partial && el("p.gone", "the stream ended before its end"),
    ];
  }
  if (payload.review) return reviewBody(view, row, payload.review);
  const task = newMessages(payload).map((message) => messageNode(message, view));
  return [
    !row.parent && !task.length && !answer() && wholeRun(view),
    task.length ? titled("Task", task) : null,
    answer(),
    payload.arguments !== undefined && titled("Given", jsonBlock(payload.arguments)),
    payload.has_result && titled("Result", resultNode(view, payload)),
  ];
}

/** What the whole run was asked and answered. */
function wholeRun(view) {
  const { task, answer } = view.trace;
  return [task && titled("Task of this run", textBlock(task, "text")), answer && titled("Answer of this run", textBlock(answer, "text answer"))];
}

/** What waits, as the store of reviews has it. */
const waitingNodes = (found) => found.id && [
  el("p.gone", "It waits for a person. Nothing has run."), heldFor(found.reason),
  heldNode(found.tool, found.payload), el("p", el("a.chip.on", { href: `#/reviews/${found.id}` }, "decide it"))];

const heldFor = (reason) => reason && el("p", el("b", "Held because "), reason);

function reviewBody(view, row, review) {
  const at = exactNumber(review.decided_at) ?? review.decided_at;
  const waiting = el("div.values");
  if (row.state === "running" && view.data.live) view.data.reviews({ span: row.id }).then((found) => fill(waiting, waitingNodes(found))).catch(() => null);
  return [
    row.state !== "running" && heldFor(review.reason),
    waiting,
    review.payload == null || review.decision === "edited" ? null : titled(review.tool ? "Call" : "Shown", heldNode(review.tool, review.payload)),
    review.decision && decisionNode(review.tool ?? "", review.payload, { kind: review.decision, by: review.decided_by, at: at == null ? null : Number(at) / 1e6, note: review.note, value: review.value }),
  ];
}

/** @param {Payload} payload */
function callBody(view, row, payload, uses) {
  const marks = suspecting(view, row.id, payload.arguments, marking(view, payload.violations, uses, "arguments"));
  const broken = payload.violations.find((one) => one.line !== null && one.where === "arguments");
  const raw = typeof payload.arguments === "string";
  const pretty = raw && broken
    ? block([{ text: `${row.name}(` }, ...brokenPieces(payload.arguments, broken.line ?? 1, broken.column ?? 1, { cls: "bad error", note: `✗ line ${broken.line}, column ${broken.column}` }), { text: ")" }], { colours: false })
    : callBlock(row.name, payload.arguments, marks);
  const schema = payload.definition?.parameters && schemaNode(payload.definition, payload.violations);
  const beside = schema && payload.violations.length > 0;
  const sought = soughtIn(view, row.id);
  const back = sought.pointer ? { marks: new Map([[sought.pointer, sought]]) } : marking(view, payload.violations, [], "result");
  return [
    titled("Call", el(beside ? "div.beside" : "div", el("div", pretty, !raw && payload.arguments != null && el("details.raw", el("summary", "JSON"), jsonBlock(payload.arguments, marks))), beside && schema), editButton(view, payload, "Arguments")),
    payload.facts.repaired !== undefined && titled("Ran with other arguments", callBlock(row.name, payload.facts.repaired)),
    payload.facts.executed !== true && el("p.gone", `${row.refused ? "refused: " : ""}the tool did not run`),
    payload.has_result && titled("Result", resultNode(view, payload, undefined, back), editButton(view, payload, "Result")),
    attemptsNode(view, row),
    schema && !beside && lazySection("Schema", () => schema),
  ];
}

function schemaNode(definition, violations) {
  const wanted = violations.filter((one) => one.where === "arguments").map((one) => schemaPointer(definition.parameters, one.pointer));
  const marks = new Map(wanted.filter(Boolean).map((at) => [at, { cls: "wanted" }]));
  return el("div.schema", el("h4", "Schema"), definition.description && dim(cut(definition.description, 600)), jsonBlock(definition.parameters, { marks }));
}

/** Where a schema speaks of the value at a pointer. */
function schemaPointer(schema, pointer) {
  let [here, at] = [schema, ""];
  for (const plain of names(pointer)) {
    if (here?.properties && plain in here.properties) [here, at] = [here.properties[plain], `${at}/properties${segment(plain)}`];
    else if (here?.items && /^\d+$/.test(plain)) [here, at] = [here.items, `${at}/items`];
    else break;
  }
  return at;
}

function attemptsNode(view, row) {
  const calls = view.tree.kidsOf(view.tree.parentOf(row)).filter((one) => one.kind === "tool" && one.name === row.name);
  const isFailed = (at) => calls[at]?.state === "error" || calls[at]?.refused;
  let first = calls.indexOf(row);
  let last = first;
  while (isFailed(first - 1)) first -= 1;
  while (last < calls.length - 1 && isFailed(last)) last += 1;
  const attempts = calls.slice(first, last + 1);
  if (attempts.length < 2) return null;
  const at = attempts.indexOf(row);
  const pair = at > 0 ? [at - 1, at] : [0, 1];
  const box = el("div.beside", dim("…"));
  view.need(pair.map((place) => attempts[place].id)).then((payloads) => {
    const [before, after] = pair.map((place) => payloads.get(attempts[place].id));
    if (!before || !after) return;
    const marks = changeMarks(before.arguments, after.arguments);
    fill(box, pair.map((place, side) => el("div.attempt", el("h4", link(view.linkTo(attempts[place].id), `attempt ${place + 1}`), el(`span.state ${attempts[place].state}`, attempts[place].state)),
      callBlock(row.name, side ? after.arguments : before.arguments, marks))));
  });
  return titled(`Attempts (${attempts.length})`, box);
}

const titled = (title, ...content) => el("section.part", { label: title }, el("h3", title), content);

function factsNode({ facts }) {
  const shown = Object.entries(facts).filter(([name]) => !["name", "executed", "repaired", "partial"].includes(name));
  return el("dl.facts", shown.slice(0, 40).map(([name, value]) => [el("dt", nameText(name)), el("dd", cut(worded(value), 400))]));
}

function rawSections(payload) {
  const { id, name, start, end, scope, resource, tools = [] } = payload;
  const section = (title, value, number = Object.keys(value).length, make = () => jsonBlock(value)) => (number ? lazySection(`${title} (${number})`, make) : null);
  return [
    section("Tools on offer", tools, tools.length, () => tools.slice(0, 30).map((tool) => lazySection(tool.name, () => [tool.description && dim(tool.description), jsonBlock(tool.parameters)]))),
    section("Attributes", payload.attributes), section("Events", payload.events), section("Links", payload.links),
    lazySection("Resource and identity", () => jsonBlock({ span_id: id, name, start, end, scope, resource })),
  ];
}

export function spreadClasses(view) {
  const lit = (side, cls) => (view.spread?.[side] ?? []).map((one) => [one.span, cls]);
  return new Map([...lit("up", "fed"), ...lit("down", "infected")].filter(([id]) => id !== view.cursor));
}

/** What fed the chosen step, and what it fed. */
function spreadNode(view) {
  if (!view.spreading) return null;
  if (!view.spread) return quiet("Inputs of this step unknown.");
  const { up, down, more } = view.spread;
  const list = (title, cls, reached) => el("section", { class: cls, label: title },
    el("h3", reached.length ? title : `${title}: nothing that can be seen`),
    el("ol", reached.map((one) => el("li", { style: { "--depth": Math.min(one.distance, 8) - 1 } },
      link(view.linkTo(one.span), one.span === view.cursor ? "this request" : `${view.row(one.span)?.name} ${cut(view.row(one.span)?.said ?? "", 60)}`), el("span.dim", one.why)))));
  return el("div.spread", list("↑ What fed it", "fed", up), list("↓ What it fed", "infected", down),
    more ? dim(`${plural(more, "step")} farther away not listed`) : null);
}

// What can be copied: steps as text for a language model or as JSON, a call as curl or Python.

import { copyText, el, openDialog } from "./dom.js";
import { callText, compact, cut, jsonText, worded } from "./format.js";
import { newMessages } from "./messages.js";
import { asCurl, asPython } from "./request.js";
import { confidenceText, isMarked } from "./suspects.js";

const MOST_STEPS = 40;
const LONGEST = 1500;

export function copyMenu(view) {
  const row = view.row(view.cursor);
  const ways = /** @type {any[]} */ ([
    ["t", "text for a language model: suspects and this step", async () => [await forModel(view), "text for a model"]],
    ["j", "this step as JSON", async () => [jsonText((await view.need([view.cursor])).get(view.cursor), 2), "JSON"]],
    ["l", "link to this step", async () => [location.href, "link"]],
  ]);
  if (row?.kind === "model") {
    ways.push(["c", "curl that repeats this call", async () => [await asCurl(view, row), "curl"]], ["p", "Python that repeats this call", async () => [await asPython(view, row), "Python"]]);
  }
  const take = async (make) => {
    dialog.close();
    const [text, what] = await make();
    await copyText(text, what);
  };
  const dialog = openDialog("menu", "Copy", "Copy", ways.map(([key, words, make]) => el("button", { "data-letter": key, onclick: () => take(make) }, el("kbd", key), ` ${words}`)));
  dialog.addEventListener("keydown", (event) => {
    const way = ways.find(([key]) => key === event.key);
    if (!way) return;
    event.preventDefault();
    take(way[2]);
  });
}

async function forModel(view) {
  const trace = view.trace;
  const lines = [`# Trace ${trace.id}: ${view.health}`, `Task: ${trace.task ?? "unknown"}`, `Answer: ${trace.answer ?? "none"}`, ""];
  const suspects = (view.diagnosis?.suspects ?? []).filter(isMarked).slice(0, 3);
  if (suspects.length) lines.push("## Suspects");
  for (const suspect of suspects) {
    lines.push(`* ${suspect.title} (${confidenceText(suspect)}, span ${suspect.span_id}): ${suspect.evidence}`);
    for (const one of suspect.chain) lines.push(`  <- ${one.title}${one.value === null ? "" : ` ${cut(compact(one.value), 200)}`}${one.note ? `: ${one.note}` : ""}`);
  }
  const chosen = view.row(view.cursor);
  const steps = chosen ? view.tree.subtree(chosen.id, MOST_STEPS) : [];
  const path = view.tree.path(chosen).map((up) => up.name).reverse();
  const payloads = await view.need(steps.map((row) => row.id));
  lines.push("", `## Step${path.length ? ` in ${path.join(" > ")}` : ""}`);
  for (const row of steps) lines.push(...stepLines(row, payloads.get(row.id)));
  return lines.join("\n");
}

function stepLines(row, payload) {
  const lines = [`### ${row.kind} ${row.name} [${row.state}] span ${row.id}`];
  if (!payload) return lines;
  for (const message of [...newMessages(payload), ...(payload.output ?? [])]) lines.push(...messageLines(message));
  if (payload.arguments !== undefined) lines.push(cut(callText(row.name, payload.arguments), LONGEST));
  if (payload.has_result) lines.push(`result: ${cut(worded(payload.result), LONGEST)}`);
  for (const one of payload.violations) lines.push(`! ${one.code} at ${one.pointer || "the whole"}: ${one.message}; expected ${compact(one.expected)}, got ${compact(one.got)}`);
  for (const one of payload.evaluations) lines.push(`! ${one.severity} ${one.name}: ${one.explanation}`);
  if (payload.failure) lines.push(`! ${payload.failure.type}: ${cut(payload.failure.message, LONGEST)}`);
  return lines;
}

const messageLines = (message) => message.parts.map((part) => {
  if (part.type === "tool_call") return `${message.role} calls ${cut(callText(part.name, part.arguments), LONGEST)}`;
  return `${message.role}: ${cut(worded(part.content ?? part.response ?? part), LONGEST)}`;
});

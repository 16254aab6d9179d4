// A recorded value, changed by hand, as the commands that run the program again with it. Nothing runs here.

import { chip, copyText, dim, el, field, fill, more, openDialog, say } from "./dom.js";
import { compact, isObject, jsonText } from "./format.js";
import { exactly, segment } from "./json.js";
import { answerParts } from "./messages.js";
import { asciiJson, quoted } from "./request.js";

const PLAIN = /^[\p{L}\p{M}\p{N} -<>-~]*$/u; // what a terminal shows as it is, without the = that ends a place

/** What can be changed in a step: a label, the value, and what its place begins with. @param {Payload} payload */
function editable(payload) {
  if (!/^(ToolE|Inf|Fetch)/.test(payload.operation)) return [];
  const isTool = payload.operation === "ToolExecution";
  const parts = answerParts(payload);
  const calls = /** @type {Part[]} */ (isTool ? [{ name: payload.facts.name, arguments: payload.arguments }] : parts.filter((part) => part.type === "tool_call"));
  const first = calls.filter((call, at) => isObject(call.arguments) && PLAIN.test(call.name) && !call.name.includes("/") && calls.findIndex(({ name }) => name === call.name) === at);
  const texts = parts.filter((part) => part.type === "text");
  return [
    ...(isTool ? [["Result", payload.has_result ? payload.result : null, ""]] : []),
    ...(texts.length ? [["Text", texts.map((part) => part.content).join("\n"), "text"]] : []),
    ...first.map((call) => [`Arguments of ${call.name}`, call.arguments, call.name]),
  ];
}

/** The deepest member of objects that holds all that differs: its pointer and new value; null: nothing does. */
function changeOf(old, value, pointer = "") {
  if (compact(old) === compact(value)) return null;
  if (isObject(old) && isObject(value) && Object.keys(old).join("\n") === Object.keys(value).join("\n")) {
    const changed = Object.keys(old).filter((name) => compact(old[name]) !== compact(value[name]));
    if (changed.length === 1 && PLAIN.test(changed[0])) return changeOf(old[changed[0]], value[changed[0]], pointer + segment(changed[0]));
  }
  return [pointer, value];
}

/** PLACE=VALUE for what was typed; empty: nothing differs. Throws what is wrong with it. @param {any[]} field */
function settingOf([, old, place], text) {
  const change = changeOf(old, typeof old === "string" ? text : JSON.parse(text, exactly));
  if (change && !change[0] && place && place !== "text") throw new Error("change one argument: an edit changes one value");
  return change ? `${place}${change[0]}=${asciiJson(change[1], 0)}` : "";
}

/** Whether `why --prove --set` corrects this step: it does the first suspect's. */
function isFirstSuspect(view, row) {
  const span = view.diagnosis?.suspects?.[0]?.span_id;
  return span === row.id || Boolean(row.calls?.includes(view.row(span)?.call));
}

/** A button for the fields whose label begins so. */
export const editButton = (view, payload, label) => editable(payload).some(([name]) => name.startsWith(label)) && more("edit", () => openEdit(view, label));

export function openEdit(view, label = "") {
  const row = view.row(view.cursor);
  const payload = view.payloads.get(row?.id);
  const fields = payload ? editable(payload) : [];
  if (!fields.length) return say("nothing in this step can be edited");
  const out = el("div", { "aria-live": "polite" });
  const areas = fields.map(([, value], at) => {
    const text = typeof value === "string" ? value : jsonText(value, 2);
    return el("textarea", { id: `edit-${at}`, spellcheck: "false", rows: Math.min(14, text.split("\n").length + 1), value: text, oninput: () => fill(out, commands()) });
  });
  const starts = areas.map((area) => area.value);
  const commandNodes = (line) => [el("pre.code", line), chip("copy", () => { dialog.close(); copyText(line, "command"); })];
  const commands = () => {
    const changed = areas.flatMap((area, at) => (area.value === starts[at] ? [] : [at]));
    try {
      if (changed.length > 1) throw new Error("change one value");
      const setting = changed.length && settingOf(fields[changed[0]], areas[changed[0]].value);
      const end = setting ? `--set ${quoted(setting)} -- python agent.py` : `--set / --live-after ${row.id} -- python agent.py`;
      const lines = [`llmtrace replay ${view.id} --edit ${row.id} ${end}`];
      if (!setting) {
        const hint = dim("Change the value: the command that runs your program again with it stands here then.");
        return payload.operation !== "Inference" ? [hint] : [hint, dim("Or change what the model is asked: this opens it in your editor, and asks for real."), ...lines.map(commandNodes)];
      }
      if (isFirstSuspect(view, row)) lines.push(`llmtrace why ${view.id} --prove ${end}`);
      return lines.map(commandNodes);
    } catch (/** @type {any} */ error) {
      return [el("p.fault", error.message)];
    }
  };
  const dialog = openDialog("edit", "Edit", "Edit, and run it again",
    el("div.panel", fields.map(([name], at) => field(name, areas[at])), out, chip("close", () => dialog.close())));
  fill(out, commands());
  areas[Math.max(0, fields.findIndex(([name]) => name.startsWith(label)))].focus();
}

// A form for the value that a JSON Schema describes. What was not changed is sent as it came, to the last digit.

import { visibleText } from "./decisions.js";
import { el } from "./dom.js";
import { exactNumber, isObject, jsonText } from "./format.js";
import { names } from "./json.js";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const LONG_TEXT = 60;
let numbered = 0;

/** A field; `value` is what it is now, undefined if it is absent. */
function fieldOf(name, schema, value, required) {
  const choices = (schema?.anyOf ?? []).filter((one) => one.type !== "null");
  const plain = choices.length === 1 ? choices[0] : schema ?? {};
  const options = plain.enum?.every((one) => one === null || typeof one !== "object") ? plain.enum.map((one) => JSON.stringify(one)) : [];
  const typeOfValue = exactNumber(value) !== undefined || typeof value === "number" ? "number" : value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const type = plain.type === "integer" ? "number" : plain.type ?? (value == null ? "" : typeOfValue);
  if (type === "boolean" && typeof value !== "boolean") options.push("true", "false");
  let kind = options.length ? "choice" : { string: "text", number: "number", boolean: "checkbox" }[type] ?? "json";
  const isOdd = typeof value === "string" && visibleText(value) !== value; // as JSON, what cannot be seen is written out
  if (isOdd || (value != null && kind !== "number" && kind !== "choice" && typeOfValue !== type)) kind = "json";
  return { name, kind, label: [type, required ? "" : "may be left out"].filter(Boolean).join(", "), value, nullable: choices.length === 1, options, required, about: plain.description ?? schema?.description ?? "" };
}

function startText({ kind, value }) {
  if (value === undefined || (value === null && kind !== "choice")) return "";
  if (kind === "text") return value;
  return kind === "number" && typeof value === "string" ? value : visibleText(jsonText(value, kind === "json" ? 2 : 0));
}

/** A field's JSON text; undefined: it is left out. Throws what is wrong with it. */
function jsonOf(field, text) {
  if (text === startText(field)) return field.value === undefined ? undefined : jsonText(field.value);
  if (field.kind === "text") return JSON.stringify(text);
  if (text.trim() === "") return field.nullable ? "null" : undefined;
  if (field.kind === "number") return NUMBER.test(text.trim()) ? text.trim() : JSON.stringify(text);
  JSON.parse(text);
  return text;
}

function controlOf(field, id) {
  const start = startText(field);
  const common = { id, "aria-describedby": `${id}-fault` };
  if (field.kind === "checkbox") {
    const node = el("input", { ...common, type: "checkbox" });
    node.checked = field.value;
    return { node, read: () => String(node.checked) };
  }
  let node;
  if (field.kind === "choice") {
    const absent = field.value === undefined;
    const all = new Set([...(field.required && !absent ? [] : [""]), ...field.options, ...(absent ? [] : [start])]);
    node = el("select", common, [...all].map((value) => el("option", { value }, value === "" ? "– left out –" : value.replace(/^"(.*)"$/, "$1"))));
  } else if (field.kind === "json" || start.length > LONG_TEXT || start.includes("\n")) {
    node = el(field.kind === "json" ? "textarea.as-json" : "textarea", { ...common, rows: Math.min(14, Math.max(3, start.split("\n").length, Math.ceil(start.length / 70))), spellcheck: "false" });
  } else node = el("input", { ...common, type: "text", inputmode: field.kind === "number" && "decimal", autocomplete: "off" });
  node.value = start;
  return { node, read: () => node.value };
}

/**
 * A form; `hidden`: pointers of values that are not shown as they are. `text()`: its JSON text; throws what is not JSON.
 * `blame(faults)`: say at each field what is wrong, return what belongs to none. @param {string[]} hidden
 */
export function makeForm(schema, value, hidden = []) {
  const hasMembers = value === undefined ? schema?.type === "object" && schema.properties : isObject(value);
  const properties = schema?.properties ?? {};
  const fields = hasMembers
    ? [...new Set([...Object.keys(value ?? {}), ...Object.keys(properties)])].map((name) => fieldOf(name, properties[name], value && Object.hasOwn(value, name) ? value[name] : undefined, (schema?.required ?? []).includes(name)))
    : [fieldOf("", schema, value, true)];
  const rows = fields.map((field) => {
    const id = `field-${numbered++}`;
    const control = controlOf(field, id);
    const fault = el("p.fault", { id: `${id}-fault`, hidden: true });
    const isHidden = hidden.some((pointer) => pointer === "" || names(pointer)[0] === field.name);
    const node = el(`div.field f-${field.kind}`, el("label", { for: id }, el("b", field.name || "value"), " ", el("span.dim", field.label)),
      control.node, isHidden && el("p.hidden-note", "Hidden: left as it stands here, the program's own value runs."),
      field.about && el("p.dim", field.about), fault);
    const blame = (text) => {
      fault.textContent = text;
      fault.hidden = !text;
      control.node.ariaInvalid = Boolean(text);
    };
    return { field, control, node, blame };
  });
  const text = () => {
    const members = rows.map((row) => {
      row.blame("");
      try {
        return [row.field.name, jsonOf(row.field, row.control.read())];
      } catch (/** @type {any} */ error) {
        row.blame(`Not JSON: ${error.message}`);
        row.control.node.focus();
        throw error;
      }
    });
    if (!hasMembers) return members[0][1] ?? "null";
    return `{${members.filter(([, json]) => json !== undefined).map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(", ")}}`;
  };
  const blame = (faults) => {
    const left = faults.filter((fault) => {
      const row = rows.find(({ field }) => !hasMembers || field.name === names(fault.pointer)[0]);
      row?.blame(fault.message);
      return !row;
    });
    rows.find(({ control }) => control.node.ariaInvalid === "true")?.control.node.focus();
    return left;
  };
  return { nodes: rows.map(({ node }) => node), text, blame };
}

// A form for the value that a JSON Schema describes: text, number, choice or checkbox; JSON for what is not flat. What was not
// changed is sent as it came, to the last digit.

import { visibleText } from "./decisions.js";
import { el } from "./dom.js";
import { exactNumber, jsonText } from "./format.js";
import { names } from "./json.js";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const LONG_TEXT = 60;
let numbered = 0;

/** @typedef {{name: string, kind: string, label: string, value: Json, nullable: boolean, options: string[], required: boolean, about: string}} Field */

/** @param {Json} schema @param {Json} value what it is now; undefined: absent @returns {Field} */
function fieldOf(name, schema, value, required) {
  const choices = (schema?.anyOf ?? []).filter((one) => one.type !== "null");
  const plain = choices.length === 1 ? choices[0] : schema ?? {};
  const options = plain.enum?.every((one) => one === null || typeof one !== "object") ? plain.enum.map((one) => JSON.stringify(one)) : [];
  const typeOfValue = exactNumber(value) !== undefined || typeof value === "number" ? "number" : value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const type = plain.type === "integer" ? "number" : plain.type ?? (value == null ? "" : typeOfValue);
  let kind = { string: "text", number: "number", boolean: "checkbox" }[type] ?? "json";
  if (kind === "checkbox" && typeof value !== "boolean") {
    kind = "choice";
    options.push("true", "false");
  }
  if (options.length) kind = "choice";
  const isOdd = typeof value === "string" && visibleText(value) !== value; // as JSON, what cannot be seen is written out
  if (isOdd || (value != null && kind !== "number" && kind !== "choice" && typeOfValue !== type)) kind = "json";
  return { name, kind, label: [type, required ? "" : "may be left out"].filter(Boolean).join(", "), value, nullable: choices.length === 1, options, required, about: plain.description ?? schema?.description ?? "" };
}

/** What stands in the field at first. @param {Field} field */
function startText({ kind, value }) {
  if (value === undefined || (value === null && kind !== "choice")) return "";
  if (kind === "text") return value;
  return kind === "number" && typeof value === "string" ? value : visibleText(jsonText(value, kind === "json" ? 2 : 0));
}

/** A field's JSON text; undefined: it is left out. Throws what is wrong with it. @param {Field} field @param {string} text */
function jsonOf(field, text) {
  if (text === startText(field)) return field.value === undefined ? undefined : jsonText(field.value);
  if (field.kind === "text") return JSON.stringify(text);
  if (text.trim() === "") return field.nullable ? "null" : undefined;
  if (field.kind === "number") return NUMBER.test(text.trim()) ? text.trim() : JSON.stringify(text);
  JSON.parse(text);
  return text;
}

/** The control of a field, and how its text is read. @param {Field} field @returns {{node: any, read: () => string}} */
function controlOf(field, id) {
  const start = startText(field);
  const common = { id, "aria-describedby": `${id}-fault` };
  if (field.kind === "checkbox") {
    const node = el("input", { ...common, type: "checkbox" });
    node.checked = field.value;
    return { node, read: () => String(node.checked) };
  }
  if (field.kind === "choice") {
    const known = field.value === undefined || field.options.includes(start);
    const all = [...(field.required && field.value !== undefined ? [] : [""]), ...(known ? [] : [start]), ...field.options];
    const node = el("select", common, all.map((option) => el("option", { value: option, text: option === "" ? "– left out –" : option.replace(/^"(.*)"$/, "$1") })));
    node.value = start;
    return { node, read: () => node.value };
  }
  const long = field.kind === "json" || start.length > LONG_TEXT || start.includes("\n");
  const node = long
    ? el("textarea", { ...common, rows: Math.min(14, Math.max(3, start.split("\n").length, Math.ceil(start.length / 70))), spellcheck: "false", class: field.kind === "json" ? "as-json" : "", value: start })
    : el("input", { ...common, type: "text", inputmode: field.kind === "number" ? "decimal" : undefined, autocomplete: "off", value: start });
  return { node, read: () => node.value };
}

/**
 * The form's fields. `text()`: the JSON text of what stands there; throws where something is not JSON. `blame(faults)`: say at each
 * field what is wrong; what belongs to none is returned.
 * @param {Json} schema @param {Json} value @param {string[]} hidden JSON Pointers of values that are not shown as they are
 */
export function makeForm(schema, value, hidden = []) {
  const isObject = value === undefined ? schema?.type === "object" && schema.properties : value && typeof value === "object" && !Array.isArray(value) && exactNumber(value) === undefined;
  const properties = schema?.properties ?? {};
  const fields = isObject
    ? [...new Set([...Object.keys(value ?? {}), ...Object.keys(properties)])].map((name) => fieldOf(name, properties[name], value && Object.hasOwn(value, name) ? value[name] : undefined, (schema?.required ?? []).includes(name)))
    : [fieldOf("", schema, value, true)];
  const rows = fields.map((field) => {
    const id = `field-${numbered++}`;
    const control = controlOf(field, id);
    const fault = el("p", { class: "fault", id: `${id}-fault`, hidden: true });
    const isHidden = hidden.some((pointer) => pointer === "" || names(pointer)[0] === field.name);
    const node = el("div", { class: `field f-${field.kind}` },
      el("label", { for: id }, el("b", { text: field.name || "value" }), " ", el("span", { class: "dim", text: field.label })),
      control.node, isHidden ? el("p", { class: "hidden-note", text: "Hidden: left as it stands here, the program's own value runs." }) : null,
      field.about ? el("p", { class: "dim", text: field.about }) : null, fault);
    const blame = (text) => {
      fault.textContent = text;
      fault.hidden = !text;
      control.node.setAttribute("aria-invalid", String(Boolean(text)));
    };
    return { field, control, node, blame };
  });
  const text = () => {
    const members = rows.map((row) => {
      row.blame("");
      try {
        return [row.field.name, jsonOf(row.field, row.control.read())];
      } catch (error) {
        row.blame(`Not JSON: ${/** @type {Error} */ (error).message}`);
        row.control.node.focus();
        throw error;
      }
    });
    if (!isObject) return members[0][1] ?? "null";
    return `{${members.filter(([, json]) => json !== undefined).map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(", ")}}`;
  };
  /** @param {{pointer: string, message: string}[]} faults */
  const blame = (faults) => {
    const left = faults.filter((fault) => {
      const row = rows.find(({ field }) => !isObject || field.name === names(fault.pointer)[0]);
      row?.blame(fault.message);
      return !row;
    });
    rows.find(({ control }) => control.node.getAttribute("aria-invalid") === "true")?.control.node.focus();
    return left;
  };
  return { nodes: rows.map(({ node }) => node), first: rows[0]?.control.node, text, blame };
}

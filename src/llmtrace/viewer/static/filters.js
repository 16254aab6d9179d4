// The panel of filters: one field for each that the server names; what is set stands in the address.

import { el } from "./dom.js";
import { nameText } from "./format.js";

/** @typedef {{name: string, help: string, metavar: string, choices: string[]}} Filter */

/** A form that tells `changed` each value once it is chosen. @param {any} data @param {Filter[]} filters @param {Query} query @param {(change: Query) => void} changed */
export function filterPanel(data, filters, query, changed) {
  return el("form", { class: "panel filter-panel", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() },
    filters.map((filter) => {
      const options = { id: `filter-${filter.name}`, name: filter.name, value: query[filter.name] ?? "", title: `only traces ${filter.help}`, onchange: (event) => changed({ [filter.name]: event.target.value.trim() }) };
      if (filter.choices.length) {
        const choices = ["", ...filter.choices].map((choice) => el("option", { value: choice, text: choice || "any" }));
        const node = el("select", options, choices);
        node.value = query[filter.name] ?? "";
        return field(filter, node);
      }
      if (filter.metavar !== "NAME") return field(filter, el("input", { ...options, type: "text", autocomplete: "off", placeholder: filter.metavar.toLowerCase() }));
      const list = el("datalist", { id: `names-${filter.name}` });
      const offer = () => data.names(filter.name).then((names) => list.replaceChildren(...names.map((name) => el("option", { value: name })))).catch(() => null);
      return field(filter, el("input", { ...options, type: "text", autocomplete: "off", list: list.id, onfocus: offer }), list);
    }));
}

const field = (filter, node, ...more) => el("div", { class: "field" }, el("label", { for: node.id, text: nameText(filter.name) }), node, more);

// Where one is, as the address says it: `#/?q=kettle&health=failed`, `#/trace/ID?span=ID&view=c`. It can be sent to others.

export function readPlace() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const trace = /^\/trace\/([0-9a-zA-Z]+)/.exec(path);
  return { trace: trace ? trace[1] : null, query: new URLSearchParams(query) };
}

export function placeText(trace, query) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${trace ? `trace/${trace}` : ""}${text ? `?${text}` : ""}`;
}

/** Go somewhere else; Back returns. */
export function go(trace, query = {}) {
  location.hash = placeText(trace, query);
}

/** Say in the address what changed here, without a step for Back. */
export function note(trace, query) {
  history.replaceState(null, "", placeText(trace, query));
}

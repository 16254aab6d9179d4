// Where one is, as the address says it: `#/?text=kettle&health=failed`, `#/trace/ID?span=ID&view=c`. It can be sent to others.

export function readPlace() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [page = "", ...ids] = path.split("/").filter(Boolean);
  return { page, ids: ids.filter((id) => /^\w+$/.test(id)), query: new URLSearchParams(query) };
}

/** What of a query is not empty. @param {Query} query */
export function queryText(query) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value || value === 0)).toString();
  return text && `?${text}`;
}

/** @param {Query} query */
export function placeText(path, query = {}) {
  return `#/${path}${queryText(query)}`;
}

/** Go somewhere else; Back returns. @param {Query} query */
export function go(path, query = {}) {
  location.hash = placeText(path, query);
}

/** Say in the address what changed here, without a step for Back. @param {Query} query */
export function note(path, query) {
  history.replaceState(null, "", placeText(path, query));
  if (!path) list = location.hash;
}

let list = "#/";

/** The list as it was left. */
export function toList() {
  location.hash = list;
}

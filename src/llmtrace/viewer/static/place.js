// The address: `#/?text=kettle&health=failed`, `#/trace/ID?span=ID&view=c`.

export function readPlace() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [page = "", ...ids] = path.split("/").filter(Boolean);
  return { page, ids: ids.filter((id) => /^\w+$/.test(id)), query: new URLSearchParams(query) };
}

/** What of a query is not empty. */
export function queryText(query) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value || value === 0)).toString();
  return text && `?${text}`;
}

export const placeText = (path, query = {}) => `#/${path}${queryText(query)}`;

export function go(path, query = {}) {
  location.hash = placeText(path, query);
}

/** Say in the address what changed here, without a step for Back. */
export function note(path, query) {
  history.replaceState(null, "", placeText(path, query));
  if (!path) list = location.hash;
}

let list = "#/";

export function toList() {
  location.hash = list;
}

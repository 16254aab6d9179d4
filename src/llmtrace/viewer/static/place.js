// Where one is, as the address says it: `#/?q=kettle&health=failed`, `#/trace/ID?span=ID&view=c`. It can be sent to others.

/** @returns {{page: string, ids: string[], query: URLSearchParams}} */
export function readPlace() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [page = "", ...ids] = path.split("/").filter(Boolean);
  return { page, ids: ids.filter((id) => /^[0-9a-zA-Z]+$/.test(id)), query: new URLSearchParams(query) };
}

/** @param {string} path @param {{[name: string]: string|null|undefined}} query */
export function placeText(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(/** @type {[string, string][]} */ (given)).toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** Go somewhere else; Back returns. @param {string} path @param {{[name: string]: string|null|undefined}} query */
export function go(path, query = {}) {
  location.hash = placeText(path, query);
}

/** Say in the address what changed here, without a step for Back. @param {string} path @param {{[name: string]: string|null|undefined}} query */
export function note(path, query) {
  history.replaceState(null, "", placeText(path, query));
}

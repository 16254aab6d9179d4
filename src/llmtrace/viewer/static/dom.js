// Elements. Text is only ever set as text: whatever a model wrote cannot become markup here.

/**
 * An element with classes (`el("p.dim")`), attributes (`style` as an object, `onclick` …, `label` for aria-label) and children; null and false
 * are left out, but an ARIA state may be false.
 * @returns {any}
 */
export function el(tag, options = {}, ...children) {
  if (options?.constructor !== Object) return el(tag, {}, options, ...children);
  const [name, ...classes] = tag.split(".");
  const node = /** @type {any} */ (/^(svg|path)$/.test(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name));
  if (classes.length) node.setAttribute("class", classes.join(" "));
  if (name === "button") node.type = "button";
  for (const [key, value] of Object.entries(options)) {
    if (value == null || (value === false && !key.startsWith("aria-"))) continue;
    if (key === "value") node.value = value;
    else if (key === "style") for (const [property, text] of Object.entries(value)) node.style.setProperty(property, text);
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key === "label" ? "aria-label" : key, value === true && !key.startsWith("aria-") ? "" : value);
  }
  fill(node, ...children);
  return node;
}

export const dim = (text) => el("p.dim", text);
export const quiet = (text, cls = "") => el(`p.quiet.${cls}`, text);
export const link = (href, ...children) => el("a", { href }, ...children);
export const chip = (text, onclick, options = {}) => el("button.chip", { onclick, ...options }, text);
export const more = (text, onclick) => el("button.more", { onclick }, text);
export const keysButton = () => chip("?", null, { label: "Keys", "data-key": "?" });

/** The line over a page: the way back to all traces, a title, what is said of it. */
export const pageHead = (title, said, ...more) => [home(), el("div.what", el("h1", { dir: "auto" }, title), el("p.dim", said)), more, keysButton()];

export const home = (live = true) => el("nav", { label: "Traces" }, el(live ? "a.brand" : "span.brand", { href: live && "#/" }, "llmtrace"));

/** How many lines of a list a key moves by. */
export const stepsOf = (key, page) => ({ j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: page, " ": page, PageUp: -page, g: -1e9, G: 1e9, Home: -1e9, End: 1e9 }[key]);

export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child != null && child !== false));
}

/** @returns {any} */
export const byId = (id) => document.getElementById(id);
/** @returns {any} */
export const first = (selector) => document.querySelector(selector);

let sayTimer = 0;

/** One line at the bottom for a moment; screen readers read it. */
export function say(text) {
  const place = byId("said");
  place.textContent = text.length > 180 ? `${text.slice(0, 180)}…` : text;
  place.classList.add("shown");
  clearTimeout(sayTimer);
  sayTimer = setTimeout(hush, 2500);
}

export function hush() {
  byId("said").classList.remove("shown");
}

/** A part that folds, whose content is made when it is first opened. */
export const lazySection = (title, make) => el("details.section", { ontoggle: ({ target }) => { if (target.open && target.childElementCount === 1) fill(target, target.firstChild, make()); } }, el("summary", title));

export const textField = (id, label, value, changed) => field(label, el("input", { id: `text-${id}`, type: "text", autocomplete: "off", value, oninput: ({ target }) => changed(target.value) }));

export const field = (label, node, ...more) => el("div.field", el("label", { for: node.id }, label), node, more);

/** Show a dialog that keeps its keys to itself. */
export function openDialog(cls, label, heading, ...content) {
  const dialog = el("dialog", { class: cls, label, onkeydown: (event) => event.stopPropagation(), onclose: () => { dialog.remove(); first(".rows")?.focus(); } }, el("h2", heading), content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function showTip(at, words) {
  const box = byId("tip");
  fill(box, words);
  box.hidden = false;
  const below = at.bottom + 6 + box.offsetHeight < innerHeight;
  box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - box.offsetHeight - 6)}px`;
}

export function tip(node, make) {
  for (const name of ["pointerenter", "focus"]) node.addEventListener(name, () => showTip(node.getBoundingClientRect(), make()));
  for (const name of ["pointerleave", "blur"]) node.addEventListener(name, hideTip);
}

export function hideTip() {
  byId("tip").hidden = true;
}

export function across(node, event) {
  const box = node.getBoundingClientRect();
  return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
}

export async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea.offscreen", { value: text, "aria-hidden": true });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${what} copied`);
}

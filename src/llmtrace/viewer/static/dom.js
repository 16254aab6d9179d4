// Elements. Text is only ever set as text: whatever a model wrote cannot become markup here.

/**
 * An element with attributes (`class`, `text`, `style` as an object, `onclick` … and any other) and children; null and false are
 * left out.
 * @param {string} tag
 * @param {{[name: string]: any}} options
 * @param {...(Child|Child[])} children
 * @returns {any}
 */
export function el(tag, options = {}, ...children) {
  const node = /** @type {any} */ (document.createElement(tag));
  if (tag === "button") node.type = "button";
  for (const [name, value] of Object.entries(options)) {
    if (value == null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "value") node.value = value;
    else if (name === "style") for (const [property, text] of Object.entries(value)) node.style.setProperty(property, String(text));
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...present(children));
  return node;
}

export const dim = (text) => el("p", { class: "dim", text });
export const quiet = (text, cls = "") => el("p", { class: `quiet ${cls}`, text });

/** The way back to all traces. */
export function home(live = true) {
  return el("nav", { "aria-label": "Traces" }, el(live ? "a" : "span", { class: "brand", href: live && "#/", text: "llmtrace" }));
}

/** How many lines of a list a key moves by. @param {string} key @param {number} page @returns {number|undefined} */
export function stepsOf(key, page) {
  return { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: page, " ": page, PageUp: -page, g: -1e9, G: 1e9, Home: -1e9, End: 1e9 }[key];
}

export function keysButton() {
  return el("button", { class: "chip", text: "?", "aria-label": "Keys", "data-key": "?" });
}

/** @param {Child[]} children */
function present(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false);
}

/** These children and no other. @param {any} node @param {...Child} children */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
}

/** @param {string} tag @param {{[name: string]: any}} options @param {...Node} children @returns {SVGElement} */
export function svg(tag, options = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(options)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

let sayTimer = 0;

/** One line at the bottom for a moment; screen readers read it. @param {string} text */
export function say(text) {
  const place = byId("said");
  place.textContent = text.length > 180 ? `${text.slice(0, 180)}…` : text;
  place.classList.add("shown");
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => place.classList.remove("shown"), 2500);
}

/** What was said is over. */
export function hush() {
  byId("said").classList.remove("shown");
}

/** A part that folds, whose content is made when it is first opened. @param {string} title @param {() => Child|Child[]} make */
export function lazySection(title, make) {
  const node = el("details", { class: "section" }, el("summary", { text: title }));
  node.addEventListener("toggle", () => { if (node.open && node.childElementCount === 1) node.append(...[make()].flat()); });
  return node;
}

/** A labelled line of text. @param {(text: string) => void} changed */
export function textField(id, label, value, changed) {
  const node = el("input", { id: `text-${id}`, type: "text", autocomplete: "off", value, oninput: () => changed(node.value) });
  return el("div", { class: "field" }, el("label", { for: node.id, text: label }), node);
}

/** Show words beside a place on the screen. @param {{left: number, top: number, bottom: number}} at @param {Child[]} words */
export function showTip(at, words) {
  const box = byId("tip");
  fill(box, words);
  box.hidden = false;
  const left = Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 8));
  const below = at.bottom + 6 + box.offsetHeight < innerHeight;
  box.style.left = `${left}px`;
  box.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - box.offsetHeight - 6)}px`;
}

/** The words that follow the pointer or the focus on `node`. @param {HTMLElement} node @param {() => Child[]} make */
export function tip(node, make) {
  const show = () => showTip(node.getBoundingClientRect(), make());
  node.addEventListener("pointerenter", show);
  node.addEventListener("focus", show);
  node.addEventListener("pointerleave", hideTip);
  node.addEventListener("blur", hideTip);
}

export function hideTip() {
  byId("tip").hidden = true;
}

/** How far across an element the pointer is, from 0 to 1. @param {Element} node @param {MouseEvent} event */
export function across(node, event) {
  const box = node.getBoundingClientRect();
  return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
}

export async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { value: text, class: "offscreen", "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${what} copied`);
}

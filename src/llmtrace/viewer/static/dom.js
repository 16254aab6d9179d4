// Elements. Text is only ever set as text: whatever a model wrote cannot become markup here.

/** An element with attributes (`class`, `text`, `onclick` … and any other) and children; null and false are left out. */
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "value") node.value = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

let sayTimer = 0;

/** One line at the bottom for a moment; screen readers read it. */
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => place.classList.remove("shown"), 2500);
}

/** A pane or a button that folds its content away. */
export function section(title, open, ...content) {
  return el("details", { class: "section", open }, el("summary", { text: title }), ...content);
}

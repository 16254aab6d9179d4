// A list of any length with as many nodes as fit on the screen, and pages made of one.

import { el, stepsOf } from "./dom.js";
import { count } from "./format.js";

const MOST_ROWS = 90;
const AROUND = 3;
export const PAGE = 100;

export class VirtualList {
  key; render; estimate; measured;
  heights = new Map();
  count = 0;
  offsets = new Float64Array(1);
  shown = new Map();
  wait = 0;
  onScroll = (first, last) => {};
  wanted = ""; // stays on the screen while heights above it become known, until a person scrolls

  /** `render(at)` gives a row's element, `estimate(at)` its height in px, `key(at)` what tells it apart. */
  constructor(box, options) {
    this.box = box;
    Object.assign(this, options);
    this.space = el("div.space", { role: "presentation" });
    box.replaceChildren(this.space);
    for (const name of ["wheel", "pointerdown", "touchmove"]) box.addEventListener(name, () => { this.wanted = ""; }, { passive: true });
    box.addEventListener("scroll", () => this.soon(), { passive: true });
    this.observer = new ResizeObserver(() => this.soon());
    this.observer.observe(box);
  }

  close() {
    this.observer.disconnect();
  }

  soon() {
    if (!this.wait) this.wait = requestAnimationFrame(() => { this.wait = 0; this.draw(); });
  }

  reset(count) {
    this.count = count;
    for (const key of this.shown.keys()) this.drop(key);
    this.lay();
    this.draw();
  }

  lay() {
    this.offsets = new Float64Array(this.count + 1);
    for (let at = 0; at < this.count; at++) this.offsets[at + 1] = this.offsets[at] + this.height(at);
    this.space.style.height = `${this.offsets[this.count]}px`;
  }

  height(at) {
    return (this.measured && this.heights.get(this.key(at))) || this.estimate(at);
  }

  at(y) {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.offsets[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  draw(all = false) {
    const top = this.box.scrollTop;
    let first = Math.max(0, this.at(top) - AROUND);
    let last = Math.min(this.count, this.at(top + this.box.clientHeight) + 1 + AROUND, first + MOST_ROWS);
    if (all) [first, last] = [0, Math.min(this.count, 1000)];
    const wanted = new Map();
    for (let at = first; at < last; at++) wanted.set(this.key(at), at);
    for (const key of this.shown.keys()) if (!wanted.has(key)) this.drop(key);
    let next = this.space.firstChild; // in the page as on the screen
    for (const [key, at] of wanted) {
      const node = this.shown.get(key) ?? this.render(at);
      this.shown.set(key, node);
      if (node === next) next = node.nextSibling;
      else this.space.insertBefore(node, next);
      this.place(key, at);
    }
    if (this.measured) this.measure(wanted);
    this.onScroll(first, last);
  }

  /** Where a height differs, all below moves, and what is looked at stays. */
  measure(wanted) {
    const top = this.box.scrollTop;
    let moved = 0;
    let changed = false;
    for (const [key, at] of wanted) {
      const height = this.shown.get(key).offsetHeight;
      if (!height || Math.abs(height - this.height(at)) < 1) continue;
      if (this.offsets[at + 1] <= top) moved += height - this.height(at);
      this.heights.set(key, height);
      changed = true;
    }
    if (!changed) return;
    this.lay();
    if (moved) this.box.scrollTop = top + moved;
    if (this.wanted) this.bring();
    for (const [key, at] of wanted) this.place(key, at);
    this.soon();
  }

  place(key, at) {
    this.shown.get(key).style.transform = `translateY(${this.offsets[at]}px)`;
  }

  drop(key) {
    this.shown.get(key)?.remove();
    this.shown.delete(key);
  }

  redraw(...keys) {
    for (const key of keys) this.drop(key);
    this.soon();
  }

  move(before, at) {
    const key = at >= 0 && at < this.count ? this.key(at) : before;
    this.redraw(before, key);
    this.show(at);
    this.box.setAttribute("aria-activedescendant", this.shown.get(key)?.id ?? "");
  }

  show(at) {
    if (at < 0 || at >= this.count) return;
    if (this.measured) this.wanted = this.key(at);
    this.reach(at);
    this.draw();
  }

  bring() {
    for (let at = 0; at < this.count; at++) if (this.key(at) === this.wanted) return this.reach(at);
  }

  reach(at) {
    const top = this.offsets[at];
    const bottom = Math.min(this.offsets[at + 1], top + this.box.clientHeight);
    if (top < this.box.scrollTop) this.box.scrollTop = Math.max(0, top - 40);
    else if (bottom > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = bottom - this.box.clientHeight + 40;
  }
}

export class Page {
  page = /** @type {any} */ (this); // with what a subclass adds
  list;
  cursor = /** @type {any} */ (0);

  constructor(app, data) {
    this.app = app;
    this.data = data;
  }

  /** The page is empty but for what is going on. */
  wait(cls, text) {
    this.app.className = cls;
    this.app.replaceChildren(el("p.quiet.loading", { role: "status" }, text));
  }

  close() {
    this.list?.close();
  }
}

export const cell = (cls, ...inside) => el("span", { class: cls, role: "gridcell" }, inside);

/** A page with a table of `rows`, each with a `key`, and a cursor. */
export class TablePage extends Page {
  rows = [];
  more = false;
  asked = 0;

  makeTable(label, height, narrow) {
    this.count = el("span.dim", { role: "status" });
    this.box = el("div.rows", { role: "grid", tabindex: 0, label });
    this.list = new VirtualList(this.box, {
      render: (at) => this.page.row(at), estimate: () => (innerWidth < 700 ? narrow : height), key: (at) => this.rows[at].key,
      onScroll: (first, last) => { if (last > this.rows.length - 20 && this.more) this.loadMore(); this.page.glance?.(first, last); },
    });
  }

  async loadMore() {
    if (this.loading) return;
    this.loading = true;
    const asked = this.asked;
    const found = await this.page.fetch(PAGE, this.rows.length).finally(() => { this.loading = false; });
    if (asked !== this.asked) return;
    const known = new Set(this.rows.map((row) => row.key));
    const fresh = found.rows.filter((row) => !known.has(row.key));
    this.rows.push(...fresh);
    this.more = found.more && fresh.length > 0;
    this.drawRows();
  }

  /** Show these rows, with the cursor on an id. */
  put(rows, id) {
    this.rows = rows;
    this.cursor = Math.max(0, rows.findIndex((row) => row.id && row.id === id));
    this.drawRows();
  }

  drawRows() {
    const number = this.rows.filter((row) => !row.session).length;
    this.count.textContent = `${count(number)}${this.more ? "+" : ""} ${this.page.countWords(number)}`;
    this.box.querySelector(".empty")?.remove();
    this.list.reset(this.rows.length);
    if (!this.rows.length) this.box.append(el("div.empty", { role: "row" }, el("div", { role: "gridcell" }, this.page.emptyWords())));
  }

  common(at, cls, id) {
    return { class: cls, role: "row", id, "aria-selected": at === this.cursor, onclick: (event) => {
      if (event.ctrlKey || event.metaKey) return; // a tab of its own
      event.preventDefault();
      if (event.shiftKey && this.page.pick) this.page.pick(at);
      else this.page.enter(at);
    } };
  }

  key(event) {
    const steps = stepsOf(event.key, Math.max(1, Math.floor(this.box.clientHeight / 46) - 1));
    if (steps) {
      const before = this.rows[this.cursor]?.key;
      this.cursor = Math.max(0, Math.min(this.rows.length - 1, this.cursor + steps));
      this.list.move(before, this.cursor);
    } else if (["Enter", "l", "ArrowRight"].includes(event.key)) this.page.enter(this.cursor);
    else return false;
    return true;
  }
}

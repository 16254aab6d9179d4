// A list of any length with as many nodes as fit on the screen. Heights may differ; they are measured once seen.

import { el } from "./dom.js";

const MOST_ROWS = 90;
const AROUND = 3;

export class VirtualList {
  heights = new Map();
  count = 0;
  offsets = new Float64Array(1);
  shown = new Map();
  wait = 0;
  wanted = ""; // stays on the screen while heights above it become known, until a person scrolls

  /**
   * `render(index)` gives a row's element, `estimate(index)` its height in px, `key(index)` what tells it apart.
   * @param {HTMLElement} box
   * @param {{render: (at: number) => HTMLElement, estimate: (at: number) => number, key: (at: number) => string,
   *   measured?: boolean, onScroll?: (first: number, last: number) => void}} options
   */
  constructor(box, { render, estimate, key, measured = false, onScroll = () => {} }) {
    this.box = box;
    this.render = render;
    this.estimate = estimate;
    this.key = key;
    this.measured = measured;
    this.onScroll = onScroll;
    this.space = el("div", { class: "space", role: "presentation" });
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

  /** The rows changed. */
  reset(count) {
    this.count = count;
    for (const node of this.shown.values()) node.remove();
    this.shown.clear();
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
    let low = 0;
    let high = this.count;
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
    let last = Math.min(this.count, this.at(top + this.box.clientHeight) + 1 + AROUND);
    last = Math.min(last, first + MOST_ROWS);
    if (all) [first, last] = [0, Math.min(this.count, 1000)];
    const wanted = new Map();
    for (let at = first; at < last; at++) wanted.set(this.key(at), at);
    for (const [key, node] of this.shown) {
      if (!wanted.has(key)) { node.remove(); this.shown.delete(key); }
    }
    let next = this.space.firstChild; // in the page as on the screen
    for (const [key, at] of wanted) {
      let node = this.shown.get(key);
      if (!node) {
        node = this.render(at);
        this.shown.set(key, node);
      }
      if (node === next) next = node.nextSibling;
      else this.space.insertBefore(node, next);
      node.style.transform = `translateY(${this.offsets[at]}px)`;
    }
    if (this.measured) this.measure(wanted);
    this.onScroll(first, last);
  }

  /** Heights of what is shown; where one differs, all below moves, and what is looked at stays. */
  measure(wanted) {
    const top = this.box.scrollTop;
    let moved = 0;
    let changed = false;
    for (const [key, at] of wanted) {
      const node = this.shown.get(key);
      const height = node ? node.offsetHeight : 0;
      if (!height || Math.abs(height - this.height(at)) < 1) continue;
      if (this.offsets[at + 1] <= top) moved += height - this.height(at);
      this.heights.set(key, height);
      changed = true;
    }
    if (!changed) return;
    this.lay();
    if (moved) this.box.scrollTop = top + moved;
    if (this.wanted) this.bring();
    for (const [key, at] of wanted) {
      const node = this.shown.get(key);
      if (node) node.style.transform = `translateY(${this.offsets[at]}px)`;
    }
    this.soon();
  }

  /** Draw one row anew. */
  redraw(key) {
    const node = this.shown.get(key);
    if (node) { node.remove(); this.shown.delete(key); }
    this.soon();
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

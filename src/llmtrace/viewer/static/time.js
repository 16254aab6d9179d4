// Quality, speed and cost over time. Every point leads to the traces that it is made of.

import { across, el, fill, home, keysButton, svg, tip } from "./dom.js";
import { UNKNOWN, clock, cost, count, duration, minute, plural } from "./format.js";
import { go, note, toList } from "./place.js";

const DAY = 86400e3;
const WINDOWS = { "24 h": [DAY, DAY / 24], "7 d": [7 * DAY, DAY], "30 d": [30 * DAY, DAY], "a year": [365 * DAY, 7 * DAY] };
const BYS = ["model", "prompt", "agent"];
const WIDE = 600;
const HIGH = 120;

const percent = (share) => (share === null ? UNKNOWN : `${(share * 100).toFixed(share && share < 0.1 ? 1 : 0)} %`);
const tokens = (number) => (number === null ? UNKNOWN : `${count(Math.round(number))} tokens`);

/** Title, what is plotted of a group's figures, how it is worded. @type {[string, (figures: any) => (number|null)[], (value: number|null) => string, string[]][]} */
const CHARTS = [
  ["Answer length", (one) => one.length, tokens, ["p50", "p95"]],
  ["Time per output token", (one) => one.token, duration, ["p50", "p95", "p99"]],
  ["Time at the most common length", (one) => [one.given?.[1] ?? null], duration, ["p50"]],
  ["Time to the first token", (one) => one.first, duration, ["p50", "p95"]],
  ["Malformed answers", (one) => [one.malformed], percent, [""]],
  ["Invalid tool calls", (one) => [one.invalid], percent, [""]],
  ["With a failing evaluation", (one) => [one.flawed], percent, [""]],
  ["Failed calls", (one) => [one.errors], percent, [""]],
  ["Cost", (one) => [one.cost], cost, [""]],
  ["Calls", (one) => [one.calls], count, [""]],
];

export class TimeView {
  /** @param {HTMLElement} app @param {URLSearchParams} query */
  constructor(app, data, query) {
    this.app = app;
    this.data = data;
    this.window = query.get("window") ?? "7 d";
    if (!(this.window in WINDOWS)) this.window = "7 d";
    this.by = BYS.includes(query.get("by") ?? "") ? /** @type {string} */ (query.get("by")) : "model";
    document.title = "over time · llmtrace";
  }

  async open() {
    const choice = (names, chosen, label, take) =>
      el("div", { class: "filters", role: "group", "aria-label": label }, names.map((name) => el("button", { class: "chip", "aria-pressed": String(name === chosen), text: name, onclick: () => take(name) })));
    const again = () => { note("time", { window: this.window, by: this.by }); this.open(); };
    this.app.className = "over-time";
    this.box = el("main", { class: "charts", tabindex: "0", "aria-label": "Quality and cost over time" }, el("p", { class: "quiet", role: "status", text: "counting …" }));
    this.app.replaceChildren(el("header", { class: "top" }, home(), el("div", { class: "what" }, el("h1", { text: "Quality and cost over time" }), this.words = el("p", { class: "dim" })),
      choice(Object.keys(WINDOWS), this.window, "Time", (name) => { this.window = name; again(); }), choice(BYS, this.by, "By", (name) => { this.by = name; again(); }), keysButton()), this.box);
    const [length, size] = WINDOWS[this.window];
    const asked = `${this.window} ${this.by}`;
    const trends = await this.data.time({ since: BigInt(Math.round(Date.now() - length)) * 1000000n, by: this.by, size: size * 1e6, offset: -new Date().getTimezoneOffset() * 60e9 });
    if (asked !== `${this.window} ${this.by}`) return;
    this.draw(trends);
  }

  draw(trends) {
    this.words.textContent = `${plural(trends.traces, "trace")}${trends.traces >= trends.limit ? ` (the newest ${count(trends.limit)}; older ones are not counted)` : ""}, by ${trends.by}${trends.left_out ? `; ${trends.left_out} with fewer calls not drawn` : ""}`;
    if (!trends.buckets.length) {
      this.box.replaceChildren(el("div", { class: "empty" }, el("p", { text: "No traces in this time." })));
      return;
    }
    fill(this.box,
      el("ul", { class: "legend" }, trends.groups.map((name, at) => el("li", { class: `s${at}`, text: name }))),
      CHARTS.map((chart) => this.chart(trends, chart)), this.table(trends));
  }

  /** @param {any} trends @param {typeof CHARTS[number]} chart @returns {HTMLElement|null} */
  chart(trends, [title, figures, words, parts]) {
    const values = trends.buckets.map((bucket) => trends.groups.map((name) => (bucket.groups[name] ? figures(bucket.groups[name]) : parts.map(() => null))));
    const most = Math.max(...values.flat(2).filter((value) => value !== null));
    if (!Number.isFinite(most)) return null;
    const since = trends.buckets.map((bucket) => Number(bucket.since));
    const [first, last] = [since[0], since[since.length - 1]];
    const x = (at) => (first === last ? WIDE / 2 : 8 + ((since[at] - first) / (last - first)) * (WIDE - 16));
    const y = (value) => HIGH - 4 - (value / (most || 1)) * (HIGH - 10);
    const paths = trends.groups.flatMap((_, group) => parts.map((__, part) => {
      let path = "";
      let pen = "M";
      values.forEach((of, at) => {
        const value = of[group][part];
        if (value === null) { pen = "M"; return; }
        path += `${pen}${(x(at) - 4).toFixed(1)} ${y(value).toFixed(1)}h8`;
        pen = "L";
      });
      return svg("path", { d: path, class: `s${group} part${part}` });
    }));
    const cursor = svg("line", { y1: 0, y2: HIGH, x1: -9, x2: -9, class: "cursor" });
    const plot = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: at most ${words(most)}` }, ...paths, cursor);
    let near = trends.buckets.length - 1;
    const box = el("figure", { class: "chart" }, el("figcaption", {}, el("b", { text: title }), el("span", { class: "dim", text: `${parts.filter(Boolean).join(" ")} ≤ ${words(most)}` })), el("div", { class: "plot-box" }, plot),
      el("p", { class: "dim ends" }, [...new Set([first, last])].map((ns) => el("span", { text: clock(ns / 1e6).slice(...(this.window === "24 h" ? [5, 16] : [0, 10])) }))));
    const area = box.children[1];
    area.addEventListener("pointermove", (event) => {
      const here = across(area, event) * WIDE;
      near = since.reduce((best, _, at) => (Math.abs(x(at) - here) < Math.abs(x(best) - here) ? at : best), 0);
      for (const name of ["x1", "x2"]) cursor.setAttribute(name, String(x(near)));
    });
    area.addEventListener("click", () => this.enter(trends.buckets[near]));
    tip(area, () => [el("b", { text: minute(trends.buckets[near].since) }),
      ...trends.groups.map((name, group) => (trends.buckets[near].groups[name] ? el("div", { text: `${name}: ${parts.map((part, at) => `${part} ${words(values[near][group][at])}`.trim()).join(" · ")} (${plural(trends.buckets[near].groups[name].calls, "call")})` }) : null)),
      el("div", { class: "dim", text: "click: its traces" })]);
    area.addEventListener("pointermove", () => area.dispatchEvent(new PointerEvent("pointerenter")));
    return box;
  }

  /** The same as a table: for the keyboard and for screen readers. */
  table(trends) {
    return el("table", { class: "figures" }, el("caption", { class: "dim", text: "All calls together; each time leads to its traces" }),
      el("thead", {}, el("tr", {}, ["began", "traces", "calls", "tokens p50", "per token p50", "malformed", "failing", "cost"].map((head) => el("th", { scope: "col", text: head })))),
      el("tbody", {}, trends.buckets.slice(-20).reverse().map((bucket) => el("tr", {},
        el("th", { scope: "row" }, el("a", { href: `#/?since=${bucket.since}&until=${bucket.until}`, text: minute(bucket.since) })),
        [count(bucket.traces), count(bucket.all.calls), tokens(bucket.all.length[0]), duration(bucket.all.token[0]), percent(bucket.all.malformed), percent(bucket.all.flawed), cost(bucket.all.cost)].map((text) => el("td", { text }))))));
  }

  enter(bucket) {
    go("", { since: bucket.since, until: bucket.until });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key !== "u" && event.key !== "Escape") return false;
    toList();
    return true;
  }

  close() {}
}

// Quality, speed and cost over time. Every point leads to the traces that it is made of.

import { el, fill, hideTip, home, keysButton, quiet } from "./dom.js";
import { UNKNOWN, cost, count, cut, duration, minute, plural } from "./format.js";
import { go, note, placeText, toList } from "./place.js";
import { loadPlots, plotFigure } from "./plot.js";

const MINUTE = 60e3;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WINDOWS = { "1 h": HOUR, "24 h": DAY, "7 d": 7 * DAY, "30 d": 30 * DAY, "a year": 365 * DAY };
const SIZES = [2 * MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY];
const MOST_POINTS = 60;
const BYS = ["model", "prompt", "agent", "user"];
const PERCENTILES = ["p50", "p95", "p99"];
const KINDS = { model: "model", prompt: "system prompt", tools: "tools", code: "code version" };

const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const percent = (share) => (share === null ? UNKNOWN : `${(share * 100).toFixed(share && share < 0.1 ? 1 : 0)} %`);
const whole = (number) => (number === null ? UNKNOWN : count(Math.round(number)));
const dollars = (usd) => `$${Number(usd.toPrecision(3))}`;
const ns = (ms) => String(BigInt(Math.round(ms)) * 1000000n);
const ms = (text) => Number(BigInt(text) / 1000000n);

/** Title, the numbers of a group's figures, how they are worded, how those of the axis are, names of the lines.
 * @type {[string, (figures: any) => (number|null)[], (value: number|null) => string, (value: number) => string, string[]][]} */
const CHARTS = [
  ["Cost", (one) => [one.cost], cost, dollars, [""]],
  ["Tokens, in and out", (one) => [one.tokens[0] === null && one.tokens[1] === null ? null : one.tokens[0] + one.tokens[1]], whole, (value) => short.format(value), [""]],
  ["Duration", (one) => one.duration, duration, duration, PERCENTILES],
  ["Time to the first token", (one) => one.first, duration, duration, PERCENTILES],
  ["Time per output token", (one) => one.token, duration, duration, PERCENTILES],
  ["Duration at the most common length", (one) => one.given, duration, duration, PERCENTILES],
  ["Answer length in tokens", (one) => one.length, whole, (value) => short.format(value), PERCENTILES],
  ["Failed calls", (one) => [one.errors], percent, percent, [""]],
  ["Malformed answers", (one) => [one.malformed], percent, percent, [""]],
  ["Invalid tool calls", (one) => [one.invalid], percent, percent, [""]],
  ["Steps with a failing evaluation", (one) => [one.flawed], percent, percent, [""]],
  ["Calls", (one) => [one.calls], count, (value) => short.format(value), [""]],
];

export class TimeView {
  plots = /** @type {any[]} */ ([]);
  hidden = /** @type {Set<string>} */ (new Set());
  marks = /** @type {any[]} */ ([]);
  starts = /** @type {number[]} */ ([]); // of each point, in seconds
  buckets = /** @type {Map<number, any>} */ (new Map()); // by the point's place in `starts`
  trends = /** @type {any} */ (null);
  never = /** @type {string[]} */ ([]); // titles of the shares that are 0 all the time
  size = DAY; // of a point, in milliseconds
  asked = 0;

  /** @param {HTMLElement} app @param {URLSearchParams} query */
  constructor(app, data, query) {
    this.app = app;
    this.data = data;
    this.since = query.get("since") ?? "";
    this.until = query.get("until") ?? "";
    this.window = query.get("window") ?? "";
    if (!(this.window in WINDOWS)) this.window = "";
    this.by = BYS.includes(query.get("by") ?? "") ? /** @type {string} */ (query.get("by")) : "model";
    document.title = "over time · llmtrace";
    this.themes = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
  }

  async open() {
    this.app.className = "over-time";
    this.box = el("main", { class: "charts", tabindex: "0", "aria-label": "Quality and cost over time" });
    this.app.replaceChildren(el("header", { class: "top" }, home(), el("div", { class: "what" }, el("h1", { text: "Quality and cost over time" }), this.words = el("p", { class: "dim", role: "status" })),
      this.windows = el("div", { class: "filters", role: "group", "aria-label": "Time" }), this.bys = el("div", { class: "filters", role: "group", "aria-label": "By" }), keysButton()), this.box);
    this.themes.addEventListener("change", this.redraw);
    this.sizes = new ResizeObserver(() => { for (const plot of this.plots) plot.setSize({ width: plot.root.parentElement.clientWidth, height: plot.height }); });
    this.sizes.observe(this.box);
    this.library = await loadPlots();
    if (this.window || this.since) await this.load();
    else await this.findWindow();
  }

  /** The shortest time that shows all of the last week; else of the last year. */
  async findWindow() {
    for (const name of ["7 d", "a year"]) {
      this.window = name;
      await this.load();
      if (this.trends?.buckets.length) break;
    }
    const oldest = this.trends?.buckets[0];
    const age = oldest ? Date.now() - ms(oldest.since) : Infinity;
    if (this.window === "7 d" && age < DAY + this.size) {
      this.window = "24 h";
      await this.load();
      if (Date.now() - ms(this.trends.buckets[0]?.since ?? "0") < 1.5 * HOUR) {
        this.window = "1 h";
        await this.load();
      }
    }
  }

  show(changed) {
    Object.assign(this, changed);
    this.load();
  }

  /** Ask for the figures until all traces are counted, and draw them each time; then for what the monitors found. */
  async load() {
    const asked = ++this.asked;
    note("time", { window: this.since ? "" : this.window, since: this.since, until: this.until, by: this.by });
    this.drawChoices();
    const to = this.until ? ms(this.until) : Date.now();
    const from = this.since ? ms(this.since) : to - WINDOWS[this.window];
    const size = SIZES.find((one) => (to - from) / one <= MOST_POINTS) ?? SIZES[SIZES.length - 1];
    this.size = size;
    this.marks = [];
    for (let seconds = 2, complete = false; !complete; seconds *= 2) {
      const query = { since: ns(from), until: ns(to), by: this.by, size: size * 1e6, offset: -new Date().getTimezoneOffset() * MINUTE * 1e6, seconds };
      if (!this.trends) this.words.textContent = "counting …";
      const trends = await this.data.time(query);
      if (asked !== this.asked) return;
      this.trends = trends;
      this.found = trends.changes.map((one) => ({ ...one, drift: false, text: `${one.agent ? `${one.agent}: ` : ""}first run with ${KINDS[one.kind]} ${one.now}` }));
      this.draw();
      complete = trends.complete;
    }
    const drift = this.trends.buckets.length ? await this.data.drift({ since: ns(from), until: ns(to) }) : [];
    if (asked !== this.asked || !drift.length) return;
    this.found.push(...drift.map((one) => ({ ...one, drift: true, text: `${one.agent ? `${one.agent}: ` : ""}${one.what}` })));
    this.draw();
  }

  drawChoices() {
    const chips = (names, chosen, take) => names.map((name) => el("button", { class: "chip", "aria-pressed": String(name === chosen), text: name, onclick: () => take(name) }));
    fill(this.windows, chips(Object.keys(WINDOWS), this.since ? "" : this.window, (name) => this.show({ window: name, since: "", until: "" })),
      this.since ? el("button", { class: "chip on", text: `${minute(this.since)} – ${minute(this.until)} ×`, "aria-label": "Zoom out", onclick: () => this.zoomOut() }) : null);
    fill(this.bys, chips(BYS, this.by, (name) => this.show({ by: name })));
  }

  draw() {
    const trends = this.trends;
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
    const counted = trends.complete ? "" : ", still counting …";
    this.words.textContent = `${plural(trends.traces, "trace")}${trends.limit && trends.traces >= trends.limit ? ` (the newest ${count(trends.limit)}; older ones are not counted)` : ""}, by ${trends.by}${trends.left_out ? `; ${trends.left_out} with fewer calls not drawn` : ""}${counted}`;
    if (!trends.buckets.length) {
      fill(this.box, el("div", { class: "empty" }, el("p", { text: trends.complete ? "No traces in this time." : "Counting …" })));
      return;
    }
    this.marks = this.found.sort((a, b) => Number(BigInt(a.time) - BigInt(b.time))).map((one, at) => ({ ...one, number: at + 1 }));
    const step = this.size / 1000;
    const start = ms(trends.since) / 1000;
    const end = this.until ? ms(this.until) : Date.now();
    this.starts = Array.from({ length: Math.max(1, Math.ceil((end / 1000 - start) / step)) }, (_, at) => start + at * step);
    this.buckets = new Map(trends.buckets.map((bucket) => [Math.round((ms(bucket.since) / 1000 - start) / step), bucket]));
    const legend = el("ul", { class: "legend", "aria-label": "Lines" }, trends.groups.map((name, at) =>
      el("li", { class: `s${at}` }, el("button", { "aria-pressed": String(!this.hidden.has(name)), text: name, onclick: () => this.toggle(name) }))));
    this.never = [];
    const charts = CHARTS.map((chart) => this.chart(chart)).filter((one) => one !== null);
    const focusable = () => [...this.box.querySelectorAll(".plot-box, .legend button")];
    const focused = focusable().indexOf(/** @type {Element} */ (document.activeElement));
    const scrolled = this.box.scrollTop;
    fill(this.box, legend, ...this.hints(), this.changes(), charts.map(({ figure }) => figure), this.totals(), this.table());
    const colours = [...legend.children].map((item) => getComputedStyle(item).getPropertyValue("--series").trim());
    this.plots = charts.map(({ draw }) => draw(this.library, colours));
    focusable()[focused]?.focus();
    this.box.scrollTop = scrolled;
  }

  toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    this.draw();
  }

  /** @param {typeof CHARTS[number]} chart */
  chart([title, figures, words, axis, parts]) {
    const groups = this.trends.groups.filter((name) => !this.hidden.has(name));
    const valueOf = (bucket, name, part) => (bucket?.groups[name] ? figures(bucket.groups[name])[part] : null);
    const lines = groups.flatMap((name) => parts.map((_, part) => ({ name, part, values: this.starts.map((__, at) => valueOf(this.buckets.get(at), name, part)) })));
    const known = lines.flatMap((one) => one.values).filter((value) => value !== null);
    if (!known.length) return null;
    const most = Math.max(...known);
    if (!most && words === percent) {
      this.never.push(title.toLowerCase());
      return null;
    }
    const tip = (at) => {
      const bucket = this.buckets.get(at);
      return [el("b", { text: this.spanText(at) }), ...bucket ? groups.filter((name) => bucket.groups[name]).map((name) => el("div", {}, el("span", { class: `dot s${this.trends.groups.indexOf(name)}` }),
        `${name}: ${parts.map((part, index) => `${part} ${words(valueOf(bucket, name, index))}`.trim()).join(" · ")} (${plural(bucket.groups[name].calls, "call")}${parts.length > 1 ? fewWords(bucket.groups[name].calls) : ""})`)) : [el("div", { text: "no traces" })],
        ...this.marks.filter((mark) => this.indexOf(mark) === at).map((mark) => el("div", { class: mark.drift ? "drift" : "dim", text: `${mark.number} ${cut(mark.text, 160)}` })),
        bucket ? el("div", { class: "dim", text: "click: its traces · drag: zoom" }) : null];
    };
    const { figure, draw } = plotFigure({
      title, tip, axis, note: `${parts.length > 1 ? "p50, p95, p99 " : ""}at most ${words(most)}`, percentiles: parts.length > 1,
      times: this.starts.map((start) => start + this.size / 2000),
      series: lines.map(({ name, part, values }) => ({ part, values, group: this.trends.groups.indexOf(name) })),
      marks: this.marks.map(({ time, number, drift }) => ({ number, drift, time: ms(time) / 1000 })),
      enter: (at) => this.enter(at), zoom: (from, to) => this.zoom(from, to), out: () => this.zoomOut(),
    });
    return { figure, draw };
  }

  indexOf(mark) {
    return Math.floor((ms(mark.time) / 1000 - this.starts[0]) / (this.size / 1000));
  }

  spanText(at) {
    const start = this.starts[at] * 1000;
    return `${minute(ns(start))} – ${minute(ns(start + this.size)).slice(this.size < DAY ? 11 : 0)}`;
  }

  /** What a reader should know of few calls. */
  hints() {
    const calls = this.trends.buckets.map((bucket) => bucket.all.calls).sort((a, b) => a - b);
    return [calls[calls.length >> 1] < 20 ? quiet("Few calls in most points: a p95 of fewer than 20 calls, or a p99 of fewer than 100, is the slowest call.") : null,
      this.never.length ? quiet(`Never in this time: ${this.never.join(", ")}.`) : null];
  }

  /** The marks in words. */
  changes() {
    if (!this.marks.length) return null;
    return el("details", { class: "changes", open: this.marks.length <= 6 }, el("summary", { text: `${plural(this.marks.length, "change")}, as marked in the plots` }),
      el("ol", {}, this.marks.map((mark) => el("li", { class: mark.drift ? "drift" : "" }, el("b", { text: String(mark.number) }), el("span", { class: "dim", text: minute(mark.time) }),
        mark.drift ? el("a", { href: placeText(`trace/${mark.trace}`), text: `drift: ${mark.text}` }) : el("a", { href: this.listOf(this.indexOf(mark)), text: mark.text })))));
  }

  /** All of the time in one line for each group. */
  totals() {
    const heads = [this.trends.by, "calls", "input tokens", "output tokens", "cost", "p50", "p95", "failed"];
    const row = (name, one, link) => el("tr", {}, el("th", { scope: "row" }, link ? el("a", { href: link, text: name }) : name),
      [count(one.calls), whole(one.tokens[0]), whole(one.tokens[1]), cost(one.cost) + (one.cost !== null && one.unpriced ? ` + ${plural(one.unpriced, "call")} of unknown price` : ""), duration(one.duration[0]), duration(one.duration[1]), percent(one.errors)].map((text) => el("td", { text })));
    const range = { since: this.trends.since, until: this.until || ns(Date.now()) };
    return el("div", { class: "figures", tabindex: "0", role: "region", "aria-label": "Totals" }, el("table", {}, el("caption", { text: `Cost and tokens by ${this.trends.by}` }), tableHead(heads),
      el("tbody", {}, this.trends.totals.map((one) => row(one.name, one, this.trends.by !== "prompt" && one.name !== "unknown" ? placeText("", { ...range, [this.trends.by]: one.name }) : "")), row("all model calls", this.trends.total, ""))));
  }

  /** The same as the plots: for screen readers, and for whoever wants numbers. */
  table() {
    const heads = ["began", "traces", "calls", "cost", "input tokens", "output tokens", "p50", "p95", "p99", "first token p50", "per token p50", "malformed", "failing"];
    return el("details", { class: "figures" }, el("summary", { text: `All model calls over time as a table (${plural(this.trends.buckets.length, "line")})` }),
      el("table", {}, tableHead(heads), el("tbody", {}, [...this.trends.buckets].reverse().map((bucket) => el("tr", {},
        el("th", { scope: "row" }, el("a", { href: placeText("", { since: bucket.since, until: bucket.until }), text: minute(bucket.since) })),
        [count(bucket.traces), count(bucket.all.calls), cost(bucket.all.cost), ...bucket.all.tokens.map(whole), ...bucket.all.duration.map(duration), duration(bucket.all.first[0]), duration(bucket.all.token[0]), percent(bucket.all.malformed), percent(bucket.all.flawed)].map((text) => el("td", { text })))))));
  }

  listOf(at) {
    const start = this.starts[at] * 1000;
    return placeText("", { since: ns(start), until: ns(start + this.size) });
  }

  enter(at) {
    const bucket = this.buckets.get(at);
    if (bucket) go("", { since: bucket.since, until: bucket.until });
  }

  /** Show the buckets between two times in seconds. */
  zoom(from, to) {
    const step = this.size / 1000;
    const [first, last] = [from, to].map((time) => Math.max(0, Math.min(this.starts.length - 1, Math.floor((time - this.starts[0]) / step))));
    if (this.size === SIZES[0] && last - first < 2) return;
    hideTip();
    this.show({ since: ns(this.starts[first] * 1000), until: ns(this.starts[last] * 1000 + this.size) });
  }

  zoomOut() {
    if (this.since) this.show({ since: "", until: "", window: this.window || "7 d" });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape" && this.since) this.zoomOut();
    else if (event.key === "u" || event.key === "Escape") toList();
    else return false;
    return true;
  }

  close() {
    this.asked++;
    this.themes.removeEventListener("change", this.redraw);
    this.sizes?.disconnect();
    for (const plot of this.plots) plot.destroy();
    hideTip();
  }
}

const tableHead = (heads) => el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col", text: head }))));

function fewWords(calls) {
  return calls < 20 ? ", too few for p95 and p99" : calls < 100 ? ", too few for p99" : "";
}

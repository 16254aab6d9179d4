// Quality, speed and cost over time. Every point leads to its traces.

import { el, fill, hideTip, link, pageHead, quiet } from "./dom.js";
import { UNKNOWN, cost, count, cut, duration, minute, plural, sum } from "./format.js";
import { note, placeText, toList } from "./place.js";
import { loadPlots, plotFigure } from "./plot.js";
import { Page } from "./virtual.js";

const MINUTE = 60e3;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WINDOWS = { "1 h": HOUR, "24 h": DAY, "7 d": 7 * DAY, "30 d": 30 * DAY, "a year": 365 * DAY };
const SIZES = [2 * MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY];
const MOST_POINTS = 60;
const BYS = ["model", "prompt", "agent", "user"];
const PERCENTILES = ["p50", "p95", "p99"];

const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format;
const percent = (share) => (share === null ? UNKNOWN : `${(share * 100).toFixed(share && share < 0.1 ? 1 : 0)} %`);
const whole = (number) => (number === null ? UNKNOWN : count(Math.round(number)));
const dollars = (usd) => `$${Number(usd.toPrecision(3))}`;
const ns = (ms) => String(BigInt(Math.round(ms)) * 1000000n);
const ms = (text) => Number(BigInt(text) / 1000000n);

const TIMES = [duration, duration, PERCENTILES];

/** Title, figures of a group, how they are worded, how those of the axis are, names of lines. @type {any[]} */
const CHARTS = [
  ["Cost", "cost", cost, dollars],
  ["Tokens, in and out", "tokens", whole, short],
  ["Duration", "duration", ...TIMES],
  ["Time to the first token", "first", ...TIMES],
  ["Time per output token", "token", ...TIMES],
  ["Duration at the most common length", "given", ...TIMES],
  ["Answer length in tokens", "length", whole, short, PERCENTILES],
  ["Failed calls", "errors", percent, percent],
  ["Malformed answers", "malformed", percent, percent],
  ["Invalid tool calls", "invalid", percent, percent],
  ["Steps with a failing evaluation", "flawed", percent, percent],
  ["Calls", "calls", count, short],
];

export class TimeView extends Page {
  plots = [];
  hidden = new Set();
  marks = [];
  starts = []; // of each point, in seconds
  buckets = new Map(); // by the point's place in `starts`
  trends;
  never = []; // titles of the shares that are 0 all the time
  size = DAY; // of a point, in milliseconds
  asked = 0;

  constructor(app, data, query) {
    super(app, data);
    this.since = query.get("since") ?? "";
    this.until = query.get("until") ?? "";
    this.window = query.get("window") in WINDOWS ? query.get("window") : "";
    this.by = BYS.includes(query.get("by")) ? query.get("by") : "model";
    document.title = "over time · llmtrace";
    this.themes = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
  }

  async open() {
    this.app.className = "over-time";
    this.box = el("main.charts", { tabindex: 0, label: "Quality and cost over time" });
    this.words = el("span", { role: "status" });
    const chips = (label) => el("div.filters", { role: "group", label });
    this.app.replaceChildren(el("header.top", pageHead("Quality and cost over time", this.words, this.windows = chips("Time"), this.bys = chips("By"))), this.box);
    this.themes.addEventListener("change", this.redraw);
    this.sizes = new ResizeObserver(() => { for (const plot of this.plots) plot.setSize({ width: plot.root.parentElement.clientWidth, height: plot.height }); });
    this.sizes.observe(this.box);
    this.library = await loadPlots();
    if (this.window || this.since) await this.load();
    else await this.findWindow();
  }

  /** The shortest time that shows all of the last week; else of the last year. */
  async findWindow() {
    const age = async (name) => {
      this.window = name;
      await this.load();
      const oldest = this.trends?.buckets[0];
      return oldest ? Date.now() - ms(oldest.since) : Infinity;
    };
    const week = await age("7 d");
    if (week === Infinity) await age("a year");
    else if (week < DAY + this.size && (await age("24 h")) < 1.5 * HOUR) await age("1 h");
  }

  show(changed) {
    Object.assign(this, changed);
    this.load();
  }

  /** Ask for the figures until all traces are counted; then for what the monitors found. */
  async load() {
    const asked = ++this.asked;
    note("time", { window: this.since ? "" : this.window, since: this.since, until: this.until, by: this.by });
    this.drawChoices();
    const to = this.until ? ms(this.until) : Date.now();
    const from = this.since ? ms(this.since) : to - WINDOWS[this.window];
    this.size = SIZES.find((one) => (to - from) / one <= MOST_POINTS) ?? SIZES[SIZES.length - 1];
    this.marks = [];
    for (let seconds = 2, complete = false; !complete; seconds *= 2) {
      const query = { since: ns(from), until: ns(to), by: this.by, size: this.size * 1e6, offset: -new Date().getTimezoneOffset() * MINUTE * 1e6, seconds };
      if (!this.trends) this.words.textContent = "counting …";
      const trends = await this.data.time(query);
      if (asked !== this.asked) return;
      this.trends = trends;
      this.found = trends.changes;
      this.draw();
      complete = trends.complete;
    }
    const drift = this.trends.buckets.length ? await this.data.drift({ since: ns(from), until: ns(to) }) : [];
    if (asked !== this.asked || !drift.length) return;
    this.found = [...this.found, ...drift.map((one) => ({ ...one, drift: true }))];
    this.draw();
  }

  drawChoices() {
    const chips = (names, chosen, take) => names.map((name) => el("button.chip", { "aria-pressed": name === chosen, onclick: () => take(name) }, name));
    fill(this.windows, chips(Object.keys(WINDOWS), this.since ? "" : this.window, (name) => this.show({ window: name, since: "", until: "" })),
      this.since && el("button.chip.on", { label: "Zoom out", onclick: () => this.zoomOut() }, `${minute(this.since)} – ${minute(this.until)} ×`));
    fill(this.bys, chips(BYS, this.by, (name) => this.show({ by: name })));
  }

  draw() {
    const trends = this.trends;
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
    const counted = trends.complete ? "" : ", still counting …";
    this.words.textContent = `${plural(trends.traces, "trace")}${trends.limit && trends.traces >= trends.limit ? ` (the newest ${count(trends.limit)}; older ones are not counted)` : ""}, by ${trends.by}${trends.left_out ? `; ${trends.left_out} with fewer calls not drawn` : ""}${counted}`;
    if (!trends.buckets.length) {
      fill(this.box, el("div.empty", el("p", trends.complete ? "No traces in this time." : "Counting …")));
      return;
    }
    this.marks = [...this.found].sort((a, b) => Number(BigInt(a.time) - BigInt(b.time))).map((one, at) => ({ ...one, number: at + 1 }));
    const step = this.size / 1000;
    const start = ms(trends.since) / 1000;
    const end = this.until ? ms(this.until) : Date.now();
    this.starts = Array.from({ length: Math.max(1, Math.ceil((end / 1000 - start) / step)) }, (_, at) => start + at * step);
    this.buckets = new Map(trends.buckets.map((bucket) => [Math.round((ms(bucket.since) / 1000 - start) / step), bucket]));
    const legend = el("ul.legend", { label: "Lines" }, trends.groups.map((name, at) =>
      el(`li.s${at}`, el("button", { "aria-pressed": !this.hidden.has(name), onclick: () => this.toggle(name) }, name))));
    this.never = [];
    const charts = CHARTS.map((chart) => this.chart(chart)).filter((one) => one !== null);
    const focusable = () => [...this.box.querySelectorAll(".plot-box, .legend button")];
    const focused = focusable().indexOf(document.activeElement);
    const scrolled = this.box.scrollTop;
    fill(this.box, legend, this.hints(), this.changes(), charts.map(({ figure }) => figure), this.totals(), this.table());
    const colours = [...legend.children].map((item) => getComputedStyle(item).getPropertyValue("--series").trim());
    this.plots = charts.map(({ draw }) => draw(this.library, colours));
    focusable()[focused]?.focus();
    this.box.scrollTop = scrolled;
  }

  toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    this.draw();
  }

  chart([title, figures, words, axis, parts = [""]]) {
    const groups = this.trends.groups.filter((name) => !this.hidden.has(name));
    const valueOf = (bucket, name, part) => {
      const of = bucket?.groups[name];
      return of ? [figures === "tokens" ? sum(...of.tokens) : of[figures]].flat()[part] : null;
    };
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
      const known = groups.filter((name) => bucket?.groups[name]);
      return [el("b", this.spanText(at)), bucket ? null : el("div", "no traces"), known.map((name) => el("div", el(`span.dot.s${this.trends.groups.indexOf(name)}`),
        `${name}: ${parts.map((part, index) => `${part} ${words(valueOf(bucket, name, index))}`.trim()).join(" · ")} (${plural(bucket.groups[name].calls, "call")}${parts.length > 1 ? fewWords(bucket.groups[name].calls) : ""})`)),
        this.marks.filter((mark) => this.indexOf(mark) === at).map((mark) => el("div", { class: mark.drift ? "drift" : "dim" }, `${mark.number} ${cut(mark.text, 160)}`)),
        bucket && el("div.dim", "click: its traces · drag: zoom")];
    };
    return plotFigure({
      title, tip, axis, note: `${parts.length > 1 ? "p50, p95, p99 " : ""}at most ${words(most)}`, percentiles: parts.length > 1,
      times: this.starts.map((start) => start + this.size / 2000),
      series: lines.map(({ name, part, values }) => ({ part, values, group: this.trends.groups.indexOf(name) })),
      marks: this.marks.map(({ time, number, drift }) => ({ number, drift, time: ms(time) / 1000 })),
      enter: (at) => this.enter(at), zoom: (from, to) => this.zoom(from, to), out: () => this.zoomOut(),
    });
  }

  indexOf(mark) {
    return Math.floor((ms(mark.time) / 1000 - this.starts[0]) / (this.size / 1000));
  }

  spanText(at) {
    const start = this.starts[at] * 1000;
    return `${minute(ns(start))} – ${minute(ns(start + this.size)).slice(this.size < DAY ? 11 : 0)}`;
  }

  hints() {
    const calls = this.trends.buckets.map((bucket) => bucket.all.calls).sort((a, b) => a - b);
    return [calls[calls.length >> 1] < 20 && quiet("Few calls in most points: a p95 of fewer than 20 calls, or a p99 of fewer than 100, is the slowest call."),
      this.never.length ? quiet(`Never in this time: ${this.never.join(", ")}.`) : null];
  }

  changes() {
    if (!this.marks.length) return null;
    return el("details.changes", { open: this.marks.length <= 6 }, el("summary", `${plural(this.marks.length, "change")}, as marked in the plots`),
      el("ol", this.marks.map((mark) => el("li", { class: mark.drift ? "drift" : "" }, el("b", mark.number), el("span.dim", minute(mark.time)),
        mark.drift ? link(placeText(`trace/${mark.trace}`), `drift: ${mark.text}`) : link(this.listOf(this.indexOf(mark)), mark.text)))));
  }

  totals() {
    const { by, since, total, totals } = this.trends;
    const row = (head, one) => [head, count(one.calls), ...one.tokens.map(whole), cost(one.cost) + (one.cost !== null && one.unpriced ? ` + ${plural(one.unpriced, "call")} of unknown price` : ""), duration(one.duration[0]), duration(one.duration[1]), percent(one.errors)];
    const nameOf = ({ name }) => (by === "prompt" || name === "unknown" ? name : link(placeText("", { since, until: this.until || ns(Date.now()), [by]: name }), name));
    return el("div.figures", { tabindex: 0, role: "region", label: "Totals" }, tableNode(`Cost and tokens by ${by}`,
      [by, "calls", "input tokens", "output tokens", "cost", "p50", "p95", "failed"], [...totals.map((one) => row(nameOf(one), one)), row("all model calls", total)]));
  }

  /** The same as the plots, in numbers. */
  table() {
    const heads = ["began", "traces", "calls", "cost", "input tokens", "output tokens", "p50", "p95", "p99", "first token p50", "per token p50", "malformed", "failing"];
    const rows = this.trends.buckets.map(({ since, until, traces, all }) => [link(placeText("", { since, until }), minute(since)),
      count(traces), count(all.calls), cost(all.cost), ...all.tokens.map(whole), ...all.duration.map(duration), duration(all.first[0]), duration(all.token[0]), percent(all.malformed), percent(all.flawed)]);
    return el("details.figures", el("summary", `All model calls over time as a table (${plural(rows.length, "line")})`), tableNode("", heads, rows.reverse()));
  }

  listOf(at) {
    const start = this.starts[at] * 1000;
    return placeText("", { since: ns(start), until: ns(start + this.size) });
  }

  enter(at) {
    if (this.buckets.has(at)) location.hash = this.listOf(at);
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

  key(event) {
    if (event.key === "Escape" && this.since) this.zoomOut();
    else if (["u", "Escape"].includes(event.key)) toList();
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

/** A table of rows of cells, the first of which is the row's head. */
const tableNode = (caption, heads, rows) => el("table", caption && el("caption", caption), el("thead", el("tr", heads.map((head) => el("th", { scope: "col" }, head)))),
  el("tbody", rows.map(([head, ...cells]) => el("tr", el("th", { scope: "row" }, head), cells.map((text) => el("td", text))))));

const fewWords = (calls) => (calls < 20 ? ", too few for p95 and p99" : calls < 100 ? ", too few for p99" : "");

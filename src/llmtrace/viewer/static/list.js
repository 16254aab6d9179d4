// The list of traces: what each was asked and answered, how it went, what it cost; filters and search, kept in the address.

import { el, fill, keysButton, stepsOf } from "./dom.js";
import { ago, cost, count, minute, someNames, tokensOf, lasted } from "./format.js";
import { go, note, placeText } from "./place.js";
import { VirtualList } from "./virtual.js";
import { waitingChip } from "./waiting.js";

const PAGE = 100;
const ALL = { q: "", health: "", agent: "", since: "", until: "", at: "" };
const HEALTHS = ["", "failed", "recovered", "ok", "running"];

/** A trace as it is now: more may come to be known of it. @param {TraceRow} row */
const signOf = (row) => `${row.id} ${row.spans} ${row.health}`;

export class ListView {
  rows = /** @type {TraceRow[]} */ ([]);
  picked = /** @type {Set<string>} */ (new Set());
  suspicions = /** @type {Map<string, {title: string, confidence: string}|null>} */ (new Map());
  cursor = 0;
  more = false;
  asked = 0;
  paused = false;

  /** @param {HTMLElement} app @param {URLSearchParams} query */
  constructor(app, data, info, query) {
    this.app = app;
    this.data = data;
    this.info = info;
    this.query = { ...ALL };
    for (const name of Object.keys(ALL)) this.query[name] = query.get(name) ?? "";
    document.title = "llmtrace";
  }

  async open() {
    this.build();
    note("", this.query);
    await this.load();
  }

  build() {
    const search = this.search = el("input", { type: "search", class: "search", placeholder: "Search messages, arguments, results …", "aria-label": "Search traces", value: this.query.q, oninput: () => this.searched(search.value) });
    this.filters = el("div", { class: "filters", role: "group", "aria-label": "Health" }, HEALTHS.map((health) =>
      el("button", { class: `chip ${health}`, "aria-pressed": String(this.query.health === health), text: health || "all", onclick: () => this.filter({ health }) })));
    this.notes = el("div", { class: "filters" });
    this.count = el("span", { class: "dim", role: "status" });
    this.box = el("div", { class: "rows", role: "grid", tabindex: "0", "aria-label": "Traces" });
    this.compare = el("button", { class: "chip", text: "compare", hidden: true, onclick: () => this.comparePicked() });
    this.app.className = "list";
    this.app.replaceChildren(
      el("header", { class: "top" }, el("h1", { class: "brand", text: "llmtrace" }), el("span", { class: "dim store", text: this.info.store ?? "" }), search, this.filters, this.notes, this.compare,
        el("span", { class: "gap" }), this.count, waitingChip(true), el("a", { class: "chip", href: "#/time", text: "over time" }), keysButton()),
      el("main", { class: "table", "aria-label": "Traces" },
        el("div", { class: "trace-row heads", "aria-hidden": "true" }, ["", "task and answer", "agent", "found", "tokens", "cost", "duration", "started"].map((head) => el("span", { text: head }))),
        this.box));
    this.list = new VirtualList(this.box, { render: (at) => this.row(at), estimate: () => (innerWidth < 700 ? 78 : 46), key: (at) => this.rows[at].id, onScroll: (first, last) => { if (last > this.rows.length - 20 && this.more) this.loadMore(); this.glance(first, last); } });
    this.drawNotes();
  }

  drawNotes() {
    const chip = (text, cleared) => el("button", { class: "chip on", text: `${text} ×`, "aria-label": `no longer only ${text}`, onclick: () => this.filter(cleared) });
    fill(this.notes, this.query.agent ? chip(`agent ${this.query.agent}`, { agent: "" }) : null, this.query.since || this.query.until ? chip(this.span(), { since: "", until: "" }) : null);
  }

  span() {
    return `${this.query.since ? `from ${minute(this.query.since)}` : ""}${this.query.until ? ` until ${minute(this.query.until)}` : ""}`.trim();
  }

  filter(changed) {
    Object.assign(this.query, { at: "" }, changed);
    note("", this.query);
    for (const button of this.filters.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.textContent === (this.query.health || "all")));
    this.drawNotes();
    this.load();
  }

  searched(text) {
    clearTimeout(this.wait);
    this.wait = setTimeout(() => this.filter({ q: text.trim() }), 120);
  }

  async load(keep = false) {
    const asked = ++this.asked;
    const before = keep ? this.rows[this.cursor]?.id : this.query.at;
    const began = performance.now();
    const found = await this.data.traces({ ...this.query, limit: keep ? Math.min(200, Math.max(PAGE, this.rows.length)) : this.query.at ? 200 : PAGE });
    if (asked !== this.asked) return;
    this.took = performance.now() - began;
    this.rows = found.traces;
    this.more = found.more;
    this.cursor = Math.max(0, this.rows.findIndex((row) => row.id === before));
    this.drawRows();
    if (!keep) this.list?.show(this.cursor);
  }

  async loadMore() {
    if (this.loading) return;
    this.loading = true;
    const found = await this.data.traces({ ...this.query, limit: PAGE, offset: this.rows.length });
    const known = new Set(this.rows.map((row) => row.id));
    this.rows.push(...found.traces.filter((row) => !known.has(row.id)));
    this.more = found.more;
    this.loading = false;
    this.drawRows();
  }

  drawRows() {
    const number = `${count(this.rows.length)}${this.more ? "+" : ""}`;
    this.count.textContent = number + (this.query.q ? ` found in ${Math.round(this.took ?? 0)} ms` : this.rows.length === 1 ? " trace" : " traces");
    this.box.querySelector(".empty")?.remove();
    this.list?.reset(this.rows.length);
    if (!this.rows.length) this.box.append(el("div", { role: "row", class: "empty" }, el("div", { role: "gridcell" }, this.emptyWords())));
  }

  /** The first suspects of the traces on the screen. */
  glance(first, last) {
    clearTimeout(this.glanceSoon);
    this.glanceSoon = setTimeout(async () => {
      const wanted = this.rows.slice(first, last).filter((row) => row.health !== "running" && !this.suspicions.has(signOf(row)));
      for (let at = 0; at < wanted.length; at += 8) {
        const some = wanted.slice(at, at + 8);
        const reply = await this.data.suspicions(some.map((row) => row.id)).catch(() => ({}));
        for (const row of some) this.suspicions.set(signOf(row), reply[row.id] ?? null);
        for (const [id, one] of Object.entries(reply)) if (one) this.list?.redraw(id);
      }
    }, 60);
  }

  emptyWords() {
    if (this.query.q || this.query.health || this.query.agent || this.query.since) return [el("p", { text: "No trace matches this." }), el("button", { class: "chip", text: "show all", onclick: () => { this.search.value = ""; this.filter(ALL); } })];
    return [el("h2", { text: "No traces yet" }), el("p", {}, "Run ", el("code", { text: "llmtrace demo" }), " or ", el("code", { text: "llmtrace run agent.py" }), ": traces appear here as they happen."),
      this.info.receive ? el("p", {}, "Programs in any language may send spans: ", el("code", { text: `OTEL_EXPORTER_OTLP_ENDPOINT=${this.info.receive}` })) : el("p", {}, el("code", { text: "llmtrace view --receive" }), " takes spans by OTLP from programs in any language.")];
  }

  row(at) {
    const row = this.rows[at];
    const cell = (cls, text) => el("span", { class: cls, role: "gridcell", text });
    const suspicion = this.suspicions.get(signOf(row));
    const found = suspicion ? suspicion.title : someNames(row.findings);
    return el("div", { class: `trace-row ${row.health}${this.picked.has(row.id) ? " picked" : ""}`, role: "row", id: `trace-${row.id}`, "aria-selected": String(at === this.cursor), onclick: (event) => this.clicked(at, event) },
      cell(`health ${row.health}`, row.health),
      el("span", { class: "said", role: "gridcell", dir: "auto" }, el("a", { href: this.placeOf(row), tabindex: -1, text: row.task ?? row.name }), row.answer ?? (row.health === "running" ? "…" : "")),
      cell("agent", row.agents.join(", ") || row.service || row.name),
      cell(`found ${suspicion?.confidence ?? (row.errors || row.health === "failed" ? "error" : "")}`, found),
      cell("num", tokensOf(row)),
      cell("num", cost(row.cost)),
      cell("num", lasted(row)),
      cell("num", ago(row.start)));
  }

  placeOf(row) {
    return placeText(`trace/${row.id}`, { q: this.query.q });
  }

  enter(at) {
    const row = this.rows[at];
    if (!row) return;
    note("", { ...this.query, at: row.id });
    location.hash = this.placeOf(row);
  }

  clicked(at, event) {
    if (event.ctrlKey || event.metaKey) return; // a tab of its own
    event.preventDefault();
    if (event.shiftKey) this.pick(at);
    else this.enter(at);
  }

  pick(at) {
    const id = this.rows[at]?.id;
    if (!id) return;
    if (!this.picked.delete(id)) this.picked.add(id);
    if (this.picked.size > 2) this.picked.delete([...this.picked][0]);
    this.compare.hidden = this.picked.size !== 2;
    this.list?.redraw(id);
  }

  comparePicked() {
    const [a, b] = this.rows.filter((row) => this.picked.has(row.id)).sort((one, other) => one.start - other.start);
    if (a && b) go(`compare/${a.id}/${b.id}`);
  }

  move(to) {
    const before = this.rows[this.cursor]?.id;
    this.cursor = Math.max(0, Math.min(this.rows.length - 1, to));
    if (before) this.list?.redraw(before);
    const now = this.rows[this.cursor]?.id;
    if (now) {
      this.list?.redraw(now);
      this.list?.show(this.cursor);
      this.box.setAttribute("aria-activedescendant", `trace-${now}`);
    }
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / 46) - 1);
    const steps = stepsOf(event.key, page);
    if (steps) this.move(this.cursor + steps);
    else if (["Enter", "l", "ArrowRight"].includes(event.key)) this.enter(this.cursor);
    else if (event.key === "x") this.pick(this.cursor);
    else if (event.key === "c" && this.picked.size === 2) this.comparePicked();
    else if (event.key === "t") go("time");
    else if (event.key === "r") go("reviews");
    else if (event.key === "f") this.filter({ health: HEALTHS[(HEALTHS.indexOf(this.query.health) + 1) % HEALTHS.length] });
    else if (event.key === "p") this.pause();
    else return false;
    return true;
  }

  pause() {
    this.paused = !this.paused;
    this.count.textContent = this.paused ? "paused (p goes on)" : "";
    if (!this.paused) this.load(true);
  }

  tick() {
    for (const row of this.rows) {
      const node = this.list?.shown.get(row.id);
      if (node) node.lastChild.textContent = ago(row.start);
    }
  }

  changed() {
    if (this.paused || document.hidden) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.load(true), this.rows.length > 20 ? 250 : 60);
  }

  close() {
    this.list?.close();
    for (const wait of [this.soon, this.wait, this.glanceSoon]) clearTimeout(wait);
  }
}

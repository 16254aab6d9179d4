// The list of traces: what each was asked and answered, how it went, what it cost; filters, order and search, kept in the address.

import { el, fill, keysButton, stepsOf } from "./dom.js";
import { filterPanel } from "./filters.js";
import { ago, cost, count, lasted, minute, nameText, plural, someNames, tokensOf } from "./format.js";
import { go, note, placeText } from "./place.js";
import { VirtualList } from "./virtual.js";
import { waitingChip } from "./waiting.js";

const PAGE = 100;
const MOST = 200; // rows in one answer
const HEALTHS = ["", "failed", "recovered", "ok", "running"];
const HEADS = [["", "health"], ["task and answer"], ["agent"], ["found", "findings"], ["tokens", "tokens"], ["cost", "cost"], ["duration", "duration"], ["started", "age"]];

/** A trace as it is now: more may come to be known of it. @param {TraceRow} row */
const signOf = (row) => `${row.id} ${row.spans} ${row.health} ${row.waits} ${row.findings}`;

export class ListView {
  rows = /** @type {any[]} */ ([]); // traces; of sessions, each with its turns after it
  picked = /** @type {Set<string>} */ (new Set());
  suspicions = /** @type {Map<string, {title: string, confidence: string}|null>} */ (new Map());
  cursor = 0;
  more = false;
  asked = 0;

  /** @param {HTMLElement} app @param {URLSearchParams} query */
  constructor(app, data, info, query) {
    this.app = app;
    this.data = data;
    this.info = info;
    this.filters = /** @type {import("./filters.js").Filter[]} */ (info.filters ?? []);
    this.query = Object.fromEntries(["text", "sort", "reverse", "sessions", "at", ...this.filters.map(({ name }) => name)].map((name) => [name, query.get(name) ?? ""]));
    document.title = "llmtrace";
  }

  async open() {
    this.build();
    note("", this.query);
    await this.load();
  }

  build() {
    const search = this.search = el("input", { type: "search", class: "search", placeholder: "Search messages, arguments, results …", "aria-label": "Search traces", value: this.query.text, oninput: () => this.searched(search.value) });
    this.healths = el("div", { class: "filters", role: "group", "aria-label": "Health" }, HEALTHS.map((health) => el("button", { class: `chip ${health}`, text: health || "all", onclick: () => this.filter({ health }) })));
    this.notes = el("div", { class: "filters" });
    this.count = el("span", { class: "dim", role: "status" });
    this.box = el("div", { class: "rows", role: "grid", tabindex: "0", "aria-label": "Traces" });
    this.compare = el("button", { class: "chip", text: "compare", hidden: true, onclick: () => this.comparePicked() });
    this.fresh = el("button", { class: "chip on fresh", hidden: true, onclick: () => this.showNew() });
    this.sessions = el("button", { class: "chip", text: "sessions", title: "the turns of each conversation together", onclick: () => this.filter({ sessions: this.query.sessions ? "" : "1" }) });
    this.panelButton = el("button", { class: "chip", text: "filter", "aria-expanded": "false", onclick: () => this.togglePanel() });
    this.panelBox = el("section", { "aria-label": "Filter", hidden: true });
    this.heads = el("div", { class: "trace-row heads" });
    this.app.className = "list";
    this.app.replaceChildren(
      el("header", { class: "top" }, el("h1", { class: "brand", text: "llmtrace" }), el("span", { class: "dim store", text: this.info.store ?? "" }), search, this.healths, this.panelButton, this.sessions, this.notes, this.compare,
        el("span", { class: "gap" }), this.fresh, this.count, waitingChip(true), el("a", { class: "chip", href: "#/time", text: "over time" }), keysButton()),
      this.panelBox,
      el("main", { class: "table", "aria-label": "Traces" }, this.heads, this.box));
    this.list = new VirtualList(this.box, { render: (at) => this.row(at), estimate: () => (innerWidth < 700 ? 78 : 46), key: (at) => this.rows[at].key, onScroll: (first, last) => { if (last > this.rows.length - 20 && this.more) this.loadMore(); this.glance(first, last); } });
    this.drawFilters();
  }

  /** What is set, in the head: each is taken away by a click. */
  drawFilters() {
    const on = (button, value) => button.setAttribute("aria-pressed", String(value));
    for (const button of this.healths.children) on(button, button.textContent === (this.query.health || "all"));
    on(this.sessions, Boolean(this.query.sessions));
    const names = this.filters.map(({ name }) => name).filter((name) => name !== "health" && this.query[name]);
    fill(this.notes, names.map((name) => {
      const value = this.query[name];
      const text = `${nameText(name)} ${/^\d{15,}$/.test(value) ? minute(value) : value}`;
      return el("button", { class: "chip on", text: `${text} ×`, "aria-label": `no longer only ${text}`, onclick: () => this.filter({ [name]: "" }) });
    }));
    fill(this.heads, HEADS.map(([text, sort]) => {
      const sorted = sort && (this.query.sort || "age") === sort;
      const arrow = sorted ? (this.query.reverse ? " ↑" : " ↓") : "";
      return el("span", {}, sort ? el("button", { text: (text || "health") + arrow, "aria-pressed": String(sorted), title: `sort by ${text || "health"}`, onclick: () => this.sort(sort) }) : text);
    }));
  }

  togglePanel() {
    const shown = this.panelBox.hidden;
    if (shown) fill(this.panelBox, filterPanel(this.data, this.filters, this.query, (change) => this.filter(change)));
    this.panelBox.hidden = !shown;
    this.panelButton.setAttribute("aria-expanded", String(shown));
    (shown ? this.panelBox.querySelector("input, select") : this.box).focus();
  }

  /** Largest first; the same once more: smallest first. */
  sort(name) {
    const same = (this.query.sort || "age") === name;
    this.filter({ sort: name === "age" ? "" : name, reverse: same && !this.query.reverse ? "1" : "" });
  }

  filter(changed) {
    Object.assign(this.query, { at: "" }, changed);
    note("", this.query);
    this.drawFilters();
    this.load();
  }

  searched(text) {
    clearTimeout(this.wait);
    this.wait = setTimeout(() => this.filter({ text: text.trim() }), 120);
  }

  /** Rows of the list, and whether there are more. */
  async fetch(limit, offset = 0) {
    if (!this.query.sessions) {
      const reply = await this.data.traces({ ...this.query, limit, offset });
      return { rows: reply.traces.map((row) => ({ ...row, key: row.id })), more: reply.more, undiagnosed: reply.undiagnosed };
    }
    const reply = await this.data.sessions({ ...this.query, limit: PAGE });
    const rows = reply.sessions.flatMap((session, number) => {
      const turns = session.turns.map((row) => ({ ...row, key: `${number}-${row.id}` }));
      return [{ session, key: `session-${number}`, start: turns[turns.length - 1].start }, ...turns];
    });
    return { rows, more: false, undiagnosed: 0 };
  }

  async load(keep = false) {
    const asked = ++this.asked;
    const before = keep ? this.rows[this.cursor]?.id : this.query.at;
    const began = performance.now();
    const found = await this.fetch(before ? MOST : PAGE);
    if (asked !== this.asked) return;
    this.took = performance.now() - began;
    this.rows = found.rows;
    this.more = found.more;
    this.fresh.hidden = true;
    this.cursor = Math.max(0, this.rows.findIndex((row) => row.id && row.id === before));
    this.drawRows();
    if (!keep) this.list?.show(this.cursor);
    if (found.undiagnosed) {
      this.count.textContent += `, ${count(found.undiagnosed)} not diagnosed yet`;
      this.soon = setTimeout(() => this.load(true), 50);
    }
  }

  async loadMore() {
    if (this.loading) return;
    this.loading = true;
    const asked = this.asked;
    const found = await this.fetch(PAGE, this.rows.length).finally(() => { this.loading = false; });
    if (asked !== this.asked) return;
    const known = new Set(this.rows.map((row) => row.key));
    this.rows.push(...found.rows.filter((row) => !known.has(row.key)));
    this.more = found.more;
    this.drawRows();
  }

  /** News: what is shown is brought up to date in its place; new traces wait until they are asked for. */
  async refresh() {
    const asked = this.asked;
    const limit = Math.min(MOST, Math.max(PAGE, this.rows.length));
    const found = await this.fetch(limit);
    if (asked !== this.asked) return;
    if (!this.rows.length) return this.load();
    const now = new Map(found.rows.filter((row) => row.id).map((row) => [row.id, row]));
    const known = new Set(this.rows.map((row) => row.id));
    this.rows.forEach((row, at) => {
      const newer = row.id && now.get(row.id);
      if (!newer || signOf(newer) === signOf(row)) return;
      this.rows[at] = { ...newer, key: row.key };
      this.list?.redraw(row.key);
    });
    if (!found.more && !this.query.sessions && this.rows.length <= limit && this.rows.some((row) => !now.has(row.id))) { // no longer matches
      const at = this.rows[this.cursor]?.id;
      this.rows = this.rows.filter((row) => now.has(row.id));
      this.cursor = Math.max(0, this.rows.findIndex((row) => row.id === at));
      this.drawRows();
    }
    const fresh = [...now.keys()].filter((id) => !known.has(id)).length;
    this.fresh.hidden = !fresh;
    this.fresh.textContent = plural(fresh, "new run");
  }

  showNew() {
    this.query.at = "";
    this.box.scrollTop = 0;
    this.load();
    this.box.focus();
  }

  drawRows() {
    const traces = this.rows.filter((row) => !row.session);
    const number = `${count(traces.length)}${this.more ? "+" : ""}`;
    this.count.textContent = number + (this.query.text ? ` found in ${Math.round(this.took ?? 0)} ms` : traces.length === 1 ? " trace" : " traces");
    this.box.querySelector(".empty")?.remove();
    this.list?.reset(this.rows.length);
    if (!this.rows.length) this.box.append(el("div", { role: "row", class: "empty" }, el("div", { role: "gridcell" }, this.emptyWords())));
  }

  /** The first suspects of the traces on the screen. */
  glance(first, last) {
    clearTimeout(this.glanceSoon);
    this.glanceSoon = setTimeout(async () => {
      const wanted = this.rows.slice(first, last).filter((row) => row.id && row.health !== "running" && !this.suspicions.has(signOf(row)));
      for (let at = 0; at < wanted.length; at += 8) {
        const some = wanted.slice(at, at + 8);
        const reply = await this.data.suspicions(some.map((row) => row.id)).catch(() => ({}));
        for (const row of some) {
          this.suspicions.set(signOf(row), reply[row.id] ?? null);
          if (reply[row.id]) this.list?.redraw(row.key);
        }
      }
    }, 60);
  }

  emptyWords() {
    const set = Object.entries(this.query).filter(([name, value]) => value && !["sort", "reverse", "at"].includes(name));
    if (set.length) return [el("p", { text: this.query.sessions ? "No trace that matches belongs to a conversation." : "No trace matches this." }), el("button", { class: "chip", text: "show all", onclick: () => { this.search.value = ""; this.filter(Object.fromEntries(set.map(([name]) => [name, ""]))); } })];
    return [el("h2", { text: "No traces yet" }), el("p", {}, "Run ", el("code", { text: "llmtrace demo" }), " or ", el("code", { text: "llmtrace run agent.py" }), ": traces appear here as they happen."),
      this.info.receive ? el("p", {}, "Programs in any language may send spans: ", el("code", { text: `OTEL_EXPORTER_OTLP_ENDPOINT=${this.info.receive}` })) : el("p", {}, el("code", { text: "llmtrace view --receive" }), " takes spans by OTLP from programs in any language.")];
  }

  row(at) {
    const row = this.rows[at];
    const shown = row.session ?? row;
    const cell = (cls, text) => el("span", { class: cls, role: "gridcell", text });
    const suspicion = row.session ? null : this.suspicions.get(signOf(row));
    const found = suspicion ? suspicion.title + (suspicion.confidence === "error" ? "" : ` (${suspicion.confidence})`) : someNames(row.findings ?? []);
    const doubtful = suspicion && suspicion.confidence !== "error" && row.health === "ok";
    const health = doubtful ? cell(`health ${suspicion.confidence === "certain" ? "failed" : "recovered"}`, "ok, suspect") : row.waits ? cell("health running", "waits") : cell(`health ${shown.health}`, shown.health);
    const said = row.session
      ? el("span", { class: "said", role: "gridcell", dir: "auto" }, el("a", { href: placeText("", { conversation: shown.conversation }), tabindex: -1, text: `conversation ${shown.conversation}` }), plural(shown.turns.length, "turn"))
      : el("span", { class: "said", role: "gridcell", dir: "auto" }, el("a", { href: this.placeOf(row), tabindex: -1, text: row.task ?? row.name }), row.answer ?? (row.health === "running" ? "…" : ""));
    return el("div", { class: `trace-row ${shown.health}${row.session ? " session" : ""}${this.picked.has(row.id) ? " picked" : ""}`, role: "row", id: `trace-${row.key}`, "aria-selected": String(at === this.cursor), onclick: (event) => this.clicked(at, event) },
      health, said,
      cell("agent", row.session ? "" : row.agents.join(", ") || row.service || row.name),
      cell(`found ${suspicion?.confidence ?? (row.errors || row.health === "failed" ? "error" : "")}`, found),
      cell("num", tokensOf(shown)),
      cell("num", cost(shown.cost)),
      cell("num", lasted(shown)),
      cell("num", ago(row.start)));
  }

  placeOf(row) {
    return placeText(`trace/${row.id}`, { q: this.query.text });
  }

  enter(at) {
    const row = this.rows[at];
    if (!row) return;
    if (row.session) return this.filter({ conversation: row.session.conversation, sessions: "" });
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
    const { id, key } = this.rows[at] ?? {};
    if (!id) return;
    if (!this.picked.delete(id)) this.picked.add(id);
    if (this.picked.size > 2) this.picked.delete([...this.picked][0]);
    this.compare.hidden = this.picked.size !== 2;
    this.list?.redraw(key);
  }

  comparePicked() {
    const [a, b] = this.rows.filter((row) => this.picked.has(row.id)).sort((one, other) => one.start - other.start);
    if (a && b) go(`compare/${a.id}/${b.id}`);
  }

  move(to) {
    const before = this.rows[this.cursor]?.key;
    this.cursor = Math.max(0, Math.min(this.rows.length - 1, to));
    if (before) this.list?.redraw(before);
    const now = this.rows[this.cursor]?.key;
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
    else if (event.key === "i" || (event.key === "Escape" && !this.panelBox.hidden)) this.togglePanel();
    else if (event.key === "s") this.filter({ sessions: this.query.sessions ? "" : "1" });
    else if (event.key === "n" && !this.fresh.hidden) this.showNew();
    else return false;
    return true;
  }

  tick() {
    for (const row of this.rows) {
      const node = this.list?.shown.get(row.key);
      if (node) node.lastChild.textContent = ago(row.start);
    }
  }

  changed() {
    if (document.hidden) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.refresh(), this.rows.length > 20 ? 250 : 60);
  }

  /** Whether a run waits for a person changed. */
  reviewed() {
    this.changed();
  }

  close() {
    this.list?.close();
    for (const wait of [this.soon, this.wait, this.glanceSoon]) clearTimeout(wait);
  }
}

// One trace: suspects on top, its steps as waterfall or conversation, the chosen step beside. All views share one selection.

import { el, fill, hideTip, quiet, say, showTip } from "./dom.js";
import { conversationCard, rowTip, waterfallRow } from "./lines.js";
import { curveNode } from "./curve.js";
import { detail } from "./detail.js";
import { traceHead } from "./head.js";
import { forgetColours, markWords } from "./json.js";
import { note, placeText } from "./place.js";
import { spreadClasses } from "./spread.js";
import { isMarked, suspectStrip } from "./suspects.js";
import { Tree } from "./tree.js";
import { VirtualList } from "./virtual.js";
import { axisNodes, follow, listenToWheel } from "./zoom.js";

const BATCH = 48;

export class TraceView {
  tree = new Tree();
  version = 0;
  trace = /** @type {TraceRow|null} */ (null);
  diagnosis = /** @type {Diagnosis|null} */ (null);
  payloads = new Map();
  uses = new Map();
  executions = new Map();
  suspectAt = new Map();
  lit = new Set();
  spreading = false;
  spread = /** @type {Spread|null} */ (null);
  reached = new Map();
  above = new Set();
  found = new Set();
  focus = { span: "", pointer: "" };
  trail = /** @type {string[]} */ ([]);
  cursor = "";
  suspect = -1;
  unfolded = /** @type {Map<string, boolean>} */ (new Map());
  chosen = false;
  paused = false;
  follows = false;
  waiting = false;
  hits = /** @type {Row[]} */ ([]);
  span = 1;
  lines = /** @type {any[]} */ ([]);
  zoomed = /** @type {{from: number, to: number}|null} */ (null);

  /** @param {HTMLElement} app @param {URLSearchParams} query */
  constructor(app, data, id, query) {
    this.app = app;
    this.data = data;
    this.id = id;
    this.mode = query.get("view") === "c" ? "c" : "w";
    this.query = { span: query.get("span"), pointer: query.get("at") ?? "", words: query.get("q") ?? "" };
  }

  async open() {
    this.app.className = "trace";
    this.app.replaceChildren(el("p", { class: "quiet loading", role: "status", text: "reading the trace …" }));
    const first = await this.data.rows(this.id, { around: this.query.span ?? "-" });
    this.merge(first);
    this.id = this.trace?.id ?? this.id;
    this.build();
    await this.begin();
    if (first.more) {
      this.merge(await this.data.rows(this.id));
      this.drawHead();
      this.drawLines();
      await (this.chosen ? this.go(this.cursor, this.focus.pointer) : this.begin());
    }
    if (this.query.words) this.search(this.query.words, !this.chosen);
    await new Promise((then) => setTimeout(then, 30)); // what is on the screen comes first
    await this.diagnose();
  }

  /** Then what was read early is read again. */
  async diagnose() {
    const diagnosis = await this.data.diagnosis(this.id).catch(() => null);
    for (const [id, payload] of this.payloads) if (payload.early) this.payloads.delete(id);
    this.diagnosed(diagnosis);
  }

  /** @param {Rows} reply */
  merge(reply) {
    this.version = reply.version;
    this.trace = reply.trace;
    for (const row of reply.rows) {
      this.payloads.delete(row.id);
      this.uses.delete(row.id);
      if (row.kind === "tool" && row.call) this.executions.set(row.call, row.id);
    }
    this.tree.merge(reply.rows);
    const open = this.tree.problems.some((row) => row.state === "interrupted");
    this.span = Math.max(this.tree.end * (open ? 1.08 : 1), this.tree.running ? this.now() : 0, 0.001);
  }

  now() {
    return this.trace ? Math.max(this.tree.end, Date.now() - this.trace.start) : 0;
  }

  build() {
    document.title = `${this.trace?.task ?? this.trace?.name} · llmtrace`;
    this.head = el("header", { class: "top" });
    this.suspectBox = el("section", { class: "suspects", "aria-label": "Suspects" });
    this.axis = el("div", { class: "axis-line" });
    this.rowsBox = el("div", { class: "rows", role: "tree", tabindex: "0", "aria-label": "Steps" });
    this.curveBox = el("div", { class: "curve-box" });
    this.pane = el("section", { class: "pane", tabindex: "0", "aria-label": "The chosen step" });
    this.app.replaceChildren(this.head, this.suspectBox, el("main", { class: "panes", "aria-label": "Trace" }, el("section", { class: "steps", "aria-label": "Steps of the trace" }, this.axis, this.rowsBox, this.curveBox), this.pane));
    listenToWheel(this);
    this.listenToPointer();
    this.drawHead();
    this.drawSuspects();
    this.makeList();
  }

  /** Tooltips of steps: what a line of the waterfall has no room for. */
  listenToPointer() {
    let at = "";
    let soon = 0;
    this.rowsBox.addEventListener("pointerover", (event) => {
      const line = event.target.closest(".row");
      const row = line && this.row(line.id.slice("line-".length));
      if ((row?.id ?? "") === at) return;
      at = row?.id ?? "";
      hideTip();
      clearTimeout(soon);
      if (row) soon = setTimeout(() => { // whoever only passes reads the lines below
        const box = line.getBoundingClientRect();
        if (line.isConnected) showTip({ left: event.clientX + 12, top: box.top, bottom: box.bottom }, rowTip(row));
      }, 400);
    });
    this.rowsBox.addEventListener("pointerleave", () => { at = ""; clearTimeout(soon); hideTip(); });
  }

  makeList() {
    this.list?.close();
    this.app.classList.toggle("conversing", this.mode === "c");
    const cards = this.mode === "c";
    this.list = new VirtualList(this.rowsBox, {
      render: (at) => (cards ? conversationCard : waterfallRow)(this, this.lines[at]),
      estimate: (at) => (cards ? this.estimate(this.lines[at]) : this.rowHeight()),
      key: (at) => this.lines[at].key, measured: cards,
      onScroll: (first, last) => { if (cards) this.fetch(this.lines.slice(first, last)); },
    });
    this.drawLines();
  }

  row(id) {
    return this.tree.rows.get(id ?? "");
  }

  /** Whether what is below a line is shown; null: there is nothing. */
  isOpen(line) {
    if (line.fold) return Boolean(this.tree.open.get(line.key));
    return line.kids ? this.tree.open.get(line.key) !== false : null;
  }

  rowHeight() {
    return innerHeight > 1700 ? 30 : 26;
  }

  estimate(line) {
    if (line.fold) return 34;
    return line.row.kind === "model" ? 130 : line.row.kind === "tool" ? 96 : 52;
  }

  drawHead() {
    fill(this.head, traceHead(this));
  }

  drawSuspects() {
    fill(this.suspectBox, suspectStrip(this));
  }

  drawLines() {
    this.lines = this.tree.lines();
    this.axis.replaceChildren(...(this.mode === "w" ? axisNodes(this) : []));
    this.list?.reset(this.lines.length);
    const curve = this.mode === "w" ? curveNode(this) : null;
    this.curveBox.replaceChildren(...(curve ? [curve] : []));
  }

  // -- where the cursor is

  /** The cursor at first: where the address says, on the problem, else on the root. */
  async begin() {
    const problem = this.tree.problems[0];
    const first = this.query.span && this.tree.rows.has(this.query.span) ? this.query.span : problem?.id ?? this.tree.walked[0]?.id;
    this.chosen = first === this.query.span;
    this.rowsBox.focus({ preventScroll: true });
    if (first) await this.go(first, this.query.pointer, false);
  }

  /** @param {Diagnosis|null} diagnosis */
  diagnosed(diagnosis) {
    if (!diagnosis) {
      this.suspectBox.replaceChildren(quiet("This trace could not be diagnosed."));
      return;
    }
    this.diagnosis = diagnosis;
    this.suspectAt.clear();
    diagnosis.suspects.filter(isMarked).slice(0, 9).forEach((suspect, at) => { if (!this.suspectAt.has(suspect.span_id)) this.suspectAt.set(suspect.span_id, at + 1); });
    this.drawLines();
    const first = diagnosis.suspects.find(isMarked);
    const place = this.tree.problems.length ? undefined : diagnosis.places[0];
    if (!this.chosen && first && this.tree.rows.has(first.span_id)) this.goSuspect(0, false);
    else if (!this.chosen && place && this.tree.rows.has(place.span_id)) this.go(place.span_id, "", false);
    else if (this.cursor) this.drawPane();
    this.drawSuspects();
  }

  goSuspect(at, chosen = true) {
    const suspect = this.diagnosis?.suspects[at];
    if (!suspect) return say(`there is no suspect ${at + 1}`);
    this.suspect = at;
    this.trail = [];
    this.go(suspect.span_id, "", chosen);
    this.drawSuspects();
  }

  suspectOf(id) {
    const suspects = this.diagnosis?.suspects ?? [];
    if (suspects[this.suspect]?.span_id === id) return this.suspect;
    return suspects.findIndex((suspect) => suspect.span_id === id && isMarked(suspect));
  }

  /** Choose a span wherever it is: what hides it opens. */
  go(id, pointer = "", chosen = true) {
    if (!this.tree.rows.has(id)) return undefined;
    this.focus = { span: id, pointer };
    if (!this.lines.some((line) => line.key === id)) {
      this.tree.reveal(id);
      this.drawLines();
    }
    return this.select(id, chosen);
  }

  select(key, chosen = true) {
    hideTip();
    this.light([]);
    const before = this.cursor;
    this.cursor = key;
    if (chosen) this.chosen = true;
    const row = this.row(key);
    if (row && this.focus.span !== key) this.focus = { span: key, pointer: "" };
    follow(this, row);
    const wasAbove = this.above;
    this.above = new Set(this.tree.path(row).map((up) => up.id));
    for (const id of new Set([before, key, ...wasAbove, ...this.above])) this.list?.redraw(id);
    this.list?.show(this.lines.findIndex((line) => line.key === key));
    this.rowsBox.setAttribute("aria-activedescendant", `line-${key.replaceAll(" ", "-")}`);
    if (this.suspect >= 0 || !this.diagnosis) this.drawSuspects();
    note(`trace/${this.id}`, this.place());
    return this.drawPane();
  }

  place() {
    return { span: this.tree.rows.has(this.cursor) ? this.cursor : null, view: this.mode === "c" ? "c" : null, at: this.focus.pointer, q: this.query.words };
  }

  linkTo(span, pointer = "") {
    return placeText(`trace/${this.id}`, { span, at: pointer, view: this.mode === "c" ? "c" : null });
  }

  async drawPane() {
    const row = this.row(this.cursor);
    if (!row) {
      const line = this.lines.find((one) => one.key === this.cursor);
      this.pane.replaceChildren(quiet(line ? "Repeated steps, folded. → or Enter opens them." : ""));
      return;
    }
    const wanted = this.cursor;
    if (!this.payloads.has(row.id) || !this.uses.has(row.id)) {
      const wait = setTimeout(() => { if (wanted === this.cursor) this.pane.classList.add("waiting"); }, 150);
      await this.need([row.id]);
      clearTimeout(wait);
    }
    const payload = this.payloads.get(row.id);
    if (wanted !== this.cursor || !payload) return;
    this.pane.classList.remove("waiting");
    if (this.spreading || this.spread) {
      this.spread = this.spreading ? await this.data.reached(this.id, row.id).catch(() => null) : null;
      if (wanted !== this.cursor) return;
      const before = this.reached;
      this.reached = spreadClasses(this);
      for (const id of [...before.keys(), ...this.reached.keys()]) this.list?.redraw(id);
    }
    const samePlace = this.drawn === wanted;
    const top = this.pane.scrollTop;
    const within = this.pane.contains(document.activeElement);
    fill(this.pane, detail(this, row, payload));
    if (within) this.pane.focus({ preventScroll: true });
    this.pane.scrollTop = samePlace ? top : 0;
    this.drawn = wanted;
    forgetColours();
    const word = markWords(this.pane, this.query.words);
    if (!samePlace) word?.scrollIntoView({ block: "nearest" });
    const where = this.pane.querySelector(".suspicion .where");
    if (where) where.hidden = !this.pane.querySelector(".suspected");
    if (this.focus.pointer) this.pane.querySelector("mark.origin")?.scrollIntoView({ block: "center" });
    if (!this.uses.has(row.id) && this.diagnosis) this.origins([row.id]).then(() => { if (wanted === this.cursor && (this.uses.get(row.id) ?? []).length) this.drawPane(); });
  }

  // -- what spans hold, fetched when looked at

  /** @param {string[]} ids @returns {Promise<Map<string, Payload>>} */
  async need(ids) {
    const missing = [...new Set(ids)].filter((id) => !this.payloads.has(id));
    for (let at = 0; at < missing.length; at += BATCH) {
      const reply = await this.data.payloads(this.id, missing.slice(at, at + BATCH));
      for (const [id, payload] of Object.entries(reply)) this.payloads.set(id, payload);
    }
    return this.payloads;
  }

  /** @param {string[]} ids */
  async origins(ids) {
    const reply = await this.data.origins(this.id, ids).catch(() => ({}));
    for (const id of ids) this.uses.set(id, reply[id] ?? []);
  }

  /** @returns {Use[]} */
  usesOf(id) {
    return this.uses.get(id) ?? [];
  }

  /** @param {any[]} lines */
  async fetch(lines) {
    const ids = lines.filter((line) => line.row && !this.payloads.has(line.row.id)).map((line) => line.row.id);
    if (!ids.length || this.fetching) return;
    this.fetching = true;
    await this.need(ids).catch(() => null);
    if (this.diagnosis) await this.origins(ids);
    this.fetching = false;
    for (const id of ids) this.list?.redraw(id);
  }

  /** Spans that the pointer asks about are lit, with what is between them and the chosen one. @param {string[]} ids */
  light(ids) {
    const before = this.lit;
    this.lit = new Set(ids);
    for (const id of new Set([...before, ...this.lit])) this.list?.redraw(id);
  }

  // -- search inside

  async search(words, jump = true) {
    this.query.words = words;
    const query = words;
    const ids = words ? await this.data.search(this.id, words) : [];
    if (query !== this.query.words) return;
    this.found = new Set(ids);
    this.hits = this.tree.walked.filter((row) => this.found.has(row.id));
    this.list?.reset(this.lines.length);
    if (words) say(this.hits.length ? `${this.hits.length} steps hold it: n next, N previous` : "no step holds that");
    if (jump && this.hits.length) this.go(this.hits[0].id);
    else this.drawPane();
  }

  // -- news

  /** @param {string[]|null} traces */
  changed(traces) {
    if (traces && !traces.includes(this.id)) return;
    if (this.paused) {
      this.waiting = true;
      return;
    }
    if (this.refreshing) {
      this.again = true;
      return;
    }
    this.refresh();
  }

  async refresh() {
    this.refreshing = true;
    this.again = false;
    try {
      const reply = await this.data.rows(this.id, { after: this.version });
      if (reply.rows.length || reply.trace.health !== this.trace?.health) {
        const wasLast = this.follows && this.lines.length;
        this.merge(reply);
        this.drawHead();
        this.drawLines();
        if (wasLast) this.go(this.tree.order[this.tree.order.length - 1].id, "", false);
        else if (reply.rows.some((row) => row.id === this.cursor)) this.drawPane();
        if (reply.trace.health !== "running") await this.diagnose();
      }
    } finally {
      this.refreshing = false;
    }
    if (this.again) this.refresh();
  }

  /** Once a second while something runs: bars grow. */
  tick() {
    if (!this.tree.running || this.paused || !this.list) return;
    this.span = Math.max(this.tree.end, this.now(), 0.001);
    this.drawLines();
  }

  close() {
    this.list?.close();
  }

  toggle(line) {
    const open = line ? this.isOpen(line) : null;
    if (open === null) return;
    this.tree.open.set(line.key, !open);
    this.drawLines();
  }
}

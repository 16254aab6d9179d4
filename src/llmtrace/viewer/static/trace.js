// One trace: suspects on top, its steps as waterfall or conversation, the chosen step beside.

import { chip, el, fill, hideTip, home, keysButton, quiet, say, showTip } from "./dom.js";
import { copyMenu } from "./copy.js";
import { conversationCard, rowTip, waterfallRow } from "./lines.js";
import { curveNode } from "./curve.js";
import { detail, spreadClasses } from "./detail.js";
import { UNKNOWN, clock, cost, lasted, plural, tokensOf } from "./format.js";
import { forgetColours, markWords } from "./json.js";
import { at, show } from "./moves.js";
import { note, placeText } from "./place.js";
import { isMarked, suspectStrip } from "./suspects.js";
import { Tree } from "./tree.js";
import { Page, VirtualList } from "./virtual.js";
import { waitingChip } from "./waiting.js";
import { axisNodes, follow, listenToWheel } from "./zoom.js";

const BATCH = 48;

const estimate = ({ row }) => (row ? { model: 130, tool: 96 }[row.kind] ?? 52 : 34);

export class TraceView extends Page {
  tree = new Tree();
  version = 0;
  trace; health; diagnosis;
  payloads = new Map();
  uses = new Map();
  executions = new Map();
  suspectAt = new Map();
  lit = new Set();
  spreading = false;
  spread;
  reached = new Map();
  above = new Set();
  found = new Set();
  focus = { span: "", pointer: "" };
  trail = [];
  cursor = "";
  suspect = -1;
  unfolded = new Map();
  chosen = false;
  paused = false;
  follows = false;
  waiting = false;
  hits = [];
  span = 1;
  lines = [];
  zoomed;

  constructor(app, data, id, query) {
    super(app, data);
    this.id = id;
    this.mode = query.get("view") === "c" ? "c" : "w";
    this.query = { span: query.get("span"), pointer: query.get("at") ?? "", words: query.get("q") ?? "" };
  }

  async open() {
    this.wait("trace", "reading the trace …");
    this.merge(await this.data.rows(this.id));
    this.id = this.trace?.id ?? this.id;
    this.build();
    await this.begin();
    if (this.query.words) this.search(this.query.words, !this.chosen);
    await new Promise((then) => setTimeout(then, 30)); // what is on the screen comes first
    await this.diagnose();
  }

  async diagnose() {
    this.diagnosed(await this.data.diagnosis(this.id).catch(() => null));
  }

  /** @param {Rows} reply */
  merge(reply) {
    this.version = reply.version;
    this.trace = reply.trace;
    this.health = reply.trace.health;
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
    this.head = el("header.top");
    this.suspectBox = el("section.suspects", { label: "Suspects" });
    this.axis = el("div.axis-line");
    this.rowsBox = el("div.rows", { role: "tree", tabindex: 0, label: "Steps" });
    this.curveBox = el("div.curve-box");
    this.pane = el("section.pane", { tabindex: 0, label: "The chosen step" });
    this.app.replaceChildren(this.head, this.suspectBox, el("main.panes", { label: "Trace" }, el("section.steps", { label: "Steps of the trace" }, this.axis, this.rowsBox, this.curveBox), this.pane));
    listenToWheel(this);
    this.listenToPointer();
    this.drawHead();
    this.drawSuspects();
    this.makeList();
  }

  /** Tooltips of steps. */
  listenToPointer() {
    let over;
    let soon = 0;
    const enter = (line, left) => {
      const row = line && this.row(line.id.slice("line-".length));
      if (row === over) return;
      over = row;
      hideTip();
      clearTimeout(soon);
      if (row) soon = setTimeout(() => { // whoever only passes reads the lines below
        const { top, bottom } = line.getBoundingClientRect();
        if (line.isConnected) showTip({ left, top, bottom }, rowTip(row));
      }, 400);
    };
    this.rowsBox.addEventListener("pointerover", (event) => enter(event.target.closest(".row"), event.clientX + 12));
    this.rowsBox.addEventListener("pointerleave", () => enter());
  }

  makeList() {
    this.list?.close();
    const cards = this.mode === "c";
    this.app.classList.toggle("conversing", cards);
    this.list = new VirtualList(this.rowsBox, {
      render: (at) => (cards ? conversationCard : waterfallRow)(this, this.lines[at]),
      estimate: (at) => (cards ? estimate(this.lines[at]) : innerHeight > 1700 ? 30 : 26),
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

  drawHead() {
    fill(this.head, traceHead(this));
  }

  drawSuspects() {
    fill(this.suspectBox, suspectStrip(this));
  }

  drawLines() {
    this.lines = this.tree.lines();
    fill(this.axis, this.mode === "w" && axisNodes(this));
    this.list?.reset(this.lines.length);
    fill(this.curveBox, this.mode === "w" && curveNode(this));
  }

  /** The cursor at first: where the address says, on the problem, else on the root. */
  async begin() {
    const problem = this.tree.problems[0];
    const first = this.tree.rows.has(this.query.span) ? this.query.span : problem?.id ?? this.tree.walked[0]?.id;
    this.chosen = first === this.query.span;
    this.rowsBox.focus({ preventScroll: true });
    if (first) await this.go(first, this.query.pointer, false);
  }

  diagnosed(diagnosis) {
    if (!diagnosis) return fill(this.suspectBox, quiet("This trace could not be diagnosed."));
    this.diagnosis = diagnosis;
    if (this.health !== diagnosis.health) { // a suspect marks the run
      this.health = diagnosis.health;
      this.drawHead();
    }
    const marked = diagnosis.suspects.filter(isMarked).slice(0, 9);
    this.tree.pin(marked.map((suspect) => this.row(suspect.span_id)));
    this.suspectAt = new Map(marked.map((suspect, at) => [suspect.span_id, at + 1]).reverse());
    this.drawLines();
    const [first] = marked;
    const place = !this.tree.problems.length && diagnosis.places[0];
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
    this.chosen ||= chosen;
    const row = this.row(key);
    if (row && this.focus.span !== key) this.focus = { span: key, pointer: "" };
    follow(this, row);
    const wasAbove = this.above;
    this.above = new Set(this.tree.path(row).map((up) => up.id));
    this.list.redraw(...wasAbove, ...this.above);
    this.list.move(before, at(this));
    if (this.suspect >= 0 || !this.diagnosis) this.drawSuspects();
    note(`trace/${this.id}`, { ...this.placeIn(row?.id, this.focus.pointer), q: this.query.words });
    return this.drawPane();
  }

  placeIn(span, pointer) {
    return { span, at: pointer, view: this.mode === "c" && "c" };
  }

  linkTo(span, pointer = "") {
    return placeText(`trace/${this.id}`, this.placeIn(span, pointer));
  }

  async drawPane() {
    const row = this.row(this.cursor);
    if (!row) return fill(this.pane, quiet(at(this) >= 0 ? "Repeated steps, folded. → or Enter opens them." : ""));
    const wanted = this.cursor;
    if (!this.payloads.has(row.id) || !this.uses.has(row.id)) {
      const wait = setTimeout(() => wanted === this.cursor && this.pane.classList.add("waiting"), 150);
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
      this.list.redraw(...before.keys(), ...this.reached.keys());
    }
    const samePlace = this.drawn === wanted;
    const top = this.pane.scrollTop;
    const held = this.pane.contains(document.activeElement) && document.activeElement;
    fill(this.pane, detail(this, row, payload));
    const link = samePlace && [...this.pane.querySelectorAll("a")].find((one) => one.href === held.href);
    if (held) (link || this.pane).focus({ preventScroll: true });
    this.pane.scrollTop = samePlace ? top : 0;
    this.drawn = wanted;
    forgetColours();
    const word = markWords(this.pane, this.query.words);
    if (!samePlace) word?.scrollIntoView({ block: "nearest" });
    if (this.focus.pointer) this.pane.querySelector("mark.origin")?.scrollIntoView({ block: "center" });
    if (!this.uses.has(row.id) && this.diagnosis) this.origins([row.id]).then(() => wanted === this.cursor && this.usesOf(row.id).length && this.drawPane());
  }

  async need(ids) {
    const missing = [...new Set(ids)].filter((id) => !this.payloads.has(id));
    for (let at = 0; at < missing.length; at += BATCH) {
      const reply = await this.data.payloads(this.id, missing.slice(at, at + BATCH));
      for (const [id, payload] of Object.entries(reply)) this.payloads.set(id, payload);
    }
    return this.payloads;
  }

  async origins(ids) {
    const reply = await this.data.origins(this.id, ids).catch(() => ({}));
    for (const id of ids) this.uses.set(id, reply[id] ?? []);
  }

  usesOf(id) {
    return this.uses.get(id) ?? [];
  }

  async fetch(lines) {
    const ids = lines.filter((line) => line.row && !this.payloads.has(line.row.id)).map((line) => line.row.id);
    if (!ids.length || this.fetching) return;
    this.fetching = true;
    await this.need(ids).catch(() => null);
    if (this.diagnosis) await this.origins(ids);
    this.fetching = false;
    this.list.redraw(...ids);
  }

  /** Spans that the pointer asks about are lit. */
  light(ids) {
    this.list.redraw(...this.lit, ...ids);
    this.lit = new Set(ids);
  }

  async search(words, jump = true) {
    this.query.words = words;
    const ids = words ? await this.data.search(this.id, words) : [];
    if (words !== this.query.words) return;
    this.found = new Set(ids);
    this.hits = this.tree.walked.filter((row) => this.found.has(row.id));
    this.list?.reset(this.lines.length);
    if (words) say(this.hits.length ? `in ${plural(this.hits.length, "step")}: n next, N previous` : "no step holds that");
    if (jump && this.hits.length) this.go(this.hits[0].id);
    else this.drawPane();
  }

  changed(traces) {
    if (traces && !traces.includes(this.id)) return;
    if (this.paused) this.waiting = true;
    else if (this.refreshing) this.again = true;
    else this.refresh();
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
        if (wasLast) this.go(this.tree.order.at(-1).id, "", false);
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

  toggle(line) {
    const open = line ? this.isOpen(line) : null;
    if (open === null) return;
    this.tree.open.set(line.key, !open);
    this.drawLines();
  }
}

/** What the trace is, how it went, what it lasted. */
function traceHead(view) {
  const { trace } = view;
  const errors = view.tree.problems.filter((row) => row.state !== "warning").length;
  const facts = [plural(trace.spans, "step"), lasted(trace), `${tokensOf(trace)} tokens`, cost(trace.cost), errors ? plural(errors, "error") : UNKNOWN, clock(trace.start)].filter((fact) => !fact.startsWith(UNKNOWN)).join(" · ");
  const search = el("input.search", { type: "search", placeholder: "Search this trace", label: "Search this trace", value: view.query.words, onchange: () => view.search(search.value.trim()) });
  const toggle = (mode, text) => el("button", { "aria-pressed": view.mode === mode, onclick: () => show(view, mode) }, text, el("kbd", mode));
  return [
    home(view.data.live),
    el("div.what", el("h1", { dir: "auto", title: trace.task ?? "" }, trace.task ?? trace.name),
      el("p.dim", { title: facts }, el(`span.health.${view.health}`, view.health), `${trace.agents.join(", ") || trace.name} · ${facts}`)),
    el("div.toggle", { role: "group", label: "View" }, toggle("w", "Waterfall "), toggle("c", "Conversation ")),
    search,
    view.data.live && trace.replayOf && el("a.chip", { href: `#compare/${trace.replayOf}/${view.id}`, title: "This run is a replay" }, "beside its recording"),
    view.paused && el("span.chip.on", "paused"),
    view.data.live && waitingChip(),
    chip("copy", () => copyMenu(view)),
    view.data.live && el("a.chip", { href: `/api/traces/${view.id}/page`, download: "" }, "export"),
    keysButton(),
  ];
}

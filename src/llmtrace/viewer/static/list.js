// The list of traces; filters, order and search are kept in the address.

import { chip, el, field, fill, keysButton } from "./dom.js";
import { ago, cost, count, lasted, minute, nameText, plural, someNames, tokensOf } from "./format.js";
import { go, note, placeText } from "./place.js";
import { PAGE, TablePage, cell } from "./virtual.js";
import { waitingChip } from "./waiting.js";

const MOST = 200; // rows in one answer
const HEALTHS = ["", "failed", "suspect", "recovered", "ok", "running"];
const HEADS = [["", "health"], ["task and answer"], ["agent"], ["found", "findings"], ["tokens", "tokens"], ["cost", "cost"], ["duration", "duration"], ["started", "age"]];

/** A trace as it is now. */
const signOf = (row) => `${row.id} ${row.spans} ${row.health} ${row.waits} ${row.findings}`;

/** Its rows are traces; or sessions, each with its turns after it. */
export class ListView extends TablePage {
  picked = new Set();
  suspicions = new Map();

  constructor(app, data, info, query) {
    super(app, data);
    this.info = info;
    this.filters = info.filters ?? [];
    this.query = Object.fromEntries(["text", "sort", "reverse", "sessions", "at", ...this.filters.map(({ name }) => name)].map((name) => [name, query.get(name) ?? ""]));
    document.title = "llmtrace";
  }

  async open() {
    this.build();
    note("", this.query);
    await this.load();
  }

  build() {
    const search = this.search = el("input.search", { type: "search", placeholder: "Search messages, arguments, results …", label: "Search traces", value: this.query.text, oninput: () => this.searched(search.value) });
    this.healths = el("div.filters", { role: "group", label: "Health" }, HEALTHS.map((health) => el(`button.chip.${health}`, { onclick: () => this.filter({ health }) }, health || "all")));
    this.notes = el("div.filters");
    this.compare = chip("compare", () => this.comparePicked(), { hidden: true });
    this.fresh = el("button.chip.on.fresh", { hidden: true, onclick: () => this.showNew() });
    this.sessions = chip("sessions", () => this.toggleSessions(), { title: "the turns of each conversation together" });
    this.panelButton = chip("filter", () => this.togglePanel(), { "aria-expanded": false });
    this.panelBox = el("section", { label: "Filter", hidden: true });
    this.heads = el("div.trace-row.heads");
    this.makeTable("Traces", 46, 78);
    this.app.className = "list";
    this.app.replaceChildren(
      el("header.top", el("h1.brand", "llmtrace"), el("span.dim.store", this.info.store), search, this.healths, this.panelButton, this.sessions, this.notes, this.compare,
        el("span.gap"), this.fresh, this.count, waitingChip(), el("a.chip", { href: "#/time" }, "over time"), el("a.chip", { href: "/issues" }, "issues"), keysButton()),
      this.panelBox,
      el("main.table", { label: "Traces" }, this.heads, this.box));
    this.drawFilters();
  }

  drawFilters() {
    for (const button of this.healths.children) button.ariaPressed = button.textContent === (this.query.health || "all");
    this.sessions.ariaPressed = Boolean(this.query.sessions);
    const names = this.filters.map(({ name }) => name).filter((name) => name !== "health" && this.query[name]);
    fill(this.notes, names.map((name) => {
      const value = this.query[name];
      const text = `${nameText(name)} ${/^\d{15,}$/.test(value) ? minute(value) : value}`;
      return el("button.chip.on", { label: `no longer only ${text}`, onclick: () => this.filter({ [name]: "" }) }, `${text} ×`);
    }));
    fill(this.heads, HEADS.map(([text, sort]) => {
      const sorted = (this.query.sort || "age") === sort;
      const arrow = sorted ? (this.query.reverse ? " ↑" : " ↓") : "";
      const label = text || "health";
      return el("span", sort ? el("button", { "aria-pressed": sorted, title: `sort by ${label}`, onclick: () => this.sort(sort) }, label + arrow) : text);
    }));
  }

  togglePanel() {
    const shown = this.panelBox.hidden;
    if (shown) fill(this.panelBox, filterPanel(this.data, this.filters, this.query, (change) => this.filter(change)));
    this.panelBox.hidden = !shown;
    this.panelButton.ariaExpanded = shown;
    (shown ? this.panelBox.querySelector("input, select") : this.box).focus();
  }

  /** Largest first; once more: smallest first. */
  sort(name) {
    const same = (this.query.sort || "age") === name;
    this.filter({ sort: name === "age" ? "" : name, reverse: same && !this.query.reverse ? "1" : "" });
  }

  toggleSessions() {
    this.filter({ sessions: this.query.sessions ? "" : "1" });
  }

  filter(changed) {
    Object.assign(this.query, { at: "" }, changed);
    note("", this.query);
    this.drawFilters();
    this.load();
  }

  searched(text) {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.filter({ text: text.trim() }), 120);
  }

  async fetch(limit, offset = 0) {
    if (!this.query.sessions) {
      const reply = await this.data.traces({ ...this.query, limit, offset });
      return { ...reply, rows: reply.traces.map((row) => ({ ...row, key: row.id })) };
    }
    const { sessions, undiagnosed } = await this.data.sessions({ ...this.query, limit: PAGE });
    const rows = sessions.flatMap((session, number) => {
      const turns = session.turns.map((row) => ({ ...row, key: `${number}-${row.id}` }));
      return [{ session, key: `session-${number}`, start: turns.at(-1).start }, ...turns];
    });
    return { rows, undiagnosed };
  }

  async load(keep = false) {
    const asked = ++this.asked;
    const before = keep ? this.rows[this.cursor]?.id : this.query.at;
    const began = performance.now();
    const found = await this.fetch(before ? MOST : PAGE);
    if (asked !== this.asked) return;
    this.took = performance.now() - began;
    this.more = found.more;
    this.fresh.hidden = true;
    this.put(found.rows, before);
    if (!keep) this.list.show(this.cursor);
    if (found.undiagnosed) {
      this.count.textContent += `, ${count(found.undiagnosed)} not diagnosed yet`;
      this.soon = setTimeout(() => this.load(true), 50);
    }
  }

  /** News: what is shown is brought up to date in its place; new traces wait. */
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
      this.list.redraw(row.key);
    });
    if (!found.more && !this.query.sessions && this.rows.length <= limit && this.rows.some((row) => !now.has(row.id))) { // no longer matches
      this.put(this.rows.filter((row) => now.has(row.id)), this.rows[this.cursor]?.id);
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

  countWords(number) {
    return this.query.text ? `found in ${Math.round(this.took ?? 0)} ms` : number === 1 ? "trace" : "traces";
  }

  glance(first, last, wait = 60) {
    clearTimeout(this.glanceSoon);
    const soon = this.glanceSoon = setTimeout(async () => {
      const isNew = (row) => !this.suspicions.has(signOf(row));
      const wanted = this.rows.slice(first, last).filter((row) => row.id && row.health !== "running" && isNew(row));
      for (let at = 0; at < wanted.length; at += 8) {
        const some = wanted.slice(at, at + 8);
        const reply = await this.data.suspicions(some.map((row) => row.id)).catch(() => ({}));
        for (const row of some) {
          if (row.id in reply) this.suspicions.set(signOf(row), reply[row.id]);
          if (reply[row.id]) this.list.redraw(row.key);
        }
      }
      if (soon === this.glanceSoon && this.box.isConnected && wanted.some(isNew)) this.glance(first, last, 1000);
    }, wait);
  }

  emptyWords() {
    const set = Object.entries(this.query).filter(([name, value]) => value && !["sort", "reverse", "at"].includes(name));
    if (set.length) return [el("p", this.query.sessions ? "No trace that matches belongs to a conversation." : "No trace matches this."), chip("show all", () => { this.search.value = ""; this.filter(Object.fromEntries(set.map(([name]) => [name, ""]))); })];
    return [el("h2", `No traces yet in ${this.info.store}`), el("p", "Run ", el("code", "llmtrace demo"), " or ", el("code", "llmtrace run agent.py"), ": traces appear here as they happen."),
      this.info.receive ? el("p", "Programs in any language may send spans: ", el("code", `OTEL_EXPORTER_OTLP_ENDPOINT=${this.info.receive}`)) : el("p", el("code", "llmtrace view --receive"), " takes spans by OTLP from programs in any language.")];
  }

  row(at) {
    const row = this.rows[at];
    const shown = row.session ?? row;
    const suspicion = this.suspicions.get(signOf(row));
    const found = suspicion ? suspicion.title + (suspicion.confidence === "error" ? "" : ` (${suspicion.confidence})`) : someNames(row.findings ?? []);
    const word = suspicion?.health ?? shown.health;
    const health = row.waits ? cell("health running", "waits") : cell(`health ${word}`, word);
    const [href, title, below] = row.session
      ? [placeText("", { conversation: shown.conversation }), `conversation ${shown.conversation}`, plural(shown.turns.length, "turn")]
      : [this.placeOf(row), row.task ?? row.name, row.answer ?? (row.health === "running" ? "…" : "")];
    return el("div", this.common(at, `trace-row ${word}${row.session ? " session" : ""}${this.picked.has(row.id) ? " picked" : ""}`, `trace-${row.key}`),
      health, el("span.said", { role: "gridcell", dir: "auto" }, el("a", { href, tabindex: -1 }, title), below),
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

  pick(at) {
    const { id, key } = this.rows[at] ?? {};
    if (!id) return;
    if (!this.picked.delete(id)) this.picked.add(id);
    if (this.picked.size > 2) this.picked.delete([...this.picked][0]);
    this.compare.hidden = this.picked.size !== 2;
    this.list.redraw(key);
  }

  comparePicked() {
    const [a, b] = this.rows.filter((row) => this.picked.has(row.id)).sort((one, other) => one.start - other.start);
    if (a && b) go(`compare/${a.id}/${b.id}`);
  }

  key(event) {
    if (super.key(event)) return true;
    const { key } = event;
    if (key === "x") this.pick(this.cursor);
    else if (key === "c" && this.picked.size === 2) this.comparePicked();
    else if (key === "t") go("time");
    else if (key === "r") go("reviews");
    else if (key === "f") this.filter({ health: HEALTHS[(HEALTHS.indexOf(this.query.health) + 1) % HEALTHS.length] });
    else if (key === "i" || (key === "Escape" && !this.panelBox.hidden)) this.togglePanel();
    else if (key === "s") this.toggleSessions();
    else if (key === "n" && !this.fresh.hidden) this.showNew();
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

  reviewed() {
    this.changed();
  }

  close() {
    super.close();
    for (const wait of [this.soon, this.typing, this.glanceSoon]) clearTimeout(wait);
  }
}

/** One field for each filter that the server names; `changed` is called with each value once it is chosen. */
function filterPanel(data, filters, query, changed) {
  return el("form.panel.filter-panel", { label: "Filters", onsubmit: (event) => event.preventDefault() }, filters.map(({ name, help, metavar, choices }) => {
    const common = { id: `filter-${name}`, name, title: `only traces ${help}`, onchange: (event) => changed({ [name]: event.target.value.trim() }) };
    const list = metavar === "NAME" && el("datalist", { id: `names-${name}` });
    const offer = () => data.names(name).then((names) => fill(list, names.map((value) => el("option", { value })))).catch(() => null);
    const node = choices.length
      ? el("select", common, ["", ...choices].map((value) => el("option", { value }, value || "any")))
      : el("input", { ...common, type: "text", autocomplete: "off", ...list ? { list: list.id, onfocus: offer } : { placeholder: metavar.toLowerCase() } });
    node.value = query[name] ?? "";
    return field(nameText(name), node, list);
  }));
}

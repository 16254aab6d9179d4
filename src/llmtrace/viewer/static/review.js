// One call that waits for a person: what would run, where its values came from, what is wrong with its run so far; and the decision.

import { dim, el, fill, home, keysButton, lazySection, quiet, say, textField } from "./dom.js";
import { ago, argumentName, jsonText } from "./format.js";
import { decisionNode, differenceNode, heldNode, visible, visibleText } from "./decisions.js";
import { makeForm } from "./fields.js";
import { block, jsonPieces, names, parsed, segment } from "./json.js";
import { placeOf } from "./marks.js";
import { go, placeText } from "./place.js";
import { leftText, stateClass, stateText } from "./reviews.js";
import { confidenceText } from "./suspects.js";
import { waitingChip } from "./waiting.js";

const OPEN = ["proposed", "approved", "started"]; // more comes
const NAME = "llmtrace.reviewer";

/** Who decides, as this browser remembers; empty: the user of the viewer's process. */
function reviewer() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

const isWithin = (pointer, place) => pointer === place || pointer.startsWith(`${place}/`);

export class ReviewView {
  review = /** @type {any} */ (null);
  run = /** @type {any} */ (null); // what its run tells of it
  panel = "";
  form = /** @type {any} */ (null);
  next = /** @type {any} */ (null);
  ticks = 0;

  /** @param {HTMLElement} app */
  constructor(app, data, id) {
    this.app = app;
    this.data = data;
    this.id = id;
  }

  async open() {
    this.app.className = "reviewing";
    this.app.replaceChildren(el("p", { class: "quiet loading", role: "status", text: "reading the review …" }));
    this.review = await this.data.review(this.id, { brief: "1" });
    this.id = this.review.id;
    document.title = `${this.review.question} · review · llmtrace`;
    this.head = el("header", { class: "top" });
    this.box = el("main", { class: "review", tabindex: "-1", "aria-label": "Review" });
    this.bar = el("footer", { class: "actions" });
    this.outcome = el("div", { class: "outcome", role: "status" });
    this.alert = el("p", { class: "gone", role: "alert", hidden: true });
    this.panelBox = el("div", {});
    this.held = el("section", { class: "part", "aria-label": "What would run" });
    this.aside = el("aside", { "aria-label": "The run so far" });
    this.box.replaceChildren(el("div", { class: "review-main" }, this.outcome, this.held), this.aside);
    this.app.replaceChildren(this.head, this.box, el("div", { class: "dock" }, this.alert, this.panelBox), this.bar);
    this.draw();
    this.drawHeld();
    this.box.focus({ preventScroll: true });
    this.run = await this.data.review(this.id, {}).catch((error) => ({ uses: [], suspects: [], unread: String(error.message) }));
    this.drawHeld();
  }

  // -- what is shown

  get isOpen() {
    return this.review.state === "proposed" && !this.review.problem;
  }

  draw() {
    const { review } = this;
    this.left = el("span", { text: review.state === "proposed" ? ` · ${leftText(review)}` : "" });
    const waits = review.state !== "proposed" ? "" : review.alive ? " · its program waits" : " · its program has ended";
    fill(this.head, home(),
      el("div", { class: "what" }, el("h1", { dir: "auto", text: visibleText(review.question) }),
        el("p", { class: "dim" }, el("span", { class: `state ${stateClass(review)}`, text: stateText(review) }), ` ${review.tool === null ? "question" : "tool call"} · asked ${ago(review.asked)}`, this.left, waits)),
      waitingChip(true), keysButton());
    fill(this.outcome, this.outcomeNodes());
    this.drawBar();
  }

  outcomeNodes() {
    const { review } = this;
    const decided = review.decision ? decisionNode(review.tool ?? "", review.payload, { kind: review.decision, by: review.by, at: review.at, note: review.note, value: review.value }, "h2") : null;
    const always = Object.entries(review.always);
    const text = {
      proposed: review.alive ? "" : "Its program has ended. What is decided counts when it is resumed.",
      approved: "It runs as soon as its program goes on.", started: "It runs …",
      failed: "It ran, and failed.", withdrawn: "The program stopped waiting. Nothing ran.", timed_out: "Nothing ran.", unattended: "Nothing ran.", rejected: "Nothing ran. The model is told.", answered: "The tool does not run.",
      in_doubt: "The program died while this ran. Whether it took effect is not known. It does not run again unless you say that it did not.",
    }[review.state];
    return [
      review.problem ? el("p", { class: "gone", text: review.problem }) : null,
      decided,
      ["proposed", "approved"].includes(review.state) && !review.alive && review.trace && Date.now() - (review.at ?? 0) > 3e3 ? el("p", { class: "dim" }, "To go on with a program that has ended: ", el("code", { text: `llmtrace review resume ${review.id} -- COMMAND` })) : null,
      always.length ? dim(`Later calls of ${review.tool} in this run are approved with ${always.map(([name, value]) => visibleText(`${argumentName(name)}=${jsonText(value)}`)).join(", ")}.`) : null,
      review.state === "done" ? el("section", { class: "part", "aria-label": "Result" }, el("h3", { text: "It ran. Result" }), block(jsonPieces(parsed(review.result)), { cls: "code result" })) : text ? el("p", { class: review.state === "in_doubt" ? "gone" : "", text }) : null,
    ];
  }

  /** What would run, value by value, each with its origin. */
  drawHeld() {
    const { review } = this;
    const isCall = review.payload && typeof review.payload === "object" && !Array.isArray(review.payload);
    const rows = isCall && review.tool !== null ? Object.entries(review.payload).map(([name, value]) => this.valueNode(name, value, segment(name))) : null;
    fill(this.held,
      review.reason ? el("p", { class: "held-for" }, el("b", { text: "Held because " }), visibleText(review.reason)) : null,
      review.hidden.length ? el("p", { class: "gone", text: review.tool === null ? "What is marked as hidden is not shown as it is." : "What is marked as hidden is not shown as it is: what runs is not what is shown. An approval counts for the real values." }) : null,
      rows ? el("dl", { class: "values" }, rows) : review.payload === null ? null : [heldNode(review.tool, review.payload), this.notes("")]);
    const { run } = this;
    fill(this.aside,
      el("h2", { text: "The run so far" }),
      review.agent ? el("p", {}, el("b", { text: review.agent }), review.task ? ` ${review.task}` : "") : null,
      review.trace ? el("p", {}, el("a", { href: placeText(`trace/${review.trace}`, { span: review.span }), text: "open its trace here" }), " ", el("kbd", { text: "t" })) : dim("The run is not recorded."),
      !run ? quiet("looking for suspects …", "looking") : run.unread ? quiet(run.unread) : run.suspects.length
        ? el("ul", { class: "findings" }, run.suspects.slice(0, 9).map((suspect) => el("li", { class: suspect.confidence === "certain" ? "error" : "warning" },
          el("a", { href: placeText(`trace/${review.trace}`, { span: suspect.span_id }) }, el("b", { text: suspect.title })), ` ${confidenceText(suspect)}`, el("span", { class: "more-of", text: suspect.evidence }))))
        : quiet("No suspect so far."),
      review.schema ? lazySection(review.tool === null ? "Schema of the answer" : "Schema of the arguments", () => block(visible(jsonPieces(review.schema)))) : null,
      lazySection("Digest", () => el("p", { class: "dim" }, el("code", { text: review.digest }), " of what would run, before redaction: a decision counts for this only.")));
  }

  valueNode(name, value, pointer) {
    const doubt = this.review.origins.some((origin) => isWithin(origin.pointer, pointer));
    const long = typeof value === "string" && value.includes("\n");
    return el("div", { class: doubt ? "doubtful" : "" }, el("dt", { text: visibleText(name) }),
      el("dd", {}, block(visible(long ? [{ text: value }] : jsonPieces(value)), { cls: long ? "text" : "code" }), this.notes(pointer)));
  }

  /** Where the values at and below a pointer came from, in words. */
  notes(pointer) {
    const { review, run } = this;
    const inside = (one) => isWithin(one.pointer, pointer);
    const hidden = review.hidden.filter((place) => isWithin(place, pointer) || isWithin(pointer, place));
    const where = (place) => (place === pointer ? "" : `${place.slice(pointer.length)}: `);
    const line = (cls, ...words) => el("li", { class: cls }, words.map((word) => (typeof word === "string" ? visibleText(word) : word)));
    const trace = (span, at = "") => placeText(`trace/${review.trace}`, { span, at });
    const doubts = review.origins.filter(inside);
    const known = (run?.uses ?? []).filter((use) => inside(use) && !doubts.some((origin) => origin.pointer === use.pointer) && !hidden.some((place) => isWithin(use.pointer, place)));
    const lines = [
      ...hidden.map((place) => line("hidden-note", `${isWithin(place, pointer) ? where(place) : ""}hidden: what runs is not what is shown`)),
      ...doubts.map((origin) => line("doubt", el("b", { text: visibleText(`${where(origin.pointer)}${origin.status}: `) }), origin.text, origin.span ? [" ", el("a", { href: trace(origin.span), text: "where it stands" })] : null)),
      ...known.map((use) => {
        const origin = use.from ?? use.first;
        if (use.status === "grounded" && origin) return line("grounded", `${where(use.pointer)}comes from `, el("a", { href: trace(origin.span, placeOf(origin)), text: `${origin.place}${origin.pointer ? ` ${origin.pointer}` : ""}` }), use.step && !origin.place.includes(use.step) ? ` (${use.step})` : "");
        if (use.status === "ungrounded") return line("doubt", el("b", { text: `${where(use.pointer)}ungrounded: ` }), "in no message and no result before", origin && !use.first_ungrounded ? [", first in ", el("a", { href: trace(origin.span), text: origin.place })] : "");
        return line("dim", `${where(use.pointer)}origin unknown${use.reason ? `: ${use.reason}` : ""}`);
      }),
    ];
    if (!lines.length && run && !run.unread && review.tool !== null) lines.push(line("dim", "origin not traced: such a value may stand anywhere"));
    return el("ul", { class: "origins" }, lines);
  }

  drawBar() {
    const { review } = this;
    const action = (key, text, cls = "") => el("button", { class: `chip ${cls}`, "aria-pressed": String(this.panel === text.split(" ")[0].toLowerCase()), onclick: () => this.start(key) }, text, " ", el("kbd", { text: key }));
    const deciding = el("span", { class: "dim" }, "deciding as ", el("button", { class: "more", text: reviewer() || review.user || "nobody", title: "change the name", onclick: () => this.openPanel("name") }));
    fill(this.bar,
      this.isOpen ? [action("a", "Approve", "ok"), review.tool === null ? null : action("e", "Edit"), action("r", "Reject", "bad"), action("i", review.tool === null ? "Answer" : "Answer instead")] : null,
      review.state === "in_doubt" && !review.problem ? [el("button", { class: "chip", text: "It took effect", onclick: () => this.settle(true) }), el("button", { class: "chip", text: "It did not: it may run once more", onclick: () => this.settle(false) })] : null,
      el("span", { class: "gap" }), this.isOpen || review.state === "in_doubt" ? deciding : null,
      this.next ? el("a", { class: "chip on", href: `#/reviews/${this.next.id}` }, `Next: ${visibleText(this.next.question)} `, el("kbd", { text: "n" })) : el("a", { class: "chip", href: "#/reviews" }, "Queue ", el("kbd", { text: "u" })));
  }

  // -- deciding

  start(key) {
    const panel = { a: "approve", e: "edit", r: "reject", i: "answer" }[key];
    if (!panel || (panel === "edit" && this.review.tool === null)) return false;
    if (!this.isOpen) say(this.review.problem || `it does not wait any more: ${stateText(this.review)}`);
    else this.openPanel(panel);
    return true;
  }

  openPanel(panel, keep = false) {
    this.panel = panel;
    if (!keep) this.form = null;
    this.complain("");
    const content = { approve: () => this.approvePanel(), edit: () => this.editPanel(), confirm: () => this.confirmPanel(), reject: () => this.rejectPanel(), answer: () => this.answerPanel(), name: () => this.namePanel() }[panel]?.();
    fill(this.panelBox, content ?? null);
    this.drawBar();
    if (!content) return this.box.focus({ preventScroll: true });
    return (content.querySelector("[data-first]") ?? content.querySelector("input, textarea, select") ?? content.querySelector("button"))?.focus();
  }

  /** A form whose first button does it, and whose second leaves it. */
  formNode(title, submit, text, content, back = () => this.openPanel("")) {
    return el("form", { class: "panel", "aria-label": title, onsubmit: (event) => { event.preventDefault(); submit(); } },
      el("h3", { text: title }), content,
      el("p", { class: "buttons" }, el("button", { class: "chip on", type: "submit", "data-first": this.panel === "approve" || this.panel === "confirm", text }), el("button", { class: "chip", type: "button", text: "Back", onclick: back })));
  }

  reasonField(label) {
    return textField("reason", label, (this.reason ??= ""), (text) => { this.reason = text; });
  }

  approvePanel() {
    const { review } = this;
    const chosen = new Set();
    const members = review.tool !== null && review.payload && typeof review.payload === "object" && !Array.isArray(review.payload) ? Object.entries(review.payload) : [];
    const shown = members.filter(([name]) => !review.hidden.some((place) => place === "" || names(place)[0] === name));
    const boxes = shown.map(([name, value]) => el("label", { class: "check" }, el("input", { type: "checkbox", onchange: (event) => (event.target.checked ? chosen.add(name) : chosen.delete(name)) }), el("code", { text: visibleText(`${argumentName(name)}=${jsonText(value)}`) })));
    return this.formNode(review.tool === null ? "Yes" : "Let it run as it is shown", () => this.send({ action: "approve", always: [...chosen] }), "Approve", [
      this.reasonField("Why (may be left out)"),
      boxes.length ? el("details", { class: "section" }, el("summary", { text: "Approve later calls, too" }), el("fieldset", {}, el("legend", { text: `Later calls of ${review.tool} in this run are approved if they have the same` }), boxes)) : null,
    ]);
  }

  editPanel() {
    const { review } = this;
    this.form ??= makeForm(review.schema, review.payload, review.hidden);
    return this.formNode("Let it run with other arguments", () => this.showDifference(), "Show the difference", this.form.nodes);
  }

  showDifference() {
    try {
      this.text = this.form.text();
    } catch {
      return;
    }
    this.openPanel("confirm", true);
  }

  confirmPanel() {
    const { review } = this;
    const same = jsonText(parsed(this.text)) === jsonText(review.payload);
    return this.formNode("Run this instead", () => this.send({ action: "edit" }, this.text), "Run with these arguments", [
      same ? el("p", { class: "gone", text: "Nothing is different: this approves the call as it is." }) : null,
      differenceNode(review.tool, review.payload, parsed(this.text)),
      this.reasonField("Why (the model is told what was changed)"),
    ], () => this.openPanel("edit", true));
  }

  rejectPanel() {
    return this.formNode(this.review.tool === null ? "No" : "Do not let it run", () => this.send({ action: "reject" }), "Reject", [this.reasonField(this.review.tool === null ? "Why (may be left out)" : "Why (the model is told, and not to try again)")]);
  }

  answerPanel() {
    const { review } = this;
    const title = review.tool === null ? "Answer" : "Answer in the tool's place: it does not run";
    if (review.tool === null && review.schema) {
      this.form ??= makeForm(review.schema, undefined);
      return this.formNode(title, () => this.sendAnswer(() => this.form.text()), "Answer", this.form.nodes);
    }
    const area = el("textarea", { id: "answer", rows: 4, "aria-label": "Answer" });
    const asJson = el("input", { type: "checkbox" });
    return this.formNode(title, () => this.sendAnswer(() => (asJson.checked ? JSON.stringify(JSON.parse(area.value)) && area.value : JSON.stringify(area.value))), "Answer", [area, el("label", { class: "check" }, asJson, "it is JSON, not text")]);
  }

  sendAnswer(read) {
    try {
      this.send({ action: "answer" }, read());
    } catch (error) {
      this.complain(`This is not JSON: ${/** @type {Error} */ (error).message}`);
    }
  }

  namePanel() {
    let name = reviewer();
    return this.formNode("Who decides here", () => {
      try {
        localStorage.setItem(NAME, name.trim());
      } catch { /* not remembered */ }
      this.openPanel("");
    }, "Keep", [textField("name", `Your name; empty: ${this.review.user || "nobody"}, the user who runs the viewer`, name, (text) => { name = text; })]);
  }

  settle(happened) {
    this.send({ action: "settle", happened });
  }

  /** @param {any} wish @param {string=} value JSON text, sent as it is */
  async send(wish, value) {
    if (this.sending) return;
    this.sending = true;
    const { digest, id } = this.review;
    const text = JSON.stringify({ ...wish, digest, reason: this.reason ?? "", by: reviewer() });
    const reply = await this.data.decide(id, value === undefined ? text : `${text.slice(0, -1)}, "value": ${value}}`).catch((error) => ({ error: error.message, kind: "network", faults: [] }));
    this.sending = false;
    if (!reply.error) return this.decided(reply);
    if (reply.kind === "invalid" && this.form) {
      if (this.panel === "confirm") this.openPanel("edit", true);
      const others = this.form.blame(reply.faults);
      return this.complain(reply.faults.length && !others.length ? "The schema does not allow this." : reply.error);
    }
    await this.refresh();
    this.openPanel("");
    return this.complain(reply.error);
  }

  complain(text) {
    this.alert.textContent = text;
    this.alert.hidden = !text;
  }

  async decided(review) {
    this.review = review;
    this.ticks = 0;
    this.reason = "";
    this.openPanel("");
    this.draw();
    say(stateText(review));
    await this.findNext();
  }

  async findNext() {
    const found = await this.data.reviews({ limit: 2 }).catch(() => ({ reviews: [] }));
    this.next = found.reviews.find((one) => one.id !== this.id) ?? null;
    this.drawBar();
  }

  // -- news

  async refresh() {
    const before = this.review;
    const now = await this.data.review(this.id, { brief: "1" }).catch(() => null);
    if (!now) return;
    this.review = now;
    if (now.state === before.state && now.alive === before.alive && now.problem === before.problem) return;
    this.draw();
    if (before.state === "proposed" && now.state !== "proposed") {
      if (this.panel) {
        this.openPanel("");
        this.complain(`Somebody else was first: ${stateText(now)}${now.by ? ` by ${now.by}` : ""}.`);
      }
      this.findNext();
    }
  }

  reviewed() {
    if (!this.sending) this.refresh();
  }

  tick() {
    if (!this.left) return;
    this.left.textContent = this.review.state === "proposed" ? ` · ${leftText(this.review)}` : "";
    this.ticks += 1;
    if (this.ticks === 5 && this.review.state === "approved") fill(this.outcome, this.outcomeNodes());
    if (this.ticks % 5 === 0 && OPEN.includes(this.review.state) && !this.sending) this.refresh(); // its program may have died
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape" && this.panel) this.openPanel(this.panel === "confirm" ? "edit" : "", this.panel === "confirm");
    else if (["u", "Escape"].includes(event.key)) go("reviews");
    else if (event.key === "t" && this.review.trace) go(`trace/${this.review.trace}`, { span: this.review.span });
    else if (event.key === "n") this.findNext().then(() => (this.next ? go(`reviews/${this.next.id}`) : say("nothing else waits")));
    else return this.start(event.key);
    return true;
  }

  close() {}
}

// One call that waits for a person, and the decision.

import { chip, dim, el, fill, lazySection, link, pageHead, quiet, say, textField } from "./dom.js";
import { ago, argumentName, isObject, jsonText } from "./format.js";
import { decisionNode, differenceNode, heldNode, visible, visibleText } from "./decisions.js";
import { makeForm } from "./fields.js";
import { block, jsonBlock, jsonPieces, names, parsed, segment } from "./json.js";
import { placeOf } from "./marks.js";
import { go, placeText } from "./place.js";
import { leftText, stateClass, stateText } from "./reviews.js";
import { confidenceText } from "./suspects.js";
import { Page } from "./virtual.js";
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

const argumentText = ([name, value]) => visibleText(`${argumentName(name)}=${jsonText(value)}`);
const isWithin = (pointer, place) => pointer === place || pointer.startsWith(`${place}/`);

export class ReviewView extends Page {
  review; left; // how long is left, once it is read
  run; // what its run tells of it
  panel = "";
  form; next;
  ticks = 0;

  constructor(app, data, id) {
    super(app, data);
    this.id = id;
  }

  async open() {
    this.wait("reviewing", "reading the review …");
    this.review = await this.data.review(this.id, { brief: "1" });
    this.id = this.review.id;
    this.digest = this.review.digest; // of what is shown, whatever comes later
    document.title = `${this.review.question} · review · llmtrace`;
    this.head = el("header.top");
    this.box = el("main.review", { tabindex: "-1", label: "Review" });
    this.bar = el("footer.actions");
    this.outcome = el("div.outcome", { role: "status" });
    this.alert = el("p.gone", { role: "alert", hidden: true });
    this.panelBox = el("div");
    this.held = el("section.part", { label: "What would run" });
    this.aside = el("aside", { label: "The run so far" });
    this.box.replaceChildren(el("div.review-main", this.outcome, this.held), this.aside);
    this.app.replaceChildren(this.head, this.box, el("div.dock", this.alert, this.panelBox), this.bar);
    this.draw();
    this.drawHeld();
    this.box.focus({ preventScroll: true });
    this.run = await this.data.review(this.id, {}).catch((error) => ({ uses: [], suspects: [], unread: String(error.message) }));
    this.drawHeld();
  }

  // -- what is shown

  get isQuestion() {
    return this.review.tool === null;
  }

  /** Names and values of a tool call's arguments; of anything else null. */
  get callArguments() {
    const { payload } = this.review;
    return !this.isQuestion && isObject(payload) ? Object.entries(payload) : null;
  }

  get isOpen() {
    return this.review.state === "proposed" && !this.review.problem;
  }

  draw() {
    const { review } = this;
    this.left = el("span");
    const waits = review.state === "proposed" && (review.alive ? " · its program waits" : " · its program has ended");
    fill(this.head, pageHead(visibleText(review.question), [el(`span.state.${stateClass(review)}`, stateText(review)), ` ${this.isQuestion ? "question" : "tool call"} · asked ${ago(review.asked)}`, this.left, waits], waitingChip()));
    this.drawLeft();
    fill(this.outcome, this.outcomeNodes());
    this.drawBar();
  }

  drawLeft() {
    this.left.textContent = this.review.state === "proposed" ? ` · ${leftText(this.review)}` : "";
  }

  outcomeNodes() {
    const { review } = this;
    const always = Object.entries(review.always);
    return [
      review.problem && el("p.gone", review.problem),
      review.decision && decisionNode(review.tool ?? "", review.payload, { ...review, kind: review.decision }, "h2"),
      ["proposed", "approved"].includes(review.state) && !review.alive && review.trace && Date.now() - (review.at ?? 0) > 3e3 && el("p.dim", "To go on with a program that has ended: ", el("code", `llmtrace review resume ${review.id} -- COMMAND`)),
      always.length ? dim(`Later calls of ${review.tool} in this run are approved with ${always.map(argumentText).join(", ")}.`) : null,
      review.state === "done" ? el("section.part", { label: "Result" }, el("h3", "It ran. Result"), jsonBlock(parsed(review.result), {}, "code result")) : el(review.state === "in_doubt" ? "p.gone" : "p", review.outcome),
    ];
  }

  drawHeld() {
    const { review, run } = this;
    const rows = this.callArguments?.map(([name, value]) => this.valueNode(name, value, segment(name)));
    fill(this.held,
      review.reason && el("p.held-for", el("b", "Held because "), visibleText(review.reason)),
      review.hidden.length ? el("p.gone", `What is marked as hidden is not shown as it is${this.isQuestion ? "." : ": what runs is not what is shown. An approval counts for the real values."}`) : null,
      rows ? el("dl.values", rows) : review.payload !== null && [heldNode(review.tool, review.payload), this.notes("")]);
    fill(this.aside,
      el("h2", "The run so far"),
      review.agent && el("p", el("b", review.agent), review.task ? ` ${review.task}` : ""),
      review.trace ? el("p", link(placeText(`trace/${review.trace}`, { span: review.span }), "open its trace here"), " ", el("kbd", "t")) : dim("The run is not recorded."),
      !run ? quiet("looking for suspects …", "looking") : run.unread ? quiet(run.unread) : run.suspects.length
        ? el("ul.findings", run.suspects.slice(0, 9).map((suspect) => el("li", { class: suspect.confidence === "certain" ? "error" : "warning" },
          link(placeText(`trace/${review.trace}`, { span: suspect.span_id }), el("b", suspect.title)), ` ${confidenceText(suspect)}`, el("span.more-of", suspect.evidence))))
        : quiet("No suspect so far."),
      review.schema && lazySection(`Schema of the ${this.isQuestion ? "answer" : "arguments"}`, () => block(visible(jsonPieces(review.schema)))),
      lazySection("Digest", () => el("p.dim", el("code", review.digest), " of what would run, before redaction: a decision counts for this only.")));
  }

  valueNode(name, value, pointer) {
    const isDoubtful = this.review.origins.some((origin) => isWithin(origin.pointer, pointer));
    const long = typeof value === "string" && value.includes("\n");
    return el(isDoubtful ? "div.doubtful" : "div", el("dt", visibleText(name)),
      el("dd", block(visible(long ? [{ text: value }] : jsonPieces(value)), { cls: long ? "text" : "code" }), this.notes(pointer)));
  }

  notes(pointer) {
    const { review, run } = this;
    const hidden = review.hidden.filter((place) => isWithin(place, pointer) || isWithin(pointer, place));
    const where = (place) => (place === pointer ? "" : `${place.slice(pointer.length)}: `);
    const line = (cls, ...words) => el("li", { class: cls }, words.map((word) => (typeof word === "string" ? visibleText(word) : word)));
    const trace = (span, at = "") => placeText(`trace/${review.trace}`, { span, at });
    const doubts = review.origins.filter((origin) => isWithin(origin.pointer, pointer));
    const known = (run?.uses ?? []).filter((use) => isWithin(use.pointer, pointer) && !doubts.some((origin) => origin.pointer === use.pointer) && !hidden.some((place) => isWithin(use.pointer, place)));
    const lines = [
      ...hidden.map((place) => line("hidden-note", `${isWithin(place, pointer) ? where(place) : ""}hidden: what runs is not what is shown`)),
      ...doubts.map((origin) => line("doubt", el("b", visibleText(`${where(origin.pointer)}${origin.status}: `)), origin.text, origin.span && [" ", link(trace(origin.span), "where it stands")])),
      ...known.map((use) => {
        const origin = use.from ?? use.first;
        if (use.status === "grounded" && origin) return line("grounded", `${where(use.pointer)}comes from `, link(trace(origin.span, placeOf(origin)), `${origin.place}${origin.pointer ? ` ${origin.pointer}` : ""}`), use.step && !origin.place.includes(use.step) ? ` (${use.step})` : "");
        if (use.status === "ungrounded") return line("doubt", el("b", `${where(use.pointer)}ungrounded: `), "in no message and no result before", origin && !use.first_ungrounded ? [", first in ", link(trace(origin.span), origin.place)] : "");
        return line("dim", `${where(use.pointer)}origin unknown${use.reason ? `: ${use.reason}` : ""}`);
      }),
    ];
    if (!lines.length && run && !run.unread && !this.isQuestion) lines.push(line("dim", "origin not traced: such a value may stand anywhere"));
    return el("ul.origins", lines);
  }

  drawBar() {
    const { review } = this;
    const action = (key, text, cls = "") => el(`button.chip.${cls}`, { "aria-pressed": this.panel === text.split(" ")[0].toLowerCase(), onclick: () => this.start(key) }, text, " ", el("kbd", key));
    const inDoubt = review.state === "in_doubt";
    const settle = (text, happened) => chip(text, () => this.send({ action: "settle", happened }));
    fill(this.bar,
      this.isOpen && [action("a", "Approve", "ok"), !this.isQuestion && action("e", "Edit"), action("r", "Reject", "bad"), action("i", this.isQuestion ? "Answer" : "Answer instead")],
      inDoubt && !review.problem && [settle("It took effect", true), settle("It did not: it may run once more", false)],
      el("span.gap"), (this.isOpen || inDoubt) && el("span.dim", "deciding as ", el("button.more", { title: "change the name", onclick: () => this.openPanel("name") }, reviewer() || review.user || "nobody")),
      this.next ? el("a.chip.on", { href: `#/reviews/${this.next.id}` }, `Next: ${visibleText(this.next.question)} `, el("kbd", "n")) : el("a.chip", { href: "#/reviews" }, "Queue ", el("kbd", "u")));
  }

  // -- deciding

  start(key) {
    const panel = { a: "approve", e: "edit", r: "reject", i: "answer" }[key];
    if (!panel || (panel === "edit" && this.isQuestion)) return false;
    if (!this.isOpen) say(this.review.problem || `it does not wait any more: ${stateText(this.review)}`);
    else this.openPanel(panel);
    return true;
  }

  openPanel(panel, keep = false) {
    this.panel = panel;
    if (!keep) this.form = null;
    this.complain("");
    const content = this[`${panel}Panel`]?.();
    fill(this.panelBox, content);
    this.drawBar();
    if (!content) return this.box.focus({ preventScroll: true });
    return (content.querySelector("[data-first]") ?? content.querySelector("input, textarea, select") ?? content.querySelector("button"))?.focus();
  }

  /** A form whose first button does it, and whose second leaves it. */
  formNode(title, submit, text, content, back = () => this.openPanel("")) {
    return el("form.panel", { label: title, onsubmit: (event) => { event.preventDefault(); submit(); } },
      el("h3", title), content,
      el("p.buttons", el("button.chip.on", { type: "submit", "data-first": ["approve", "confirm"].includes(this.panel) }, text), chip("Back", back)));
  }

  reasonField(label) {
    return textField("reason", label, (this.reason ??= ""), (text) => { this.reason = text; });
  }

  approvePanel() {
    const { review } = this;
    const chosen = new Set();
    const shown = (this.callArguments ?? []).filter(([name]) => !review.hidden.some((place) => place === "" || names(place)[0] === name));
    const boxes = shown.map(([name, value]) => el("label.check", el("input", { type: "checkbox", onchange: (event) => (event.target.checked ? chosen.add(name) : chosen.delete(name)) }), el("code", argumentText([name, value]))));
    return this.formNode(this.isQuestion ? "Yes" : "Let it run as it is shown", () => this.send({ action: "approve", always: [...chosen] }), "Approve", [
      this.reasonField("Why (may be left out)"),
      boxes.length ? el("details.section", el("summary", "Approve later calls, too"), el("fieldset", el("legend", `Later calls of ${review.tool} in this run are approved if they have the same`), boxes)) : null,
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
      same && el("p.gone", "Nothing is different: this approves the call as it is."),
      differenceNode(review.tool, review.payload, parsed(this.text)),
      this.reasonField("Why (the model is told what was changed)"),
    ], () => this.openPanel("edit", true));
  }

  rejectPanel() {
    return this.formNode(this.isQuestion ? "No" : "Do not let it run", () => this.send({ action: "reject" }), "Reject", this.reasonField(this.isQuestion ? "Why (may be left out)" : "Why (the model is told, and not to try again)"));
  }

  answerPanel() {
    const { schema } = this.review;
    const area = el("textarea", { id: "answer", rows: 4, label: "Answer" });
    const asJson = el("input", { type: "checkbox" });
    if (this.isQuestion && schema) this.form ??= makeForm(schema, undefined);
    const send = () => {
      try {
        if (asJson.checked) JSON.parse(area.value);
        this.send({ action: "answer" }, this.form ? this.form.text() : asJson.checked ? area.value : JSON.stringify(area.value));
      } catch (/** @type {any} */ error) {
        this.complain(`This is not JSON: ${error.message}`);
      }
    };
    return this.formNode(this.isQuestion ? "Answer" : "Answer in the tool's place: it does not run", send, "Answer", this.form?.nodes ?? [area, el("label.check", asJson, "it is JSON, not text")]);
  }

  namePanel() {
    let name = reviewer();
    return this.formNode("Who decides here", () => {
      try {
        localStorage.setItem(NAME, name.trim());
      } catch { /* not remembered */ }
      this.openPanel("");
    }, "Keep", textField("name", `Your name; empty: ${this.review.user || "nobody"}, the user who runs the viewer`, name, (text) => { name = text; }));
  }

  /** @param {string=} value JSON text, sent as it is */
  async send(wish, value) {
    if (this.sending) return;
    this.sending = true;
    const { digest, id } = this;
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
    if (before.state !== "proposed" || now.state === "proposed") return;
    if (this.panel) {
      this.openPanel("");
      this.complain(`Somebody else was first: ${stateText(now)}${now.by ? ` by ${now.by}` : ""}.`);
    }
    this.findNext();
  }

  reviewed() {
    if (this.left && !this.sending) this.refresh();
  }

  tick() {
    if (!this.left) return;
    this.drawLeft();
    this.ticks += 1;
    if (this.ticks === 5 && this.review.state === "approved") fill(this.outcome, this.outcomeNodes());
    if (this.ticks % 5 === 0 && OPEN.includes(this.review.state) && !this.sending) this.refresh(); // its program may have died
  }

  key(event) {
    if (!this.left) return false; // still reading
    if (event.key === "Escape" && this.panel) this.openPanel(this.panel === "confirm" ? "edit" : "", this.panel === "confirm");
    else if (["u", "Escape"].includes(event.key)) go("reviews");
    else if (event.key === "t" && this.review.trace) go(`trace/${this.review.trace}`, { span: this.review.span });
    else if (event.key === "n") this.findNext().then(() => (this.next ? go(`reviews/${this.next.id}`) : say("nothing else waits")));
    else return this.start(event.key);
    return true;
  }
}

// A person's word on a run or a step: the same record as `llmtrace feedback` makes.

import { el, say, textField } from "./dom.js";

/** @param {Row} row */
export function rateButton(view, row) {
  return view.data.live && row.end !== undefined ? el("button", { class: "more", text: "rate", onclick: () => openRate(view, row) }) : null;
}

/** @param {Row} row */
export function openRate(view, row) {
  const wish = /** @type {Query} */ ({ span: row.id });
  const what = row.parent && view.row(row.parent) ? "step" : "run";
  const thumbs = ["good", "bad"].map((label) => el("button", { class: "chip", text: label, "aria-pressed": "false", onclick: () => {
    wish.label = wish.label === label ? "" : label;
    for (const thumb of thumbs) thumb.setAttribute("aria-pressed", String(thumb.textContent === wish.label));
  } }));
  const fault = el("p", { class: "fault", role: "alert" });
  const send = async () => {
    const reply = await view.data.rate(view.id, JSON.stringify(wish));
    if (reply.error) return void (fault.textContent = reply.error);
    dialog.close();
    say("the feedback is recorded");
    view.payloads.delete(row.id);
    view.drawPane();
  };
  const dialog = el("dialog", { class: "edit", "aria-label": "Feedback" }, el("h2", { text: `Was this ${what} good?` }),
    el("div", { class: "panel" }, el("div", { class: "filters", role: "group", "aria-label": "Verdict" }, thumbs),
      textField("score", "score from 0 (bad) to 1 (good)", "", (text) => { wish.score = text.trim(); }), textField("comment", "comment", "", (text) => { wish.comment = text.trim(); }), fault,
      el("div", { class: "filters" }, el("button", { class: "chip on", text: "record it", onclick: send }), el("button", { class: "chip", text: "close", onclick: () => dialog.close() }))));
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("close", () => { dialog.remove(); view.rowsBox.focus(); });
  document.body.append(dialog);
  dialog.showModal();
}

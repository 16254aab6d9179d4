// A person's word on a run or a step: the same record as `llmtrace feedback` makes.

import { chip, el, more, openDialog, say, textField } from "./dom.js";

export const rateButton = (view, row) => view.data.live && row.end !== undefined && more("rate", () => openRate(view, row));

function openRate(view, row) {
  const wish = { span: row.id };
  const what = row.parent && view.row(row.parent) ? "step" : "run";
  const thumbs = ["good", "bad"].map((label) => chip(label, () => {
    wish.label = wish.label === label ? "" : label;
    for (const thumb of thumbs) thumb.ariaPressed = thumb.textContent === wish.label;
  }, { "aria-pressed": false }));
  const fault = el("p.fault", { role: "alert" });
  const send = async () => {
    const reply = await view.data.rate(view.id, JSON.stringify(wish));
    if (reply.error) return void (fault.textContent = reply.error);
    dialog.close();
    say("the feedback is recorded");
    view.payloads.delete(row.id);
    view.drawPane();
  };
  const dialog = openDialog("edit", "Feedback", `Was this ${what} good?`,
    el("div.panel", el("div.filters", { role: "group", label: "Verdict" }, thumbs),
      textField("score", "score from 0 (bad) to 1 (good)", "", (text) => { wish.score = text.trim(); }), textField("comment", "comment", "", (text) => { wish.comment = text.trim(); }), fault,
      el("div.filters", el("button.chip.on", { onclick: send }, "record it"), chip("close", () => dialog.close()))));
}

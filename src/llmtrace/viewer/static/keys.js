// The help: every key, where it works.

import { chip, el, openDialog } from "./dom.js";
import { MOVES } from "./moves.js";

const NAMES = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", " ": "space", Escape: "esc", PageDown: "page↓", PageUp: "page↑", Home: "home", End: "end", Enter: "enter" };

const LIST = [
  ["j k ↓ ↑", "next, previous trace"], ["enter", "open it"], ["/", "search in messages, arguments, results, names"], ["f", "only failed, suspect, recovered, ok, running, all"], ["i", "all filters"], ["s", "the turns of each conversation together"], ["n", "show the new runs"],
  ["x", "mark"], ["c", "compare the two marked: there n and N go from difference to difference"], ["t", "quality and cost over time"], ["r", "calls that wait for a person"], ["?", "this"],
];

const REVIEWS = [
  ["j k ↓ ↑ enter", "in the queue: next, previous, open it"], ["d", "in the queue: waiting, decided, given up"], ["a e r i", "of a call: approve, edit, reject, answer in its place; esc leaves"], ["n", "the next that waits"], ["t", "the trace at this step"], ["u", "back"],
];

const TIME = [["← → home end", "point to point of a plot"], ["enter", "its traces"], ["esc", "zoom out"], ["u", "back"]];

export function help() {
  const table = (title, rows) => el("section", el("h3", title), el("dl", rows.map(([keys, words]) => [el("dt", keys.split(" ").map((key) => el("kbd", key))), el("dd", words)])));
  const trace = MOVES.map(([keys, words]) => [keys.length > 4 ? `${keys[0]} … ${keys.at(-1)}` : keys.map((key) => NAMES[key] ?? key).join(" "), words]);
  const dialog = openDialog("keys", "Keys", "Keys", chip("close", () => dialog.close()), table("In a trace", [...trace, ["/", "search in this trace"]]), table("In the list", LIST), table("Reviews", REVIEWS), table("Over time", TIME));
  dialog.addEventListener("keydown", (event) => { if (event.key === "?") dialog.close(); });
}

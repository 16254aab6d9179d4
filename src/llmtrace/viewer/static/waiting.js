// How many calls wait for a person, in the head of every page.

import { el, say } from "./dom.js";
import { plural } from "./format.js";

let waiting = /** @type {number|null} */ (null); // null: the store keeps no reviews

const words = () => (waiting ? `reviews ${waiting}` : "reviews");

/** The way to the queue. `always`: also where nothing waits. */
export function waitingChip(always = false) {
  return el("a", { class: `chip waiting${waiting ? " on" : ""}`, href: "#/reviews", text: words(), title: "calls that wait for a person", hidden: waiting === null || !(waiting || always), "data-always": always });
}

/** @param {number|null} number */
export function setWaiting(number) {
  if (number && number > (waiting ?? 0)) say(`${plural(number, "call")} ${number === 1 ? "waits" : "wait"} for a person`);
  waiting = number;
  for (const chip of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".chip.waiting"))) {
    chip.textContent = words();
    chip.classList.toggle("on", Boolean(waiting));
    chip.hidden = waiting === null || !(waiting || chip.dataset.always !== undefined);
  }
}

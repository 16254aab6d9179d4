// How many calls wait for a person, in the head of every page.

import { el, say } from "./dom.js";
import { plural } from "./format.js";

let waiting = null; // null: the store keeps no reviews

const words = () => (waiting ? `reviews ${waiting}` : "reviews");

export const waitingChip = () => el(`a.chip.waiting${waiting ? ".on" : ""}`, { href: "#/reviews", title: "calls that wait for a person", hidden: waiting === null }, words());

export function setWaiting(number) {
  if (number && number > (waiting ?? 0)) say(`${plural(number, "call")} ${number === 1 ? "waits" : "wait"} for a person`);
  waiting = number;
  for (const chip of /** @type {any} */ (document.querySelectorAll(".chip.waiting"))) {
    chip.textContent = words();
    chip.classList.toggle("on", Boolean(waiting));
    chip.hidden = waiting === null;
  }
}

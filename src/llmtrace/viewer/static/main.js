// Begins: opens the data, shows the page that the address names, hands keys and news to it.

import { openData } from "./api.js";
import { byId, el, hideTip, hush, say } from "./dom.js";
import { CompareView } from "./compare.js";
import { help } from "./keys.js";
import { ListView } from "./list.js";
import { traceKey } from "./moves.js";
import { readPlace } from "./place.js";
import { TraceView } from "./trace.js";
import { setWaiting } from "./waiting.js";

/** @type {any} */
let page = null;
/** @type {any} */
let data = null;
/** @type {any} */
let info = {};
let turns = 0;

async function make() {
  const app = byId("app");
  const place = readPlace();
  if (!data.live) return new TraceView(app, data, data.id, place.query);
  if (place.page === "trace" && place.ids[0]) return new TraceView(app, data, place.ids[0], place.query);
  if (place.page === "compare" && place.ids.length === 2) return new CompareView(app, data, place.ids);
  if (place.page === "reviews") { // loaded when they are looked at, as the page over time is
    if (place.ids[0]) return new (await import("./review.js")).ReviewView(app, data, place.ids[0]);
    return new (await import("./reviews.js")).QueueView(app, data, place.query);
  }
  if (place.page === "time") return new (await import("./time.js")).TimeView(app, data, place.query);
  return new ListView(app, data, info, place.query);
}

async function showPage() {
  const place = readPlace();
  hideTip();
  if (page instanceof TraceView && (!data.live || (place.page === "trace" && place.ids[0] === page.id))) {
    const span = place.query.get("span");
    if (span) page.go(span, place.query.get("at") ?? "");
    return;
  }
  hush();
  page?.close();
  page = null;
  const turn = ++turns;
  const mine = await make();
  if (turn !== turns) return; // somewhere else by now
  page = mine;
  try {
    await page.open();
  } catch (error) {
    if (mine === page) byId("app").replaceChildren(el("main", { class: "empty" }, el("h1", { text: "This cannot be shown" }), el("p", { text: String(/** @type {Error} */ (error).message) }), el("a", { href: "#/", text: "all traces" })));
  }
}

/** @param {KeyboardEvent} event */
function key(event) {
  const inside = /** @type {HTMLElement} */ (event.target);
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") inside.closest("form")?.requestSubmit();
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) {
    if (event.key === "?") help();
    return;
  }
  if (inside.closest?.("form.panel") && inside.matches("input, textarea, select")) {
    if (event.key === "Escape" && page?.key(event)) event.preventDefault();
    return;
  }
  if (inside.matches?.("input")) {
    if (event.key === "Escape" || event.key === "Enter") {
      inside.blur();
      (page?.rowsBox ?? page?.box)?.focus();
      event.preventDefault();
    }
    return;
  }
  if (inside.matches?.("button, a, summary") && (event.key === "Enter" || event.key === " ")) return;
  if (event.key === "/") {
    /** @type {HTMLInputElement|null} */ (document.querySelector("input.search"))?.select();
    event.preventDefault();
  } else if (event.key === "?") help();
  else if (page instanceof TraceView ? traceKey(page, event) : page?.key(event)) event.preventDefault();
}

async function begin() {
  data = await openData();
  info = await data.info();
  addEventListener("hashchange", showPage);
  addEventListener("keydown", key);
  addEventListener("unhandledrejection", (event) => say(String(event.reason?.message ?? event.reason)));
  document.addEventListener("click", (event) => { if (/** @type {HTMLElement} */ (event.target).closest("[data-key='?']")) help(); });
  setWaiting(info.reviews ?? null);
  data.follow((traces) => page?.changed?.(traces), (/** @type {number|null} */ waiting) => { setWaiting(waiting); page?.reviewed?.(); });
  addEventListener("beforeprint", () => page?.list?.draw(true));
  setInterval(() => page?.tick?.(), 1000);
  await showPage();
}

begin();

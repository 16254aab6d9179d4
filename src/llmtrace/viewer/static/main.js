// Opens the data, shows the page that the address names, hands keys and news to it.

import { openData } from "./api.js";
import { byId, el, first, hideTip, hush, link, say } from "./dom.js";
import { CompareView } from "./compare.js";
import { help } from "./keys.js";
import { ListView } from "./list.js";
import { traceKey } from "./moves.js";
import { readPlace } from "./place.js";
import { TraceView } from "./trace.js";
import { setWaiting } from "./waiting.js";

let page, data, info;
let turns = 0;

/** The page that the address names; those that are seldom looked at are loaded then. */
async function make() {
  const { page, ids: [id, other], query } = readPlace();
  const app = byId("app");
  if (!data.live || (page === "trace" && id)) return new TraceView(app, data, data.id ?? id, query);
  if (page === "compare" && other) return new CompareView(app, data, [id, other]);
  if (page === "time") return new (await import("./time.js")).TimeView(app, data, query);
  if (page !== "reviews") return new ListView(app, data, info, query);
  return id ? new (await import("./review.js")).ReviewView(app, data, id) : new (await import("./reviews.js")).QueueView(app, data, query);
}

async function showPage() {
  const { page: name, ids, query } = readPlace();
  hideTip();
  if (page instanceof TraceView && (!data.live || (name === "trace" && ids[0] === page.id))) {
    if (query.get("span")) page.go(query.get("span"), query.get("at") ?? "");
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
  } catch (/** @type {any} */ error) {
    if (mine === page) byId("app").replaceChildren(el("main.empty", el("h1", "This cannot be shown"), el("p", String(error.message)), link("#/", "all traces")));
  }
}

function key(event) {
  const inside = event.target;
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") inside.closest("form")?.requestSubmit();
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
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
    first("input.search")?.select();
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
  document.addEventListener("click", (/** @type {any} */ event) => { if (event.target.closest("[data-key='?']")) help(); });
  setWaiting(info.reviews ?? null);
  data.follow((traces) => page?.changed?.(traces), (waiting) => { setWaiting(waiting); page?.reviewed?.(); });
  addEventListener("beforeprint", () => page?.list?.draw(true));
  setInterval(() => page?.tick?.(), 1000);
  await showPage();
}

begin();

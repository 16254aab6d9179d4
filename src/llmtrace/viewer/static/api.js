// Where data comes from: the server, or what stands in a file on disk itself. Both answer alike.

import { queryText } from "./place.js";

async function ask(path, options, otherwise) {
  const response = await fetch(`/api/${path}`, options).catch(() => { throw new Error(`The viewer's server does not answer: ${otherwise}.`); });
  const text = await response.text();
  let reply = /** @type {any} */ ({});
  try {
    reply = JSON.parse(text);
  } catch { /* an error in plain words */ }
  return { ok: response.ok, status: response.status, text, reply };
}

async function get(path, query = {}) {
  const { ok, status, text, reply } = await ask(path + queryText(query), {}, "it has ended");
  if (ok) return reply;
  throw new Error(reply.error ?? (text && text.length < 400 ? text : `The viewer's server answered ${status}.`));
}

/** What the server says; if it refuses: a sentence, its kind, and the faults of an edit. */
async function post(path, body) {
  const { ok, status, text, reply } = await ask(path, { method: "POST", body, headers: { "content-type": "application/json", "x-llmtrace": "1" } }, "nothing was written");
  return ok || reply.error ? reply : { error: text || `The viewer's server answered ${status}.`, kind: "network", faults: [] };
}

const ofTrace = (what, name) => (trace, value) => get(`traces/${trace}/${what}`, { [name]: value });

const server = {
  live: true,
  info: () => get("info"),
  traces: (query) => get("traces", query),
  sessions: (query) => get("sessions", query),
  names: (kind) => get("names", { kind }),
  rows: (trace, query = {}) => get(`traces/${trace}`, query),
  payloads: ofTrace("payloads", "spans"),
  origins: ofTrace("origins", "spans"),
  reached: ofTrace("reached", "span"),
  diagnosis: ofTrace("diagnosis", ""),
  history: ofTrace("history", "span"),
  search: ofTrace("search", "q"),
  suspicions: (traces) => get("suspicions", { traces }),
  compare: (left, right) => get("compare", { left, right }),
  time: (query) => get("time", query),
  drift: (query) => get("drift", query),
  reviews: (query) => get("reviews", query),
  review: (id, query) => get(`reviews/${id}`, query),
  decide: (id, body) => post(`reviews/${id}`, body),
  rate: (trace, body) => post(`traces/${trace}/feedback`, body),

  /** Calls back with the ids of traces that changed (null: any may have), and with how many calls wait for a person. */
  follow(changed, reviewed) {
    const events = new EventSource("/api/events");
    let first = true;
    events.onmessage = (event) => {
      const news = JSON.parse(event.data);
      if (news.traces !== undefined) changed(news.traces);
      else if (news.reviews !== undefined) reviewed(news.reviews);
      else if (!first) { // we were cut off: anything may have happened
        changed(null);
        get("info").then((info) => reviewed(info.reviews));
      }
      first = false;
    };
  },
};

const embedded = (file) => ({
  live: false,
  id: file.trace.id,
  info: async () => file.info,
  rows: async () => ({ version: 1, trace: file.trace, rows: file.rows }),
  payloads: async (_, spans) => Object.fromEntries(spans.filter((id) => file.payloads[id]).map((id) => [id, file.payloads[id]])),
  origins: async (_, spans) => Object.fromEntries(spans.map((id) => [id, file.origins?.[id] ?? []])),
  diagnosis: async () => file.diagnosis,
  reached: async (_, span) => file.reached?.[span] ?? null,

  async history(_, span) {
    const chain = [];
    for (let id = span; id && file.payloads[id]; id = file.payloads[id].before) chain.push(file.payloads[id]);
    let earlier = [];
    let messages = [];
    for (const payload of chain.reverse()) {
      messages = payload.input.flatMap((piece) => (Array.isArray(piece) ? earlier.slice(piece[0], piece[0] + piece[1]) : [piece]));
      earlier = [...messages, ...payload.output];
    }
    return messages;
  },

  async search(_, q) {
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    return file.rows.filter((row) => {
      const text = JSON.stringify([row, file.payloads[row.id]]).toLowerCase();
      return words.every((word) => text.includes(word));
    }).map((row) => row.id);
  },

  follow() {},
});

export async function openData() {
  const packed = document.getElementById("trace");
  if (!packed) return server;
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  packed.remove();
  return embedded(JSON.parse(await new Response(stream).text()));
}

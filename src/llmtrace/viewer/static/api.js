// Where data comes from: the server, or, in a file on disk, what stands in the file itself. Both answer alike.

import { queryText } from "./place.js";

class Server {
  constructor() {
    this.live = true;
  }

  async get(path, query = {}) {
    const response = await fetch(`/api/${path}${queryText(query)}`);
    if (!response.ok) throw new Error(cleanError(await response.text(), response.status));
    return response.json();
  }

  info() {
    return this.get("info");
  }

  traces(query) {
    return this.get("traces", query);
  }

  rows(trace, query = {}) {
    return this.get(`traces/${trace}`, query);
  }

  payloads(trace, spans) {
    return this.get(`traces/${trace}/payloads`, { spans: spans.join(",") });
  }

  origins(trace, spans) {
    return this.get(`traces/${trace}/origins`, { spans: spans.join(",") });
  }

  reached(trace, span) {
    return this.get(`traces/${trace}/reached`, { span });
  }

  diagnosis(trace) {
    return this.get(`traces/${trace}/diagnosis`);
  }

  async stage(trace) {
    return (await this.get(`traces/${trace}/stage`)).stage;
  }

  history(trace, span) {
    return this.get(`traces/${trace}/history`, { span });
  }

  search(trace, q) {
    return this.get(`traces/${trace}/search`, { q });
  }

  suspicions(traces) {
    return this.get("suspicions", { traces: traces.join(",") });
  }

  compare(left, right) {
    return this.get("compare", { left, right });
  }

  time(query) {
    return this.get("time", query);
  }

  /** Calls back with the ids of traces that changed, or null where any may have. */
  follow(changed) {
    const events = new EventSource("/api/events");
    let first = true;
    events.onmessage = (event) => {
      const news = JSON.parse(event.data);
      if (news.traces !== undefined) changed(news.traces);
      else if (!first) changed(null); // we were cut off: anything may have happened
      first = false;
    };
  }
}

class Embedded {
  constructor(held) {
    this.live = false;
    this.held = held;
    this.id = held.trace.id;
  }

  async info() {
    return this.held.info;
  }

  async rows() {
    return { version: 1, trace: this.held.trace, rows: this.held.rows };
  }

  async payloads(_, spans) {
    return Object.fromEntries(spans.filter((id) => this.held.payloads[id]).map((id) => [id, this.held.payloads[id]]));
  }

  async origins(_, spans) {
    return Object.fromEntries(spans.map((id) => [id, (this.held.origins ?? {})[id] ?? []]));
  }

  async diagnosis() {
    return this.held.diagnosis ?? { suspects: [], unknown: ["this trace was too long to be diagnosed"], symptoms: [], likely: 1 };
  }

  async reached(_, span) {
    return this.held.reached?.[span] ?? null;
  }

  async stage() {
    return "";
  }

  async history(_, span) {
    const chain = [];
    for (let id = span; id && this.held.payloads[id]; id = this.held.payloads[id].before) chain.push(this.held.payloads[id]);
    let earlier = [];
    let told = [];
    for (const payload of chain.reverse()) {
      told = payload.input.flatMap((piece) => (Array.isArray(piece) ? earlier.slice(piece[0], piece[0] + piece[1]) : [piece]));
      earlier = [...told, ...payload.output];
    }
    return told;
  }

  async search(_, q) {
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (const row of this.held.rows) {
      const text = JSON.stringify([row, this.held.payloads[row.id]]).toLowerCase();
      if (words.every((word) => text.includes(word))) found.push(row.id);
    }
    return found;
  }

  follow() {}
}

function cleanError(text, status) {
  return text && text.length < 400 ? text : `the viewer's server answered ${status}`;
}

/** The server's data, or the file's own. */
export async function openData() {
  const packed = document.getElementById("trace");
  if (!packed) return new Server();
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  packed.remove();
  return new Embedded(JSON.parse(await new Response(stream).text()));
}

// What a model was told: the messages that were new in its call, what was there before, what is no longer sent.

import { dim, el } from "./dom.js";
import { count, cut, plural } from "./format.js";
import { block, callPieces, jsonPieces, textBlock } from "./json.js";
import { soughtWords } from "./marks.js";

const LONG = 1500;
const MOST_MESSAGES = 40;
const MOST_IMAGE = 4 << 20; // characters of base64

/** @param {Message} message @param {any=} view */
export function messageNode(message, cls = "", view = undefined) {
  return el("div", { class: `message r-${/^[a-z]+$/.test(message.role) ? message.role : "other"} ${cls}` },
    el("span", { class: "role", text: message.name ? `${message.role} ${message.name}` : message.role }),
    message.parts.map((part) => partNode(part, view)));
}

/** @param {Part} part */
export function partNode(part, view) {
  if (part.type === "text") return textBlock(part.content ?? "", "text", LONG, view ? soughtWords(view, view.cursor) : []);
  if (part.type === "reasoning") return el("details", { class: "thinks" }, el("summary", { text: "reasoning" }), el("pre", { class: "text", text: part.content }));
  if (part.type === "tool_call_response") return toolResult(part, view);
  if (part.type === "tool_call") return block(callPieces(`→ ${part.name}`, part.arguments, {}), { most: LONG });
  if (part.type === "compaction") return el("p", { class: "gone", text: `earlier messages were summed up: ${part.content ?? ""}` });
  if (part.type === "blob" || part.type === "uri") return mediaNode(part);
  return block(jsonPieces(part), { most: LONG });
}

/** An image, audio or file: type, size and digest; of an image whose bytes were kept, the image. @param {Part} part */
function mediaNode(part) {
  const url = /^data:([\w/+.-]+);base64,(.*)$/s.exec(part.type === "uri" ? part.uri ?? "" : "");
  const type = url ? url[1] : part.mime_type ?? "";
  const bytes = url ? url[2] : typeof part.content === "string" ? part.content : "";
  const size = part.size ?? (bytes ? Math.floor(bytes.length * 3 / 4) : null);
  const isShown = /^image\/(png|jpeg|gif|webp)$/.test(type) && bytes.length < MOST_IMAGE && /^[A-Za-z0-9+/=\s]+$/.test(bytes);
  const words = [type || part.modality, size === null ? "" : `${count(size)} bytes`, url ? "" : cut(part.uri ?? part.digest ?? "", 300)].filter(Boolean).join(" · ");
  return el("figure", { class: "media" }, isShown ? el("img", { src: `data:${type};base64,${bytes}`, alt: `${part.modality ?? "image"} in this message`, loading: "lazy" }) : null,
    el("figcaption", { class: "dim", text: bytes || part.type === "uri" ? words : `${words} · only the digest was kept` }));
}

/** @param {Part} part */
function toolResult(part, view) {
  const span = part.id && view ? view.executions.get(part.id) : undefined;
  return [
    span ? el("a", { class: "to", href: view.linkTo(span), text: `result of ${view.row(span)?.name ?? "a tool"}` }) : null,
    textBlock(part.response, "code result", LONG),
  ];
}

/**
 * The new messages of an inference, with how many were there before and how many vanished.
 * @param {any} view @param {Payload} payload @param {{brief?: boolean}} options
 */
export function messageNodes(view, payload, { brief = false } = {}) {
  const news = /** @type {Message[]} */ ((payload.input ?? []).filter((piece) => !Array.isArray(piece)));
  const fresh = brief ? news.filter((message) => !isShownElsewhere(view, message)) : news;
  const system = payload.system?.length ? [{ role: "system", parts: payload.system }] : [];
  const shown = [...(payload.before ? [] : system), ...fresh];
  const nodes = [];
  const kept = payload.kept ?? 0;
  if (kept && !brief) nodes.push(el("button", { class: "more", text: `${plural(kept, "message")} as before · show all`, onclick: (event) => showAll(view, payload, event) }));
  if (payload.gone) nodes.push(goneNode(view, payload));
  nodes.push(...shown.slice(0, MOST_MESSAGES).map((message) => brief && message.role === "system" ? el("details", { class: "thinks" }, el("summary", { text: "system prompt" }), messageNode(message, "", view)) : messageNode(message, "", view)));
  if (shown.length > MOST_MESSAGES) nodes.push(dim(`${shown.length - MOST_MESSAGES} more new messages are not shown here`));
  return nodes;
}

/** A tool's result that stands with its own execution. @param {Message} message */
function isShownElsewhere(view, message) {
  return message.parts.length > 0 && message.parts.every((part) => part.type === "tool_call_response" && part.id && view.executions.has(part.id));
}

/** @param {Payload} payload */
function goneNode(view, payload) {
  const box = el("div", { class: "gone" },
    `⚠ ${plural(payload.gone ?? 0, "message")} of the call before ${payload.gone === 1 ? "is" : "are"} no longer sent `,
    el("button", { class: "more", text: "show", onclick: async () => {
      const before = payload.before;
      if (!before) return;
      const [earlier, payloads] = await Promise.all([view.data.history(view.id, before), view.need([before])]);
      const all = [...earlier, ...(payloads.get(before)?.output ?? [])];
      const still = new Set();
      for (const piece of payload.input ?? []) if (Array.isArray(piece)) for (let at = piece[0]; at < piece[0] + piece[1]; at++) still.add(at);
      box.replaceChildren(...all.map((message, at) => still.has(at) ? null : messageNode(message, "vanished", view)).filter((node) => node !== null).slice(0, MOST_MESSAGES));
    } }));
  return box;
}

/** @param {Payload} payload @param {Event} event */
async function showAll(view, payload, event) {
  const button = /** @type {HTMLElement} */ (event.currentTarget);
  button.textContent = "…";
  const all = /** @type {Message[]} */ (await view.data.history(view.id, payload.id));
  const fresh = new Set();
  let at = 0;
  for (const piece of payload.input ?? []) {
    if (Array.isArray(piece)) at += piece[1];
    else { fresh.add(at); at += 1; }
  }
  const earlier = all.filter((_, place) => !fresh.has(place));
  const first = earlier.slice(-MOST_MESSAGES);
  button.replaceWith(...(earlier.length > first.length ? [dim(`the first ${earlier.length - first.length} of ${earlier.length} are not shown`)] : []),
    ...first.map((message) => messageNode(message, "kept", view)));
}

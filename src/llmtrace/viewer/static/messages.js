// What a model was told: what was new in its call, what was there before, what is no longer sent.

import { dim, el, fill, more } from "./dom.js";
import { count, cut, plural } from "./format.js";
import { block, callPieces, jsonPieces, textBlock } from "./json.js";
import { soughtWords } from "./marks.js";

const LONG = 1500;
const MOST_MESSAGES = 40;
const MOST_IMAGE = 4 << 20; // characters of base64

export function messageNode(message, view, cls = "") {
  return el(`div.message.r-${/^[a-z]+$/.test(message.role) ? message.role : "other"}.${cls}`, el("span.role", message.name ? `${message.role} ${message.name}` : message.role),
    message.parts.map((part) => partNode(part, view)));
}

/** @param {Part} part */
export function partNode(part, view) {
  if (part.type === "text") return textBlock(part.content ?? "", "text", LONG, view ? soughtWords(view, view.cursor) : []);
  if (part.type === "reasoning") return el("details.thinks", el("summary", "reasoning"), el("pre.text", part.content));
  if (part.type === "tool_call_response") return toolResult(part, view);
  if (part.type === "tool_call") return block(callPieces(`→ ${part.name}`, part.arguments, {}), { most: LONG });
  if (part.type === "compaction") return el("p.gone", `earlier messages were summed up: ${part.content ?? ""}`);
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
  return el("figure.media", isShown && el("img", { src: `data:${type};base64,${bytes}`, alt: `${part.modality ?? "image"} in this message`, loading: "lazy" }),
    el("figcaption.dim", bytes || part.type === "uri" ? words : `${words} · only the digest was kept`));
}

function toolResult(part, view) {
  const span = part.id && view?.executions.get(part.id);
  return [span && el("a.to", { href: view.linkTo(span) }, `result of ${view.row(span)?.name ?? "a tool"}`), textBlock(part.response, "code result", LONG)];
}

/** @returns {Message[]} */
export const newMessages = (payload) => (payload.input ?? []).filter((piece) => !Array.isArray(piece));

/** The new messages of an inference, and how many vanished. @param {Payload} payload */
export function messageNodes(view, payload, brief = false) {
  const fresh = newMessages(payload).filter((message) => !brief || !isShownElsewhere(view, message));
  const shown = payload.system?.length && !payload.before ? [{ role: "system", parts: payload.system }, ...fresh] : fresh;
  return [
    payload.kept && !brief ? more(`${plural(payload.kept, "message")} as before · show all`, (event) => showAll(view, payload, event.currentTarget)) : null,
    payload.gone ? goneNode(view, payload) : null,
    shown.slice(0, MOST_MESSAGES).map((message) => (brief && message.role === "system" ? el("details.thinks", el("summary", "system prompt"), messageNode(message, view)) : messageNode(message, view))),
    shown.length > MOST_MESSAGES && dim(`${shown.length - MOST_MESSAGES} more new messages are not shown here`),
  ].flat().filter(Boolean);
}

/** @returns {Part[]} */
export const answerParts = (payload) => (payload.output ?? []).flatMap((message) => message.parts);

/** A tool's result that stands with its own execution. */
const isShownElsewhere = (view, { parts }) => parts.length > 0 && parts.every((part) => part.type === "tool_call_response" && part.id && view.executions.has(part.id));

function goneNode(view, payload) {
  const { gone, before } = payload;
  const box = el("div.gone", `⚠ ${plural(gone, "message")} of the call before ${gone === 1 ? "is" : "are"} no longer sent `, more("show", async () => {
    const [earlier, payloads] = await Promise.all([view.data.history(view.id, before), view.need([before])]);
    const isKept = (at) => payload.input?.some((piece) => Array.isArray(piece) && at >= piece[0] && at < piece[0] + piece[1]);
    const vanished = [...earlier, ...(payloads.get(before)?.output ?? [])].filter((_, at) => !isKept(at));
    fill(box, vanished.slice(0, MOST_MESSAGES).map((message) => messageNode(message, view, "vanished")));
  }));
  return box;
}

async function showAll(view, payload, button) {
  button.textContent = "…";
  const all = await view.data.history(view.id, payload.id);
  const isFresh = (payload.input ?? []).flatMap((piece) => (Array.isArray(piece) ? Array(piece[1]).fill(false) : [true]));
  const earlier = all.filter((_, at) => !isFresh[at]);
  const shown = earlier.slice(-MOST_MESSAGES).map((message) => messageNode(message, view, "kept"));
  if (shown.length < earlier.length) shown.unshift(dim(`the first ${earlier.length - shown.length} of ${earlier.length} are not shown`));
  button.replaceWith(...shown);
}

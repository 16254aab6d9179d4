// JSON and tool calls as pieces of text with marks, never HTML.

import { el, more, tip } from "./dom.js";
import { argumentName, count, exactNumber, isObject } from "./format.js";

const WIDTH = 72;
export const MOST_CHARACTERS = 12000;
const MOST_WRITTEN = 24e4; // characters of one value, after which only what is marked is written
const MOST_PARSED = 1e6;

export const segment = (name) => `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** The names that a JSON pointer leads through. */
export const names = (pointer) => pointer.split("/").slice(1).map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));

class Writer {
  constructor(marking, call) {
    this.marks = marking.marks ?? new Map();
    this.ghosts = marking.ghosts ?? new Map();
    this.quotes = marking.quotes ?? [];
    this.call = call;
    this.pieces = [];
    this.notes = [];
    this.left = MOST_WRITTEN;
  }

  put(whole, mark) {
    const text = mark ? whole : whole.slice(0, Math.max(0, this.left));
    this.left -= whole.length;
    const last = this.pieces.at(-1);
    if (last && !last.mark && !mark) last.text += text;
    else if (text) this.pieces.push({ text, mark });
  }

  endLine() {
    for (const note of this.notes.splice(0)) this.put(`  ${note}`, { cls: "note" });
  }

  value(value, pointer, depth) {
    if (this.left < 0 && !this.quotes.length && ![...this.marks.keys()].some((at) => at.startsWith(pointer))) return;
    const exact = exactNumber(value);
    const mark = this.marks.get(pointer) ?? this.quotes.find(([words]) => (typeof value === "string" ? value.includes(words) : (exact ?? String(value)) === words))?.[1];
    if (mark?.note) this.notes.push(mark.note);
    if (exact !== undefined) return this.put(exact, mark);
    if (typeof value === "string" && mark?.start !== undefined) return this.parts(value, [mark, ...(mark.more ?? [])]);
    if (value === null || typeof value !== "object") return this.put(this.scalar(value), mark);
    const [open, close] = Array.isArray(value) ? "[]" : "{}";
    if (mark) this.put(open, mark);
    this.inside(value, pointer, depth, [mark ? "" : open, close], false);
  }

  /** A text of which some characters are marked. */
  parts(value, marks) {
    const pieces = rangePieces(value, marks.map((one) => [unit(value, one.start ?? 0), unit(value, one.end ?? 0), one]));
    const whole = pieces.length === 1 ? pieces[0].mark : undefined;
    if (whole) return this.put(this.scalar(value), whole);
    this.put('"');
    for (const { text, mark } of pieces) this.put(this.scalar(text).slice(1, -1), mark);
    return this.put('"');
  }

  scalar(value) {
    if (this.call && typeof value === "string" && value.includes("\n")) return `"${value}"`;
    return JSON.stringify(value) ?? "null";
  }

  inside(parent, pointer, depth, brackets, named) {
    const members = Array.isArray(parent) ? parent.map((value, at) => [at, value]) : Object.entries(parent);
    const ghosts = this.ghosts.get(pointer) ?? [];
    this.put(brackets[0]);
    if (!members.length && !ghosts.length) return this.put(brackets[1]);
    const short = !ghosts.length && depth * 2 + plainLength(parent) <= WIDTH && !this.marked(pointer);
    const pad = short ? "" : `\n${"  ".repeat(depth + 1)}`;
    for (const [at, [name, value]] of members.entries()) {
      if (this.left < 0 && !this.quotes.length && !this.marks.size) break;
      if (pad) this.put(pad);
      if (!Array.isArray(parent)) this.put(named ? `${argumentName(String(name))}=` : `${JSON.stringify(name)}: `);
      this.value(value, pointer + segment(name), depth + 1);
      const last = at === members.length - 1;
      if (!last || (ghosts.length && !named)) this.put(short ? ", " : ",");
      if (!short) this.endLine();
    }
    for (const ghost of ghosts) {
      this.put(pad);
      this.put(named ? `${argumentName(ghost.name)}=` : `${JSON.stringify(ghost.name)}:`, { cls: "ghost" });
      this.put(`  ${ghost.note}`, { cls: "note" });
    }
    this.put(`${short ? "" : `\n${"  ".repeat(depth)}`}${brackets[1]}`);
  }

  /** Whether a note stands somewhere inside: then each member has its own line. */
  marked(pointer) {
    return [...this.marks].some(([at, mark]) => mark.note && at.startsWith(pointer));
  }

  end() {
    this.endLine();
    if (this.left < 0) this.put(" … too long to show here; y copies all of it", { cls: "note" });
    return this.pieces;
  }
}

function plainLength(value) {
  const exact = exactNumber(value);
  if (exact !== undefined) return exact.length;
  if (value === null || typeof value !== "object") return typeof value === "string" && value.includes("\n") ? 1000 : String(JSON.stringify(value)).length;
  let length = 2;
  for (const [name, member] of Object.entries(value)) {
    length += 2 + (Array.isArray(value) ? 0 : name.length + 3) + plainLength(member);
    if (length > WIDTH) break;
  }
  return length;
}

export function jsonPieces(value, marking = {}) {
  const writer = new Writer(marking, false);
  writer.value(value, "", 0);
  return writer.end();
}

/** A call as one writes it: `name(member=value)`. */
export function callPieces(name, args, marking = {}) {
  const writer = new Writer(marking, true);
  if (args == null) writer.put(`${name}(…)`);
  else if (isObject(args)) {
    const whole = writer.marks.get("");
    writer.put(name);
    writer.inside(args, "", 0, ["(", ")"], true);
    if (whole?.note) writer.put(`  ${whole.note}`, { cls: "note" });
  } else {
    writer.put(`${name}(`);
    if (typeof args === "string") writer.put(args, writer.marks.get(""));
    else writer.value(args, "", 1);
    writer.put(")");
  }
  return writer.end();
}

export const jsonBlock = (value, marking = {}, cls = "code") => block(jsonPieces(value, marking), { cls });
export const callBlock = (name, args, marking = {}, most = MOST_CHARACTERS) => block(callPieces(name, args, marking), { cls: "code call", most });

/** A text with the characters from a line and column on marked. */
export function brokenPieces(text, line, column, mark) {
  const lines = text.split("\n");
  const at = Math.min(text.length, lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + column - 1);
  return [...rangePieces(at < text.length ? text : `${text}␣`, [[at, at + 1, mark]]), { text: `  ${mark.note}`, mark: { cls: "note" } }];
}

/** How far into a text, as JavaScript counts, so many characters reach. */
const unit = (text, characters) => (/[\ud800-\udfff]/.test(text) ? [...text].slice(0, characters).join("").length : characters);

/** The places where values stand in a text, as marks: where the mark says, else the first. */
export function textPieces(text, values) {
  const found = [];
  for (const [value, mark] of values) {
    const start = mark.start === undefined ? -1 : unit(text, mark.start);
    const first = mark.cls !== "origin" && (value.length > 1 || /^\d$/.test(value)) ? text.indexOf(value) : -1;
    const at = text.startsWith(value, start) && start >= 0 ? start : first;
    if (at >= 0) found.push([at, at + value.length, mark]);
  }
  return rangePieces(text, found);
}

/** A text in pieces; of ranges that overlap the first counts. */
function rangePieces(text, ranges) {
  const pieces = [];
  let done = 0;
  const apart = ranges.filter(([start, end], at) => !ranges.slice(0, at).some(([from, to]) => start < to && from < end));
  for (const [start, end, mark] of apart.sort((a, b) => a[0] - b[0])) {
    pieces.push({ text: text.slice(done, start) }, { text: text.slice(start, end), mark });
    done = end;
  }
  pieces.push({ text: text.slice(done) });
  return pieces.filter((piece) => piece.text);
}

function pieceNode(piece) {
  const mark = piece.mark;
  if (!mark) return document.createTextNode(piece.text);
  const tag = mark.href ? "a" : mark.cls === "note" || mark.cls === "ghost" ? "span" : "mark";
  const node = el(tag, { class: mark.cls, href: mark.href, onpointerenter: mark.enter, onpointerleave: mark.leave }, piece.text);
  if (mark.words) tip(node, mark.words);
  return node;
}

export function exactly(_, value) {
  const source = arguments[2]?.source;
  return typeof value === "number" && source && source !== String(value) ? { "\u0000number": source } : value;
}

/** The value that a text is the JSON of, else what was given. */
export function parsed(text) {
  try {
    return typeof text === "string" && text.length < MOST_PARSED && /^\s*[[{]/.test(text) ? JSON.parse(text, exactly) : text;
  } catch {
    return text;
  }
}

/** A text, or the JSON that it is, with its marks. */
export function textBlock(content, cls, most, quotes = [], marks = {}) {
  const value = parsed(content);
  const text = typeof value === "string";
  return block(text ? textPieces(value, quotes) : jsonPieces(value, { ...marks, quotes: quotes.map(([words, mark]) => [words, { ...mark, start: undefined }]) }), { cls: text ? cls : cls.replace("text", "code"), colours: !text, most });
}

/** Pieces as a block; what is long shows its begin, and the rest on demand. */
export function block(pieces, { cls = "code", colours = true, most = MOST_CHARACTERS } = {}) {
  const box = el("pre", { class: cls });
  const draw = (limit) => {
    box.replaceChildren();
    let left = limit;
    for (const piece of pieces) {
      const text = piece.mark ? piece.text : piece.text.slice(0, Math.max(0, left));
      left -= piece.text.length;
      if (text) box.append(pieceNode({ ...piece, text }));
    }
    if (left < 0) box.append(more(`… ${count(-left)} more characters`, () => draw(limit * 20)));
    if (colours) colour(box);
  };
  draw(most);
  return box;
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null|None)\b|-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b|\b([A-Za-z_]\w*)(?=[=(])/g;

/** A range that the style sheet colours by name: no element is needed. */
function highlight(name, text, start, length) {
  const registry = CSS.highlights;
  if (!registry) return;
  if (!registry.has(name)) registry.set(name, new window.Highlight());
  const range = document.createRange();
  range.setStart(text, start);
  range.setEnd(text, start + length);
  registry.get(name)?.add(range);
}

function colour(box) {
  for (const child of box.childNodes) {
    if (child.nodeType !== Node.TEXT_NODE) continue;
    for (const found of (child.textContent ?? "").matchAll(TOKEN)) {
      highlight(found[1] ? (found[2] ? "key" : "string") : found[3] ? "word" : found[4] ? "name" : "number", child, found.index, (found[1] ?? found[0]).length);
    }
  }
}

/** Words that were searched are marked; the element that holds the first of them. */
export function markWords(box, words) {
  const terms = words.toLowerCase().split(/[\s"]+/).filter(Boolean);
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  let first = null;
  for (let node = walker.nextNode(); node && terms.length; node = walker.nextNode()) {
    const text = (node.textContent ?? "").toLowerCase();
    for (const term of terms) {
      for (let at = text.indexOf(term); at >= 0; at = text.indexOf(term, at + term.length)) {
        highlight("found", node, at, term.length);
        first ??= node.parentElement;
      }
    }
  }
  return first;
}

/** Ranges of what is gone from the page are let go of. */
export function forgetColours() {
  for (const kind of CSS.highlights?.values() ?? []) {
    for (const range of [...kind]) if (!range.startContainer.isConnected) kind.delete(range);
  }
}

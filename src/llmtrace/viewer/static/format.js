// How values are worded. Unknown is a dash, never 0.

export const UNKNOWN = "–";

export function duration(ms) {
  if (ms == null) return UNKNOWN;
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.5) return `${seconds < 9.995 ? seconds.toFixed(2) : Math.round(seconds)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) return `${minutes}m ${String(Math.round(seconds) % 60).padStart(2, "0")}s`;
  return `${Math.floor(minutes / 60)}h ${String(minutes % 60).padStart(2, "0")}m`;
}

/** Tokens in and out; unknown where both are. */
export function tokensOf(trace) {
  return count(sum(trace.input, trace.output));
}

export function lasted(trace) {
  return trace.duration === null && trace.health === "running" ? "running" : duration(trace.duration);
}

export function count(number) {
  return number == null ? UNKNOWN : number.toLocaleString("en-US");
}

export const nameText = (name) => name.replaceAll("_", " ");

/** The first two names and how many more. */
export function someNames(names) {
  return nameText(names.slice(0, 2).join(", ")) + (names.length > 2 ? ` +${names.length - 2}` : "");
}

export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function cost(usd) {
  if (usd == null) return UNKNOWN;
  if (usd > 0 && usd < 0.0001) return "<$0.0001";
  return usd < 1 ? `$${usd.toFixed(4)}` : `$${usd.toFixed(2)}`;
}

/** The local time. */
export function clock(ms) {
  return new Date(ms - new Date(ms).getTimezoneOffset() * 6e4).toISOString().slice(0, 19).replace("T", " ");
}

/** To the minute, of nanoseconds as text. */
export function minute(ns) {
  return clock(Number(BigInt(ns) / 1000000n)).slice(0, 16);
}

export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  for (const [size, unit] of /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "m"]])) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit} ago`;
  }
  return `${Math.floor(seconds)}s ago`;
}

export function sum(a, b) {
  return a == null ? (b ?? null) : a + (b ?? 0);
}

export function likelihood(probability) {
  const share = Number(exactNumber(probability) ?? probability);
  return share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

/** JSON, with every number as it was written. */
export function jsonText(value, indent = 0) {
  return (JSON.stringify(value, null, indent) ?? "null").replace(/\{\s*"\\u0000number":\s*"([^"]*)"\s*\}/g, (whole, text) => (WRITTEN.test(text) ? text : whole));
}

const WRITTEN = /^-?(\d+(\.\d+)?(e[+-]?\d+)?|inf|nan)$/i;

/** The text of a number that a browser would have changed, else undefined. */
export function exactNumber(value) {
  const text = value?.["\u0000number"];
  return typeof text === "string" && WRITTEN.test(text) && Object.keys(value).length === 1 ? text : undefined;
}

/** A text as it is, any other value as compact JSON. */
export function worded(value) {
  return typeof value === "string" ? value : compact(value);
}

/** A JSON value as compact text. */
export function compact(value) {
  if (value === undefined) return "";
  const exact = exactNumber(value);
  if (exact !== undefined) return exact;
  if (Array.isArray(value)) return `[${value.map(compact).join(", ")}]`;
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}: ${compact(member)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

/** An argument's name; in quotes where it is no name. */
export function argumentName(name) {
  return /^[\p{L}\p{N}_$.-]+$/u.test(name) ? name : JSON.stringify(name);
}

/** A tool call as a function call. Arguments that were no JSON object stand as the text that the model wrote. */
export function callText(name, args) {
  if (args == null) return `${name}(…)`;
  if (typeof args !== "object" || Array.isArray(args)) return `${name}(${worded(args)})`;
  return `${name}(${Object.entries(args).map(([key, value]) => `${argumentName(key)}=${compact(value)}`).join(", ")})`;
}

export function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

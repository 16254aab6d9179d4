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
export const tokensOf = (trace) => count(sum(trace.input, trace.output));

export const lasted = (trace) => (trace.duration === null && trace.health === "running" ? "running" : duration(trace.duration));

export const count = (number) => (number == null ? UNKNOWN : number.toLocaleString("en-US"));

export const nameText = (name) => name.replaceAll("_", " ");

export const someNames = (names) => nameText(names.slice(0, 2).join(", ")) + (names.length > 2 ? ` +${names.length - 2}` : "");

export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export function cost(usd) {
  if (usd == null) return UNKNOWN;
  if (usd > 0 && usd < 0.0001) return "<$0.0001";
  return usd < 1 ? `$${usd.toFixed(4)}` : `$${usd.toFixed(2)}`;
}

export const clock = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 6e4).toISOString().slice(0, 19).replace("T", " ");

/** To the minute, of nanoseconds as text. */
export const minute = (ns) => clock(Number(BigInt(ns) / 1000000n)).slice(0, 16);

export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  const [size, unit] = seconds < 60 ? [1, "s"] : seconds < 3600 ? [60, "m"] : seconds < 86400 ? [3600, "h"] : [86400, "d"];
  return `${Math.floor(seconds / size)}${unit} ago`;
}

export const sum = (a, b) => (a == null ? (b ?? null) : a + (b ?? 0));

export function likelihood(probability) {
  const share = Number(exactNumber(probability) ?? probability);
  return share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

export const jsonText = (value, indent = 0) => (JSON.stringify(value, null, indent) ?? "null").replace(/\{\s*"\\u0000number":\s*"([^"]*)"\s*\}/g, (whole, text) => (WRITTEN.test(text) ? text : whole));

const WRITTEN = /^-?(\d+(\.\d+)?(e[+-]?\d+)?|inf|nan)$/i;

/** The text of a number that a browser would have changed, else undefined. */
export function exactNumber(value) {
  const text = value?.["\u0000number"];
  return typeof text === "string" && WRITTEN.test(text) && Object.keys(value).length === 1 ? text : undefined;
}

/** Whether a value is a JSON object. */
export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && exactNumber(value) === undefined;

/** A text as it is, any other value as compact JSON. */
export const worded = (value) => (typeof value === "string" ? value : compact(value));

export function compact(value) {
  if (value === undefined) return "";
  const exact = exactNumber(value);
  if (exact !== undefined) return exact;
  if (Array.isArray(value)) return `[${value.map(compact).join(", ")}]`;
  if (isObject(value)) return `{${Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}: ${compact(member)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** An argument's name; in quotes where it is no name. */
export const argumentName = (name) => (/^[\p{L}\p{N}_$.-]+$/u.test(name) ? name : JSON.stringify(name));

/** A tool call as a function call. Arguments that were no JSON object stand as the text that the model wrote. */
export function callText(name, args) {
  if (args == null) return `${name}(…)`;
  if (!isObject(args)) return `${name}(${worded(args)})`;
  return `${name}(${Object.entries(args).map(([key, value]) => `${argumentName(key)}=${compact(value)}`).join(", ")})`;
}

/** A letter as JSON can write it. */
export const escaped = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;

export const cut = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

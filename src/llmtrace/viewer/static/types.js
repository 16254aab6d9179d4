// What the server sends, and what is made of it, by name, in all modules: for the type checker and for readers. No code stands here.

/**
 * One trace in the list. Times in milliseconds, `start` since the Unix epoch; what is not known is null.
 * @typedef {{id: string, name: string, start: number, duration: number|null, spans: number, health: string, task: string|null,
 * answer: string|null, agents: string[], models: string[], errors: number, findings: string[], input: number|null,
 * output: number|null, cost: number|null, service: string|null, waits?: boolean,
 * replayOf?: string|null}} TraceRow
 */

/**
 * One span in a list. Times in milliseconds since its trace began; what is empty is absent. `marks`: severity and name of what was
 * found. `said`: first words of a call or an answer. `asks`: names of the tools that an answer calls. `same`: equal for calls with
 * equal arguments.
 * @typedef {{id: string, parent?: string, name: string, kind: string, start: number, end?: number, state: string, error?: string,
 * marks?: [string, string][], said?: string, call?: string, calls?: string[], asks?: string[], same?: string, refused?: boolean, in?: number,
 * out?: number, cached?: number, cost?: number, first?: number, partial?: boolean}} Row
 */

/** @typedef {{version: number, trace: TraceRow, rows: Row[]}} Rows */
/** @typedef {any} Json A JSON value; a number that a browser would change is an object with one member, see format.js. */
/** @typedef {{type: string, [member: string]: Json}} Part */
/** @typedef {{role: string, parts: Part[], name?: string, finish_reason?: string}} Message */

/**
 * @typedef {{code: string, pointer: string, keyword: string, message: string, expected: Json, got: Json, severity: string,
 * where: string, tool: string|null, call_id: string|null, line: number|null, column: number|null, executed: boolean|null}} Violation
 */

/**
 * @typedef {{name: string, severity: string, explanation: string, label: string|null, score: number|null, evidence: Json,
 * pointer: string|null, call_id: string|null, sources: string[], derived: boolean, source: string|null}} Evaluation
 */

/** @typedef {{name: string, description: string|null, parameters: Json, output: Json, strict: boolean}} Definition */

/**
 * All that one span holds. `input` of an inference: its new messages, and [start, count] for those of the call before it.
 * @typedef {{id: string, title: string, name: string, operation: string, start: string, end: string|null,
 * failure: {type: string, message: string, stacktrace: string}|null, violations: Violation[], evaluations: Evaluation[],
 * attributes: Json, resource: Json, scope: Json, events: {name: string, time: string, attributes: Json}[], links: Json[],
 * facts: {[name: string]: Json}, system?: Part[], input?: (Message|[number, number])[], output?: Message[], tools?: Definition[],
 * before?: string|null, kept?: number, gone?: number, arguments?: Json, has_result?: boolean, result?: Json,
 * definition?: Definition, review?: Json, conversation: string|null, raised: string}} Payload
 */

/** `matches`: the characters there, `origin_start` to `origin_end`. @typedef {{span: string, place: string, pointer: string, matches: Json[]}} Origin */

/**
 * A value that a model put into a call or an answer, and where it came from.
 * @typedef {{part: string, value: Json, pointer: string, start: number, end: number, call: string|null, tool: string|null, status: string,
 * reason: string, first_ungrounded: boolean, from: Origin|null, latest: Origin|null, first: Origin|null}} Use
 */

/** A span that fed another or was infected by it, over how many edges, and what the edge carried. @typedef {{span: string, distance: number, why: string}} Reached */
/** @typedef {{up: Reached[], down: Reached[], more: number}} Spread */

/** @typedef {{span_id: string, title: string, value: Json, note: string}} Step */

/**
 * @typedef {{check: string, confidence: string, span_id: string, title: string, evidence: string, advice: string, probability: number|null,
 * count: number, pointer: string|null, value: Json, symptoms: string[], chain: Step[]}} Suspect
 */

/** @typedef {{span_id: string, title: string, probability: number, evidence: string}} Place */

/**
 * `suspects`: certain ones first, then likely, then possible. `fault`: why llmtrace could not diagnose the trace, and how to report it.
 * @typedef {{health: string, suspects: Suspect[], places: Place[], checked: string[], unchecked: string[], reports: string[], failed: boolean, is_judged: boolean,
 * fault?: string}} Diagnosis
 */

/**
 * A mark on the value at a JSON pointer: `cls`, a `note` behind the line, where a click goes (`href`), and the words on hover.
 * @typedef {{cls: string, note?: string, href?: string, words?: () => Child[], enter?: () => void, leave?: () => void, start?: number,
 * end?: number, more?: Mark[]}} Mark `start`, `end`: characters (code points) of a text that it is on, if not on all; `more`: others on the same.
 */
/** @typedef {{text: string, mark?: Mark}} Piece */
/** `quotes`: words to mark in whichever text holds them. @typedef {{marks?: Map<string, Mark>, quotes?: [string, Mark][], ghosts?: Map<string, {name: string, note: string}[]>}} Marking */

/** @typedef {{key: string, depth: number, row?: Row, fold?: any, kids?: number, within?: string|null}} Line */
/** @typedef {{fold: Row[], repeats: number, distinct: number, names: string[], row?: undefined}|{row: Row, fold?: undefined}} Fold */
/** @typedef {any} Child A node, a text, a list of such; null, undefined and false are nothing. */
/** @typedef {{[name: string]: any}} Query Of an address; what is empty is left out. */

/**
 * A figure over time, times in seconds; what to do at a point, with a part of the time, and to see all of it again.
 * @typedef {{title: string, note: string, times: number[], series: {group: number, part: number, values: (number|null)[]}[], percentiles: boolean,
 *   axis: (value: number) => string, marks: {time: number, number: number, drift: boolean}[], tip: (at: number) => Child[],
 *   enter: (at: number) => void, zoom: (from: number, to: number) => void, out: () => void}} Plot
 */

// The spans of a trace as a tree, in lines: what is folded away, what repeats, what a subtree holds of errors.

const LONGEST_PERIOD = 4;
const FEWEST_REPEATS = 4;
const LONG_FOLD = 24;
const DEEPEST = 1000;

/** @param {Row} row */
export const isProblem = (row) => row.state === "error" || row.state === "interrupted";

export class Tree {
  constructor() {
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Map<string, boolean>} What a person opened or closed, by the key of a line. */
    this.open = new Map();
    /** @type {Set<string>} Chosen steps of long folds, which stand alone below them. */
    this.peeked = new Set();
    /** @type {Row[]} By start. */
    this.order = [];
    /** @type {Row[]} Parents before children. */
    this.walked = [];
    /** @type {Row[]} */
    this.problems = [];
    /** @type {Map<string|null, Row[]>} */
    this.children = new Map();
    /** @type {Map<string, number>} Errors at and below a span. */
    this.below = new Map();
    this.running = false;
    this.end = 0;
  }

  /** @param {Row[]} rows */
  merge(rows) {
    for (const row of rows) this.rows.set(row.id, row);
    this.build();
  }

  build() {
    this.order = [...this.rows.values()].sort((a, b) => a.start - b.start || (a.id < b.id ? -1 : 1));
    this.children = new Map();
    for (const row of this.order) {
      const parent = row.parent && this.rows.has(row.parent) && row.parent !== row.id ? row.parent : null;
      const kids = this.children.get(parent);
      if (kids) kids.push(row);
      else this.children.set(parent, [row]);
    }
    this.end = this.order.reduce((last, row) => Math.max(last, row.end ?? row.start), 0);
    this.running = this.order.some((row) => row.state === "running");
    this.walked = [];
    const stack = [...(this.children.get(null) ?? [])].reverse();
    const seen = new Set();
    while (stack.length) {
      const row = /** @type {Row} */ (stack.pop());
      seen.add(row.id);
      this.walked.push(row);
      stack.push(...[...(this.children.get(row.id) ?? [])].reverse());
    }
    for (const row of this.order) if (!seen.has(row.id)) this.walked.push(row); // parents in a circle
    this.below = new Map();
    for (const row of [...this.walked].reverse()) {
      const kids = this.children.get(row.id) ?? [];
      this.below.set(row.id, kids.reduce((total, kid) => total + (this.below.get(kid.id) ?? 0), Number(isProblem(row))));
    }
    // where an error began, not the callers that it went through
    this.problems = this.walked.filter((row) => isProblem(row) && this.below.get(row.id) === 1);
    if (!this.problems.length) this.problems = this.walked.filter((row) => row.state === "warning");
  }

  /** Lines in order: {key, row, depth} or {key, fold, depth}; what is closed is left out. */
  lines() {
    const lines = [];
    const shown = new Set();
    const add = (/** @type {Row[]} */ rows, depth) => {
      for (const piece of this.folded(rows)) {
        if (piece.fold) {
          const key = `fold ${piece.fold[0].id}`;
          lines.push({ key, fold: piece, depth });
          for (const row of piece.fold) if (this.open.get(key) || this.peeked.has(row.id)) one(row, depth + 1, key);
        } else one(piece.row, depth, null);
      }
    };
    const one = (row, depth, within) => {
      if (shown.has(row.id)) return;
      shown.add(row.id);
      const kids = this.children.get(row.id) ?? [];
      lines.push({ key: row.id, row, depth, within, kids: kids.length });
      if (kids.length && this.open.get(row.id) !== false) add(kids, depth + 1);
    };
    add(this.children.get(null) ?? [], 0);
    if (shown.size < this.rows.size) for (const row of this.walked) if (this.path(row).length >= DEEPEST) one(row, 0, null);
    return lines;
  }

  /** Siblings with runs of repeated steps put together: steps repeat, and few arguments are different. @param {Row[]} rows @returns {Fold[]} */
  folded(rows) {
    const signs = rows.map((row) => `${row.kind} ${row.name} ${row.asks ?? ""}`);
    const pieces = /** @type {Fold[]} */ ([]);
    let at = 0;
    while (at < rows.length) {
      const best = longestRun(rows, signs, at);
      if (best) {
        pieces.push(best);
        at += best.fold.length;
      } else {
        pieces.push({ row: rows[at] });
        at += 1;
      }
    }
    return pieces;
  }

  /** The spans that a span stands in, the innermost first; parents in a circle have no end. @param {Row|undefined} row @returns {Row[]} */
  path(row) {
    const above = /** @type {Row[]} */ ([]);
    for (let up = row; up && above.length < DEEPEST; above.push(up)) if (!(up = this.rows.get(up.parent ?? ""))) break;
    return above;
  }

  /** Open whatever hides a span; of a long fold only the span itself. */
  reveal(id) {
    this.peeked.clear();
    const chosen = this.rows.get(id);
    const above = this.path(chosen);
    for (const row of above) if (this.open.get(row.id) === false) this.open.set(row.id, true);
    for (const row of chosen ? [chosen, ...above] : []) {
      const parent = row.parent && this.rows.has(row.parent) ? row.parent : null;
      for (const piece of this.folded(this.children.get(parent) ?? [])) {
        if (!piece.fold?.includes(row)) continue;
        if (piece.fold.length > LONG_FOLD) this.peeked.add(row.id);
        else this.open.set(`fold ${piece.fold[0].id}`, true);
      }
    }
  }

  /** A span and all below it, 500 at most. @returns {Row[]} */
  subtree(id) {
    const found = /** @type {Row[]} */ ([]);
    const stack = [this.rows.get(id)];
    while (stack.length) {
      const row = stack.pop();
      if (!row || found.includes(row)) continue;
      found.push(row);
      if (found.length >= 500) break;
      stack.push(...[...(this.children.get(row.id) ?? [])].reverse());
    }
    return found;
  }
}

/** @param {Row[]} rows @param {string[]} signs */
function longestRun(rows, signs, at) {
  let best = /** @type {any} */ (null);
  for (let period = 1; period <= LONGEST_PERIOD; period += 1) {
    let repeats = 1;
    while (at + (repeats + 1) * period <= rows.length && same(signs, at, at + repeats * period, period)) repeats += 1;
    if (repeats < FEWEST_REPEATS) continue;
    const fold = rows.slice(at, at + repeats * period);
    const ran = fold.filter((row) => row.kind === "tool");
    const calls = ran.length ? ran : fold.filter((row) => row.asks); // tools without spans of their own: what the model asked for
    const distinct = new Set(calls.map((row) => `${row.name} ${row.same}`)).size;
    if (!calls.length || distinct * 2 > calls.length) continue;
    if (!best || fold.length > best.fold.length) {
      best = { fold, repeats, distinct, names: [...new Set(calls.flatMap((row) => row.asks ?? [row.name]))] };
    }
  }
  return best;
}

/** @param {string[]} signs */
function same(signs, a, b, length) {
  for (let step = 0; step < length; step += 1) if (signs[a + step] !== signs[b + step]) return false;
  return true;
}

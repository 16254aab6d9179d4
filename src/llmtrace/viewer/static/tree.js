// The spans of a trace as lines of a tree: what is folded away, what repeats.

const LONGEST_PERIOD = 4;
const FEWEST_REPEATS = 4;
const LONG_FOLD = 24;
const LOOK_AHEAD = 24; // calls, of which half may differ before a repetition is given up
const DEEPEST = 1000;

/** @param {Row} row */
export const isProblem = (row) => row.state === "error" || row.state === "interrupted";

export class Tree {
  rows = new Map();
  open = new Map(); // what a person opened or closed, by the key of a line
  peeked = new Set(); // chosen steps of long folds, which stand alone below them
  order = []; // by start
  walked = []; // parents before children
  circular = []; // parents in a circle, which no root leads to
  problems = [];
  children = new Map();
  folds = new Map(); // by parent
  below = new Map(); // errors at and below a span
  running = false;
  end = 0;

  merge(rows) {
    for (const row of rows) this.rows.set(row.id, row);
    this.build();
  }

  build() {
    const lasted = (row) => (row.end === row.start ? 0 : 1);
    this.order = [...this.rows.values()].sort((a, b) => a.start - b.start || lasted(a) - lasted(b) || (a.id < b.id ? -1 : 1));
    this.children = new Map();
    for (const row of this.order) {
      const parent = this.parentOf(row);
      if (!this.children.get(parent)?.push(row)) this.children.set(parent, [row]);
    }
    this.end = this.order.reduce((last, row) => Math.max(last, row.end ?? row.start), 0);
    this.running = this.order.some((row) => row.state === "running");
    const reached = new Set(this.subtree(null, Infinity));
    this.circular = this.order.filter((row) => !reached.has(row));
    this.walked = [...reached, ...this.circular];
    this.folds = new Map([...this.children].map(([parent, rows]) => [parent, foldRepeats(rows)]));
    this.below = new Map();
    for (let at = this.walked.length - 1; at >= 0; at -= 1) {
      const row = this.walked[at];
      this.below.set(row.id, this.kidsOf(row.id).reduce((total, kid) => total + (this.below.get(kid.id) ?? 0), Number(isProblem(row))));
    }
    // where an error began, not the callers that it went through
    this.problems = this.walked.filter((row) => isProblem(row) && this.below.get(row.id) === 1);
    if (!this.problems.length) this.problems = this.walked.filter((row) => row.state === "warning");
  }

  /** @param {Row} row */
  parentOf({ id, parent }) {
    return parent && parent !== id && this.rows.has(parent) ? parent : null;
  }

  /** @returns {Row[]} */
  kidsOf(parent) {
    return this.children.get(parent) ?? [];
  }

  /** Lines in order: {key, row, depth} or {key, fold, depth}; what is closed is left out. */
  lines() {
    const lines = [];
    const shown = new Set();
    const add = (parent, depth) => {
      for (const piece of this.folds.get(parent) ?? []) {
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
      const kids = this.kidsOf(row.id).length;
      lines.push({ key: row.id, row, depth, within, kids });
      if (kids && this.open.get(row.id) !== false) add(row.id, depth + 1);
    };
    add(null, 0);
    for (const row of this.circular) one(row, 0, null);
    return lines;
  }

  /** The spans that a span stands in, the innermost first; parents in a circle have no end. */
  path(row) {
    const above = [];
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
      const fold = this.folds.get(this.parentOf(row))?.find((piece) => piece.fold?.includes(row))?.fold;
      if (!fold) continue;
      if (fold.length > LONG_FOLD) this.peeked.add(row.id);
      else this.open.set(`fold ${fold[0].id}`, true);
    }
  }

  /** A span and all below it, parents first; of null, all that is below no span. */
  subtree(id, most = 500) {
    const found = new Set();
    const top = this.rows.get(id ?? "");
    const stack = top ? [top] : [...this.kidsOf(null)].reverse();
    for (let row = stack.pop(); row && found.size < most; row = stack.pop()) {
      if (found.has(row)) continue;
      found.add(row);
      stack.push(...[...this.kidsOf(row.id)].reverse());
    }
    return [...found];
  }
}

/** Siblings with runs of repeated steps put together. */
function foldRepeats(rows) {
  const signs = rows.map((row) => `${row.kind} ${row.name} ${row.asks ?? ""}`);
  const last = new Map();
  const before = rows.map((row, at) => { // the step before it with the same arguments
    const key = `${signs[at]} ${row.same}`;
    const earlier = last.get(key) ?? -1;
    last.set(key, at);
    return earlier;
  });
  const pieces = [];
  for (let at = 0; at < rows.length;) {
    const piece = /** @type {Fold} */ (repetition(rows, signs, before, at) ?? { row: rows[at] });
    pieces.push(piece);
    at += piece.fold?.length ?? 1;
  }
  return pieces;
}

/** The longest repetition that begins at a step. It is given up early where most calls differ: time stays linear. */
function repetition(rows, signs, before, at) {
  for (let period = 1; period <= LONGEST_PERIOD && at + period <= rows.length; period++) {
    const first = rows.slice(at, at + period);
    const traced = first.some((row) => row.kind === "tool"); // else what the model asked for
    const isCall = (row) => (traced ? row.kind === "tool" : row.asks);
    const calls = first.filter(isCall);
    if (!calls.length) continue;
    let [repeats, different] = [0, 0];
    let best = { repeats, distinct: 0 };
    for (let from = at; same(signs, at, from, period); from += period) {
      for (let step = from; step < from + period; step++) if (before[step] < at && isCall(rows[step])) different += 1;
      repeats += 1;
      if (different * 2 <= repeats * calls.length) best = { repeats, distinct: different };
      else if (repeats * calls.length >= LOOK_AHEAD) break;
    }
    if (repeats < FEWEST_REPEATS) continue;
    if (best.repeats < FEWEST_REPEATS) return null;
    return { ...best, fold: rows.slice(at, at + best.repeats * period), names: [...new Set(calls.flatMap((row) => row.asks ?? [row.name]))] };
  }
  return null;
}

function same(signs, a, b, length) {
  for (let step = 0; step < length; step++) if (signs[a + step] !== signs[b + step]) return false;
  return true;
}

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
  pinned = []; // suspects, and what they stand in
  shown = new Set(); // no fold hides them: the pinned, and the chosen step of a long fold
  order = []; // by start
  walked = []; // parents before children
  circular = []; // parents in a circle, which no root leads to
  problems = [];
  children = new Map();
  folds = new Map(); // by parent
  forms = new Map(); // numbers, equal where a span and all below it are: in the arguments that ran, those asked for, all else
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
    this.below = new Map();
    const numbers = new Map();
    const number = (...parts) => {
      const text = JSON.stringify(parts);
      return numbers.get(text) ?? numbers.set(text, numbers.size + 1).size;
    };
    for (const row of [...this.walked].reverse()) {
      const kids = this.kidsOf(row.id);
      this.below.set(row.id, kids.reduce((total, kid) => total + (this.below.get(kid.id) ?? 0), Number(isProblem(row))));
      const below = (name) => kids.map((kid) => this.forms.get(kid.id)?.[name]);
      const same = (name, own) => (own || below(name).some(Boolean) ? number(own && row.same, below(name)) : 0);
      this.forms.set(row.id, { ran: same("ran", row.kind === "tool"), asked: same("asked", row.asks), sign: number(row.kind, row.name, row.asks, below("sign")) });
    }
    this.folds = new Map([...this.children].map(([parent, rows]) => [parent, this.foldRepeats(rows)]));
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
          for (const row of piece.fold) if (this.open.get(key) || this.shown.has(row.id)) one(row, depth + 1, key);
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

  pin(rows) {
    this.pinned = rows.flatMap((row) => this.path(row).map((up) => up.id));
    for (const id of this.pinned) this.shown.add(id);
  }

  /** Open whatever hides a span; of a long fold only the span itself. */
  reveal(id) {
    this.shown = new Set(this.pinned);
    const chosen = this.rows.get(id);
    const above = this.path(chosen);
    for (const row of above) if (this.open.get(row.id) === false) this.open.set(row.id, true);
    for (const row of chosen ? [chosen, ...above] : []) {
      const fold = this.folds.get(this.parentOf(row))?.find((piece) => piece.fold?.includes(row))?.fold;
      if (!fold) continue;
      if (fold.length > LONG_FOLD) this.shown.add(row.id);
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
  /** Siblings with runs of repeated steps put together. */
  foldRepeats(rows) {
    const forms = rows.map((row) => this.forms.get(row.id));
    const last = new Map();
    const before = forms.map(({ sign, ran, asked }, at) => { // the step before it with the same arguments
      const key = `${sign} ${ran || asked}`;
      const earlier = last.get(key) ?? -1;
      last.set(key, at);
      return earlier;
    });
    const pieces = [];
    for (let at = 0; at < rows.length;) {
      const found = repetition(forms, before, at);
      if (found) {
        const fold = rows.slice(at, at + found.length);
        const names = fold.slice(0, found.period).flatMap((row) => this.subtree(row.id)).flatMap((row) => (found.traced ? row.kind === "tool" && row.name : row.asks) || []);
        pieces.push({ ...found, fold, names: [...new Set(names)] });
      } else pieces.push({ row: rows[at] });
      at += found?.length ?? 1;
    }
    return pieces;
  }
}

/** The repetition that begins at a step. It is given up early where most calls differ: time stays linear. */
function repetition(forms, before, at) {
  for (let period = 1; period <= LONGEST_PERIOD && at + period <= forms.length; period++) {
    const first = forms.slice(at, at + period);
    const traced = first.some((form) => form.ran); // else what the model asked for
    const isCall = (form) => (traced ? form.ran : form.asked);
    const calls = first.filter(isCall).length;
    if (!calls) continue;
    let [repeats, different, best, distinct] = [0, 0, 0, 0];
    for (let from = at; first.every((form, step) => forms[from + step]?.sign === form.sign); from += period) {
      for (let step = from; step < from + period; step++) if (before[step] < at && isCall(forms[step])) different += 1;
      repeats += 1;
      if (different * 2 <= repeats * calls) [best, distinct] = [repeats, different];
      else if (repeats * calls >= LOOK_AHEAD) break;
    }
    if (repeats >= FEWEST_REPEATS) return best >= FEWEST_REPEATS ? { repeats: best, distinct, period, traced, length: best * period } : null;
  }
  return null;
}

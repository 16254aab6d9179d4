// The spans of a trace as a tree, in lines: what is folded away, what repeats, what a subtree holds of errors.

const LONGEST_PERIOD = 4;
const FEWEST_REPEATS = 4;

export class Tree {
  constructor() {
    this.rows = new Map();
    this.open = new Map(); // what a person opened or closed, by the key of a line
  }

  merge(rows) {
    for (const row of rows) this.rows.set(row.id, row);
    this.build();
  }

  build() {
    this.order = [...this.rows.values()].sort((a, b) => a.start - b.start || (a.id < b.id ? -1 : 1));
    this.children = new Map();
    for (const row of this.order) {
      const parent = row.parent && this.rows.has(row.parent) && row.parent !== row.id ? row.parent : null;
      if (!this.children.has(parent)) this.children.set(parent, []);
      this.children.get(parent).push(row);
    }
    this.end = this.order.reduce((last, row) => Math.max(last, row.end ?? row.start), 0);
    this.walked = [];
    const stack = [...(this.children.get(null) ?? [])].reverse();
    const seen = new Set();
    while (stack.length) {
      const row = stack.pop();
      seen.add(row.id);
      this.walked.push(row);
      stack.push(...[...(this.children.get(row.id) ?? [])].reverse());
    }
    for (const row of this.order) if (!seen.has(row.id)) this.walked.push(row); // parents in a circle
    this.problems = this.walked.filter((row) => ["error", "interrupted"].includes(row.state));
    if (!this.problems.length) this.problems = this.walked.filter((row) => row.state === "warning");
    this.below = new Map();
    for (const row of [...this.walked].reverse()) {
      const kids = this.children.get(row.id) ?? [];
      const own = row.state === "error" || row.state === "interrupted" ? 1 : 0;
      this.below.set(row.id, kids.reduce((total, kid) => total + (this.below.get(kid.id) ?? 0), own));
    }
  }

  /** Lines in order: {key, row, depth} or {key, fold, depth}; what is closed is left out. */
  lines() {
    const lines = [];
    const shown = new Set();
    const add = (rows, depth) => {
      for (const piece of this.folded(rows)) {
        if (piece.fold) {
          const key = `fold ${piece.fold[0].id}`;
          lines.push({ key, fold: piece, depth });
          if (this.open.get(key)) piece.fold.forEach((row) => one(row, depth + 1, key));
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
    if (shown.size < this.rows.size) for (const row of this.walked) if (!this.reached(row)) one(row, 0, null);
    return lines;
  }

  /** Whether some root leads to a span; parents in a circle have none. */
  reached(row) {
    for (let steps = 0; row && steps < 1000; steps += 1) {
      if (!row.parent || !this.rows.has(row.parent)) return true;
      row = this.rows.get(row.parent);
    }
    return false;
  }

  /** Siblings with runs of repeated steps put together: steps repeat, and few arguments are different. */
  folded(rows) {
    const signs = rows.map((row) => `${row.kind} ${row.name}`);
    const pieces = [];
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

  /** Open whatever hides a span. */
  reveal(id) {
    const above = [];
    for (let row = this.rows.get(id); row && above.length < 1000; row = this.rows.get(row.parent)) above.push(row);
    for (const row of above.slice(1)) if (this.open.get(row.id) === false) this.open.set(row.id, true);
    for (const row of above) {
      const parent = row.parent && this.rows.has(row.parent) ? row.parent : null;
      for (const piece of this.folded(this.children.get(parent) ?? [])) {
        if (piece.fold && piece.fold.includes(row)) this.open.set(`fold ${piece.fold[0].id}`, true);
      }
    }
  }

  subtree(id) {
    const found = [];
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

function longestRun(rows, signs, at) {
  let best = null;
  for (let period = 1; period <= LONGEST_PERIOD; period += 1) {
    let repeats = 1;
    while (at + (repeats + 1) * period <= rows.length && same(signs, at, at + repeats * period, period)) repeats += 1;
    if (repeats < FEWEST_REPEATS) continue;
    const fold = rows.slice(at, at + repeats * period);
    const tools = fold.filter((row) => row.kind === "tool");
    const distinct = new Set(tools.map((row) => `${row.name} ${row.same}`)).size;
    if (!tools.length || distinct * 2 > tools.length) continue;
    if (!best || fold.length > best.fold.length) {
      best = { fold, repeats, distinct, names: [...new Set(tools.map((row) => row.name))] };
    }
  }
  return best;
}

function same(signs, a, b, length) {
  for (let step = 0; step < length; step += 1) if (signs[a + step] !== signs[b + step]) return false;
  return true;
}

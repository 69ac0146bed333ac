// The nodes of a run, and which of them are lines now. No element of the page is touched here.

const ENDED_WELL = new Set(["completed", "skipped"]);
const CALM = new Set(["completed", "skipped", "waiting", "parked"]);

export class Tree {
  constructor() {
    this.nodes = new Map();
    this.root = null;
    this.folded = new Map(); // what a person folded or unfolded, by path
    this.onlyBusy = false;
    this.lines = [];
    this.stale = true;
  }

  // Take in rows; parents come before their children. Return whether the lines may differ.
  apply(rows) {
    for (const row of rows) {
      row.progress ??= 0;
      let node = this.nodes.get(row.path);
      if (node === undefined) {
        const cut = row.path.lastIndexOf("/");
        const parent = this.nodes.get(row.path.slice(0, cut)) ?? null;
        node = { path: row.path, name: row.path.slice(cut + 1), parent, children: [], row, busy: 0, tally: new Map() };
        node.depth = parent ? parent.depth + 1 : 0;
        this.nodes.set(row.path, node);
        if (parent) {
          node.place = parent.children.length;
          parent.children.push(node);
        } else if (this.root === null) {
          this.root = node;
        }
        this.count(node, row.state, 1);
      } else {
        if (node.row.state !== row.state) {
          this.count(node, node.row.state, -1);
          this.count(node, row.state, 1);
        }
        node.row = row;
      }
    }
    this.stale = true;
  }

  // Keep the counts of all nodes above one.
  count(node, state, step) {
    const busy = CALM.has(state) ? 0 : step;
    const isLeaf = node.row.is_leaf;
    for (let above = node.parent; above; above = above.parent) {
      above.busy += busy;
      if (isLeaf) above.tally.set(state, (above.tally.get(state) ?? 0) + step);
    }
  }

  isFolded(node) {
    if (node.children.length === 0) return false;
    const said = this.folded.get(node.path);
    if (said !== undefined) return said;
    return node !== this.root && ENDED_WELL.has(node.row.state) && node.busy === 0;
  }

  fold(node, folded) {
    this.folded.set(node.path, folded);
    this.stale = true;
  }

  // Show a node, whatever is folded above it.
  reveal(path) {
    const node = this.nodes.get(path);
    for (let above = node?.parent; above; above = above.parent) this.fold(above, false);
    return node;
  }

  current() {
    if (!this.stale) return this.lines;
    this.stale = false;
    const lines = [];
    const stack = this.root ? [this.root] : [];
    while (stack.length) {
      const node = stack.pop();
      if (this.onlyBusy && node !== this.root && CALM.has(node.row.state) && node.busy === 0) continue;
      node.line = lines.length;
      lines.push(node);
      if (!this.isFolded(node)) for (let at = node.children.length - 1; at >= 0; at--) stack.push(node.children[at]);
    }
    this.lines = lines;
    return lines;
  }

  lineOf(path) {
    const lines = this.current();
    const node = this.nodes.get(path);
    return node && lines[node.line] === node ? node.line : -1;
  }

  // The nodes that decided how long it took: every step of a sequence, of a group the one that ended last.
  critical(now) {
    const found = new Set();
    const stack = this.root ? [this.root] : [];
    while (stack.length) {
      const node = stack.pop();
      found.add(node.path);
      const begun = node.children.filter((child) => child.row.started_ms !== undefined);
      if (node.row.is_sequence) stack.push(...begun);
      else if (begun.length) stack.push(begun.reduce((last, child) => ((child.row.ended_ms ?? now) > (last.row.ended_ms ?? now) ? child : last)));
    }
    return found;
  }
}

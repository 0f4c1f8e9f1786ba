/**
 * What is switched off, cut and steered: a list of edits that can be undone, and stands in the
 * address.
 *
 * Ids of nodes ("0.attn_v.210") and edges ("0.attn_out:210->88") share one set: an edge's has "->".
 */

const NOTHING = Object.freeze({ off: Object.freeze([]), values: Object.freeze({}), ablation: "" });

export class Cut {
  constructor(start = NOTHING) {
    this.now = start;
    this.past = [];
    this.future = [];
    this.listeners = new Set();
    this.merging = null;
  }

  /** Call back after every change. */
  subscribe(call) {
    this.listeners.add(call);
    return () => this.listeners.delete(call);
  }

  /** Switch nodes or edges off, or on again where all of them are off. */
  toggle(...ids) {
    const off = new Set(this.now.off);
    const back = ids.every((id) => off.has(id));
    for (const id of ids) back ? off.delete(id) : off.add(id);
    this.#become({ ...this.now, off: [...off] });
    return !back;
  }

  isOff(id) {
    return this.now.off.includes(id);
  }

  /** Set a node to a value everywhere; null lets it run freely again. One slide is one step. */
  steer(id, value) {
    const values = { ...this.now.values };
    if (value === null) delete values[id];
    else values[id] = value;
    this.#become({ ...this.now, values }, value === null ? null : id);
  }

  /** End a slide: the next one is a step of its own. */
  settle() {
    this.merging = null;
  }

  ablate(ablation) {
    this.#become({ ...this.now, ablation });
  }

  reset() {
    if (!this.empty) this.#become({ ...NOTHING, ablation: this.now.ablation });
  }

  undo() {
    if (!this.past.length) return;
    this.future.push(this.now);
    this.#show(this.past.pop());
  }

  redo() {
    if (!this.future.length) return;
    this.past.push(this.now);
    this.#show(this.future.pop());
  }

  /** Take over a state that came from the address, as a step of its own. */
  adopt(state) {
    if (written(state) !== written(this.now)) this.#become(state);
  }

  get empty() {
    return !this.now.off.length && !Object.keys(this.now.values).length;
  }

  get size() {
    return this.now.off.length + Object.keys(this.now.values).length;
  }

  /** The edits as the server reads them. */
  edits() {
    const off = this.now.off.map((id) => (id.includes("->") ? { cut: id } : { off: id }));
    const values = Object.entries(this.now.values).map(([node, value]) => ({ node, value }));
    return [...off, ...values];
  }

  /** The parts of the address that hold this. */
  query() {
    const values = Object.entries(this.now.values).map(([node, value]) => `${node}=${value}`);
    return { off: this.now.off.join(","), set: values.join(","), ablation: this.now.ablation };
  }

  #become(state, merging = null) {
    if (merging === null || merging !== this.merging) {
      this.past.push(this.now);
      this.future = [];
    }
    this.merging = merging;
    this.#show(state);
  }

  #show(state) {
    this.now = state;
    this.listeners.forEach((call) => call(this));
  }
}

/** The state that an address holds. */
export function fromQuery(query) {
  const off = (query.off ?? "").split(",").filter(Boolean);
  const values = {};
  for (const pair of (query.set ?? "").split(",").filter(Boolean)) {
    const [node, value] = pair.split("=");
    if (Number.isFinite(Number(value))) values[node] = Number(value);
  }
  return { off, values, ablation: query.ablation ?? "" };
}

function written(state) {
  return JSON.stringify([state.off, state.values, state.ablation]);
}

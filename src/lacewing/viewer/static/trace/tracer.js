/**
 * Answers that are being traced: one prompt, or two beside each other, with what is chosen, pinned,
 * grouped and switched off. All of it stands in the address.
 *
 * Whoever shows something of it subscribes by name: traced, chosen, view, held, live.
 */

import { poll, send } from "../api.js";
import { Cut, fromQuery } from "../cut.js";
import { quietly } from "../dom.js";
import { update } from "../state.js";

export const SHOWN = 40;
/** Nodes that are drawn at first. */
const WORDS = 24;
/** Tokens that are generated at a click. */

const LIST = (text) => (text ?? "").split(",").filter(Boolean);

export class Tracer {
  constructor(query) {
    this.listeners = new Map();
    this.stop = new AbortController();
    this.sides = [];
    this.chosen = query.node ?? null;
    this.at = query.at === "2" ? 1 : 0;
    this.pins = LIST(query.pins);
    this.groups = LIST(query.groups).map((group) => group.split("+")).filter((group) => group.length > 1);
    this.by = query.by ?? "";
    this.measure = query.measure === "partner" ? "partner" : "";
    this.find = query.find ?? "";
    this.texts = query.texts === "1";
    this.words = query.go === "1" ? WORDS : 0;
    this.shown = Math.min(Math.max(Number(query.show) || SHOWN, 1), 300);
    this.cut = new Cut(fromQuery(query));
    this.cut.subscribe(() => this.#changed());
    // Nothing is asked twice: that would take back the text of a question asked in between.
    this.say = quietly(120, () => { if (this.asked !== this.#held()) this.goOn(0); });
  }

  on(name, call) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(call);
    return () => this.listeners.get(name).delete(call);
  }

  tell(name) {
    this.listeners.get(name)?.forEach((call) => call(this));
  }

  close() {
    this.stop.abort();
    this.listeners.clear();
  }

  /** The side whose node is chosen. */
  get side() {
    return this.sides[this.at] ?? this.sides[0];
  }

  /** Trace what the address asks for. */
  async start(wanted) {
    this.sides = wanted.map((one) => ({ ...one, state: "waiting", data: null, error: null, live: null }));
    this.tell("traced");
    for (const side of this.sides) await this.#trace(side);
    this.ask(this.words);
  }

  /** Let the model write on, as it was and as it is changed; with 0, only say what it holds. */
  goOn(words = WORDS) {
    this.words = words;
    update({ go: words ? "1" : "" });
    return this.ask(words);
  }

  async #trace(side) {
    const first = this.sides[0];
    const body = { text: side.text };
    if (side.partner) body.partner = side.partner;
    else if (side.seek) body.find_partner = true;
    for (const end of ["answer", "rival"]) {
      // The second side is asked about the tokens of the first, so that the two can be compared.
      const other = side !== first && first.data ? (side.model === first.model ? first.data.ids[end] : first.data[end]) : null;
      const token = side === first ? side[end] : other;
      if (token || token === 0) body[end] = token;
    }
    const seen = (answer) => {
      const news = answer.state !== side.state || answer.done !== side.progress?.done || answer.note !== side.progress?.note;
      side.progress = answer;
      if (answer.state === "ready") side.data = answer;
      side.state = answer.state;
      if (news) this.tell("traced");
    };
    side.body = body;
    side.stop = new AbortController();
    const { signal } = side.stop;
    this.stop.signal.addEventListener("abort", () => side.stop.abort(), { signal });
    if (side.state === "cancelled") return;
    try {
      await poll(() => send("POST", ["models", side.model, "trace"], body, signal), (answer) => answer.state === "ready", seen, signal, 400);
    } catch (error) {
      if (signal.aborted) return;
      side.state = "failed";
      side.error = error.message;
      this.tell("traced");
    }
  }

  /** Want what is still being traced no longer: the server stops at its next step. */
  async cancel() {
    const running = this.sides.filter((side) => !side.data && !side.error);
    for (const side of running) {
      side.stop?.abort();
      side.state = "cancelled";
      side.error = "Cancelled. Press Trace to ask again.";
    }
    this.tell("traced");
    for (const side of running.filter((one) => one.body)) {
      await send("POST", ["models", side.model, "trace", "cancel"], side.body, this.stop.signal).catch(() => null);
    }
  }

  /** Choose a node of a side, or null for none. */
  choose(id, at = this.at) {
    if (id === this.chosen && at === this.at) return;
    this.chosen = id;
    this.at = id === null ? 0 : at;
    update({ node: id, at: this.at ? 2 : "" }, true);
    this.tell("chosen");
  }

  /** Pin a node, or unpin it. */
  pin(id) {
    this.pins = this.pins.includes(id) ? this.pins.filter((one) => one !== id) : [...this.pins, id];
    this.look();
  }

  /** Make one group of what is pinned. */
  group() {
    const taken = new Set(this.pins);
    const rest = this.groups.map((group) => group.filter((id) => !taken.has(id))).filter((group) => group.length > 1);
    this.groups = [...rest, this.pins];
    this.pins = [];
    this.look();
  }

  /** Dissolve a group. */
  ungroup(members) {
    this.groups = this.groups.filter((group) => group.join() !== members.join());
    this.look();
  }

  /** What is shown has changed: draw, and keep it in the address. */
  look() {
    update({
      pins: this.pins.join(","), groups: this.groups.map((group) => group.join("+")).join(","),
      by: this.by, measure: this.measure, find: this.find, show: this.shown === SHOWN ? "" : this.shown,
    });
    this.tell("view");
  }

  /** Show where in text each chosen node acts, or do not. */
  read(wanted) {
    if (wanted === this.texts) return;
    this.texts = wanted;
    if (!wanted) this.reading?.abort();
    update({ texts: wanted ? "1" : "" });
  }

  #changed() {
    const { off, set } = this.cut.query();
    update({ off, set });
    this.tell("held");
    this.say();
  }

  /** What is switched off or set, as it is asked. */
  #held() {
    return JSON.stringify(this.cut.edits().map((edit) => (edit.off ? { node: edit.off } : edit)));
  }

  /** Ask each side what it says to what is switched off; the latest question wins. */
  async ask(tokens = 0) {
    const mine = (this.turn = (this.turn ?? 0) + 1);
    this.asked = this.#held();
    const held = JSON.parse(this.asked);
    for (const side of this.sides) {
      if (!side.data || (!held.length && !tokens)) {
        Object.assign(side, { live: null, wrong: null, busy: false });
        continue;
      }
      const body = { text: side.text, ...side.data.ids, held: side.model === this.sides[0].model ? held : [], tokens };
      side.busy = true;
      this.tell("live");
      try {
        const answer = await send("POST", ["models", side.model, "switched"], body, this.stop.signal);
        if (mine !== this.turn) return;
        side.live = answer;
        side.wrong = null;
      } catch (error) {
        if (mine !== this.turn || this.stop.signal.aborted) return;
        side.live = null;
        side.wrong = error.message;
      }
      side.busy = false;
    }
    this.tell("live");
  }
}

/** What an address asks for: one side, or two. */
export function wanted({ path, query }, models) {
  const known = (id) => models.some((m) => m.id === id);
  const model = known(path[1]) ? path[1] : models[0]?.id;
  if (!query.text || !model) return [];
  const first = { model, text: query.text, answer: unescaped(query.answer), rival: unescaped(query.rival), partner: query.partner ?? "", seek: query.seek === "1" };
  const other = known(query.with) ? query.with : model;
  if (!query.vs && other === model) return [first];
  return [first, { model: other, text: query.vs || query.text }];
}

/** What people type for line ends and tabs, as they are. */
export function unescaped(text) {
  return (text ?? "").replaceAll("\\n", "\n").replaceAll("\\t", "\t");
}

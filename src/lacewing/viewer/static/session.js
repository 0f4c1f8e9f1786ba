/**
 * One circuit that is being looked at: its graph, what is cut, what the model says to that, what
 * people wrote. It outlives the change from one part of the page to another.
 *
 * Whoever shows something of it subscribes by name: cut, live, effects, notes, prompt, chosen.
 */

import { get, poll, readOnly, send } from "./api.js";
import { Cut, fromQuery } from "./cut.js";
import { graph } from "./graph/model.js";
import { Live } from "./live.js";
import { read, update } from "./state.js";

export class Session {
  constructor(id, circuit, emergences = []) {
    this.id = id;
    this.emergences = emergences;
    this.listeners = new Map();
    this.stop = new AbortController();
    this.effects = null;
    this.chosen = null;
    this.prompt = { pair: 0, member: "clean", text: null };
    this.cut = new Cut(fromQuery(read().query));
    this.cut.subscribe(() => this.#changed());
    this.live = new Live(this);
    this.take(circuit);
    this.follow(read().query);
  }

  /** Use a new answer for the circuit, as after a verification. */
  take(circuit) {
    this.circuit = circuit;
    this.notes = circuit.notes ?? { annotations: [], supernodes: [] };
    this.graph = graph(circuit);
  }

  on(name, call) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(call);
    return () => this.listeners.get(name).delete(call);
  }

  tell(name) {
    this.listeners.get(name)?.forEach((call) => call(this));
  }

  /** Start what runs beside the page: effects of all nodes and edges, the first live answer. */
  start() {
    this.live.ask();
    const done = (answer) => answer.state === "ready";
    const seen = (answer) => {
      this.effects = answer;
      this.tell("effects");
    };
    poll(() => get(["circuits", this.id, "effects"]), done, seen, this.stop.signal).catch((error) => {
      this.effectsError = error.message;
      this.tell("effects");
    });
  }

  close() {
    this.stop.abort();
    this.live.close();
    this.listeners.clear();
  }

  /** Choose a node or an edge, or null for none. */
  choose(id) {
    if (id === this.chosen) return;
    this.chosen = id;
    update({ node: id }, true);
    this.tell("chosen");
  }

  /** Choose the prompt that the answers are shown for. */
  ask(prompt) {
    this.prompt = { pair: 0, member: "clean", text: null, ...prompt };
    const { pair, member, text } = this.prompt;
    update({ pair: text === null && pair ? pair : "", member: text === null && member !== "clean" ? member : "", text });
    this.tell("prompt");
    this.live.ask();
  }

  /** Take over what an address says, after Back or a link. */
  follow(query) {
    this.cut.adopt(fromQuery(query));
    const prompt = { pair: Number(query.pair ?? 0) || 0, member: query.member === "corrupted" ? "corrupted" : "clean", text: query.text ?? null };
    if (JSON.stringify(prompt) !== JSON.stringify(this.prompt)) {
      this.prompt = prompt;
      this.tell("prompt");
      this.live.ask();
    }
    const chosen = query.node ?? null;
    if (chosen !== this.chosen) {
      this.chosen = chosen;
      this.tell("chosen");
    }
  }

  /** What the effect of switching something off is, in nats, or undefined. */
  effect(id) {
    return this.effects?.[id.includes("->") ? "edges" : "nodes"][id];
  }

  /** Keep a change of the notes; shown at once, saved at once. */
  async keep(kind, entry) {
    const list = this.notes[kind].filter((one) => one.id !== entry.id);
    this.notes = { ...this.notes, [kind]: [...list, entry] };
    this.tell("notes");
    const { id, ...body } = entry;
    await send("PUT", ["circuits", this.id, kind, id], body);
  }

  /** Remove a note or a group. */
  async drop(kind, id) {
    this.notes = { ...this.notes, [kind]: this.notes[kind].filter((one) => one.id !== id) };
    this.tell("notes");
    await send("DELETE", ["circuits", this.id, kind, id]);
  }

  #changed() {
    update(this.cut.query());
    this.tell("cut");
    if (!readOnly) this.live.ask();
  }
}

/** Read a circuit and make its session; the states of trainings too, so that no line comes later. */
export async function open(id) {
  const states = get(["emergences"]).catch(() => ({ emergences: [] })); // a page without them is whole
  const circuit = await get(["circuits", id]);
  return new Session(id, circuit, (await states).emergences);
}

/** What is off or held, kept in the address, and what the server measures of it, step by step. */

import { get, poll, send } from "../api.js";
import { update } from "../state.js";

const PAUSE = 250;

/** The state of the page of one circuit. */
export class Asking {
  constructor(id, overview, query) {
    this.id = id;
    this.overview = overview;
    this.off = new Set((query.off ?? "").split(",").filter(Boolean));
    this.held = new Map((query.set ?? "").split(",").filter(Boolean).map((word) => [word.split("=")[0], Number(word.split("=")[1])]).filter(([, value]) => Number.isFinite(value)));
    this.chosen = query.group ?? "";
    this.node = query.node ?? "";
    this.pair = Math.min(Math.max(Number(query.pair) || 0, 0), overview.pairs - 1);
    this.member = query.member === "corrupted" ? "corrupted" : "clean";
    this.answer = null;
    this.progress = null;
    this.wrong = "";
    this.listeners = {};
    this.waiting = null;
  }

  /** Call back on "cut", "answer", "chosen" or "measured"; gives what ends that. */
  on(name, call) {
    (this.listeners[name] ??= new Set()).add(call);
    return () => this.listeners[name]?.delete(call);
  }

  tell(name) {
    this.listeners[name]?.forEach((call) => call());
  }

  /** Everything by name: sites, and heads of them. */
  get groups() {
    return new Map(this.overview.groups.flatMap((group) => [[group.name, group], ...group.heads.map((head) => [head.name, head])]));
  }

  get size() {
    return this.off.size + this.held.size;
  }

  start() {
    this.ask();
  }

  measured(overview) {
    this.overview = overview;
    this.tell("measured");
  }

  failed(error) {
    this.wrong = error.message;
    this.tell("answer");
  }

  choose(group, node = "") {
    this.chosen = group;
    this.node = node;
    update({ group, node });
    this.tell("chosen");
  }

  toggle(name) {
    this.held.delete(name);
    this.off.has(name) ? this.off.delete(name) : this.off.add(name);
    this.changed();
  }

  steer(node, value) {
    this.off.delete(node);
    value === null ? this.held.delete(node) : this.held.set(node, value);
    this.changed();
  }

  reset() {
    this.off.clear();
    this.held.clear();
    this.changed();
  }

  look(pair, member) {
    this.pair = pair;
    this.member = member;
    update({ pair: pair || "", member: member === "clean" ? "" : member });
    this.ask();
  }

  changed() {
    update({ off: [...this.off].join(","), set: [...this.held].map(([node, value]) => `${node}=${value}`).join(",") }, true);
    this.tell("cut");
    this.ask();
  }

  body() {
    const edits = [...[...this.off].map((off) => ({ off })), ...[...this.held].map(([node, value]) => ({ node, value }))];
    return { edits, pair: this.pair, member: this.member };
  }

  /** Ask for what the switches stand for now; what was asked before and is not done is let go. */
  async ask() {
    const same = this.waiting && JSON.stringify(this.waiting.body.edits) === JSON.stringify(this.body().edits);
    if (same) this.waiting.stop.abort();
    else this.stop();
    const mine = { body: this.body(), stop: new AbortController() };
    this.waiting = mine;
    this.progress = { done: 0, total: 0 };
    this.wrong = "";
    this.tell("answer");
    const seen = (found) => {
      if (found.state === "computing") this.progress = found;
      else [this.answer, this.progress, this.waiting] = [found, null, null];
      this.tell("answer");
    };
    try {
      await poll(() => send("POST", ["groups", this.id, "ask"], mine.body), (found) => found.state !== "computing", seen, mine.stop.signal, PAUSE);
    } catch (error) {
      if (mine.stop.signal.aborted) return;
      [this.progress, this.waiting] = [null, null];
      this.failed(error);
    }
  }

  /** Let what is being measured go. */
  stop() {
    const { waiting } = this;
    if (!waiting) return;
    waiting.stop.abort();
    [this.waiting, this.progress] = [null, null];
    send("POST", ["groups", this.id, "stop"], waiting.body).catch(() => {});
    this.tell("answer");
  }

  nodes(group, start) {
    return get(["groups", this.id, "nodes"], { group, start });
  }

  activations(node, text) {
    return get(["groups", this.id, "activations", node], { text });
  }

  close() {
    this.stop();
    this.listeners = {};
  }
}

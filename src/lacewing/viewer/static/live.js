/**
 * What the model says to the present cut. At most one question is on its way; the latest wins.
 */

import { get, readOnly, send } from "./api.js";

export class Live {
  constructor(session) {
    this.session = session;
    this.answer = null;
    this.error = null;
    this.busy = false;
    this.again = false;
    this.closed = false;
  }

  /** Ask with what is cut now; while an answer is awaited, remember to ask once more. */
  async ask() {
    if (this.closed) return;
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    this.session.tell("live");
    try {
      this.answer = readOnly ? await this.#still() : await this.#asked();
      this.error = null;
    } catch (error) {
      this.error = error.message;
    }
    this.busy = false;
    if (this.closed) return;
    this.session.tell("live");
    if (this.again) {
      this.again = false;
      this.ask();
    }
  }

  close() {
    this.closed = true;
  }

  #asked() {
    const { id, cut, prompt } = this.session;
    const body = { edits: cut.edits(), pair: prompt.pair, member: prompt.member, text: prompt.text };
    if (cut.now.ablation) body.ablation = cut.now.ablation;
    return send("POST", ["circuits", id, "ask"], body);
  }

  /** In a read-only copy: the circuit as it is, with the prompts that were copied. */
  async #still() {
    const { id, circuit, prompt } = this.session;
    const found = circuit.verification;
    const chosen = await get(["circuits", id, "prompts", prompt.pair], { member: prompt.member }).catch(() => null);
    const loss = circuit.losses.circuit ?? found?.sufficient?.loss ?? null;
    const interval = found?.sufficient?.interval ?? null;
    return {
      loss, interval, accuracy: null, pairs: circuit.pairs, still: true,
      unedited: { loss, interval, accuracy: null },
      full: { loss: circuit.losses.full ?? null, accuracy: null },
      chosen: chosen && { ...chosen, edited: chosen.circuit },
    };
  }
}

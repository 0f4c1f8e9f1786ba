/** Where a circuit stands in its model's training: a slider over the states that were pruned. */

import { h, refill } from "../dom.js";
import { go } from "../state.js";
import { many, number, percent } from "../words.js";

/** Show the slider where the circuit is a state of an emergence; nothing where it is none. */
export function emergence(host, session) {
  host.hidden = true;
  const found = session.emergences.find((e) => e.states.some((s) => s.circuit === session.circuit.id));
  if (found) draw(host, session, found);
}

function draw(host, session, { states }) {
  const own = states.findIndex((s) => s.circuit === session.circuit.id);
  const said = h("output", { for: "emergence", "aria-live": "polite" });
  const tell = (at) => refill(said, words(states[at], at === own));
  const slider = h("input", {
    type: "range", id: "emergence", min: 0, max: states.length - 1, value: own, data: { key: "emergence" },
    "aria-valuetext": read(states[own]),
    on: {
      input: () => {
        slider.setAttribute("aria-valuetext", read(states[slider.value]));
        tell(Number(slider.value));
      },
      change: () => {
        const { circuit } = states[slider.value];
        if (circuit && circuit !== session.circuit.id) go(["circuit", circuit]);
      },
    },
  });
  tell(own);
  host.hidden = false;
  refill(host, h("label", { for: "emergence" }, "In training"), slider, said);
}

function read({ tokens }) {
  return tokens >= 1e6 ? `${number(tokens / 1e6, 1)} M tokens` : `${number(tokens / 1e3, 1)} k tokens`;
}

/** What one state is, in a line. */
function words(state, own) {
  const text = `After ${read(state)} the whole model loses ${number(state.full)} nats`;
  if (state.nodes === null) return `${text}: no circuit yet.`;
  const share = state.nodes ? `; ${percent(state.shared / state.nodes)} of them are in the last one` : "";
  const away = state.circuit || own ? "" : " (not under the served folder)";
  return `${text}: ${many(state.nodes, "node")}${share}${away}.`;
}

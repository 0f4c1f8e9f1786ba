/** Where in natural text a node acts, of any model: read when it is opened, and open from then on. */

import { get, poll } from "../api.js";
import { fill, h } from "../dom.js";
import { heat } from "../parts/heat.js";
import { count, number, percent } from "../words.js";

const EXAMPLES = 4;
/** Of each sign. */
const AROUND = 14;
/** Tokens before the one that an example was chosen for; half as many after it. */

/** A part of the card that opens. */
export function texts(tracer, model, node) {
  const body = h("div", { role: "status" });
  const box = h("details.near.acts", { open: tracer.texts, on: { toggle: () => opened() } }, h("summary", {}, "Where in text it acts"), body);
  const opened = () => {
    tracer.read(box.open);
    if (box.open) load();
  };
  const load = () => {
    tracer.reading?.abort();
    const { signal } = (tracer.reading = new AbortController());
    tracer.stop.signal.addEventListener("abort", () => tracer.reading.abort(), { signal });
    const ask = () => get(["models", model, "texts", node], {}, signal);
    const seen = (answer) => (answer.state === "ready" ? show(body, answer) : fill(body, h("p.soft", {}, "Reading text…"), h("progress", { max: answer.total || 1, value: answer.done, "aria-label": "text read" })));
    poll(ask, (answer) => answer.state === "ready", seen, signal, 400).catch((error) => signal.aborted || fill(body, h("p.error", { role: "alert" }, error.message)));
  };
  return box;
}

function show(body, answer) {
  const reach = Math.max(Math.abs(answer.minimum), Math.abs(answer.maximum), 1e-9);
  const groups = answer.groups.filter((group) => ["top", "bottom"].includes(group.name) && group.examples.length);
  fill(body,
    h("p.soft", {}, `Over ${count(answer.tokens)} tokens of natural text it is not zero at ${percent(answer.active, 1)}, from ${number(answer.minimum)} to ${number(answer.maximum)}.`),
    groups.length ? groups.map((group) => h("section", {}, h("h3", {}, group.title), h("ul.examples", {}, group.examples.slice(0, EXAMPLES).map((one) => heat(one, reach, AROUND)))))
      : h("p.soft", {}, "It is zero throughout."));
}

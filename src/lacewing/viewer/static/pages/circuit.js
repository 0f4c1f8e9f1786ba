/** The circuit: what it does in a sentence, its graph, and what is chosen in it. */

import { fill, h } from "../dom.js";
import { list } from "../parts/list.js";
import { panel } from "../parts/panel.js";
import { route } from "../parts/route.js";
import { prompt } from "../parts/prompt.js";
import { stage } from "../parts/stage.js";
import { count, many, number, title } from "../words.js";
import { reasons } from "../parts/keep.js";

/** Show the circuit of a session. */
export function show(main, session) {
  const intro = h("header.intro");
  const strip = h("section.prompt", { "aria-label": "the prompt" });
  const place = h("section.stage", { "aria-label": "the graph" });
  const side = h("aside.panel", { "aria-label": "details" });
  const all = h("details.all");
  const line = h("p.route");
  fill(main, h("div.head", {}, intro, strip), line, h("div.work", {}, place, side), all);
  introduce(intro, session);
  const leave = [
    session.on("verified", () => introduce(intro, session)),
    prompt(strip, session),
    route(line, session),
    panel(side, session),
    stage(place, session),
    list(all, session),
  ];
  return () => leave.forEach((stop) => stop());
}

/** The name of the task and what is known about the circuit, in two sentences. */
function introduce(host, { circuit }) {
  const { losses, verification } = circuit;
  const edges = circuit.edges.source.length;
  const share = circuit.model_nodes ? ` of the model’s ${count(circuit.model_nodes)}` : "";
  const without = verification?.necessary?.loss;
  fill(
    host,
    h("h1", {}, title(circuit.description, circuit.task)),
    h("p.lead", {},
      h("b", {}, `${many(circuit.nodes.length, "node")}${share}`), ` and ${many(edges, "connection")} decide it. `,
      losses.circuit === undefined ? "" : `On their own they lose ${number(losses.circuit)} nats per answer, the whole model ${number(losses.full)}`,
      without === undefined ? ". " : `; without them the model loses ${number(without, 2)}, where guessing loses 0.69. `,
    ),
    verdict(circuit),
  );
}

function verdict(circuit) {
  const kind = circuit.verdict === "holds" ? ".holds" : circuit.verdict ? ".fails" : "";
  const words = circuit.verdict === "holds" ? "passed every test" : circuit.verdict ?? "not verified yet";
  const mark = h(`span.verdict${kind}`, {}, words);
  const tests = reasons(circuit);
  if (!tests) return h("p.facts", {}, mark);
  const pairs = circuit.verification.pairs;
  return h("details.facts", {}, h("summary", {}, mark), tests, h("p.soft", {}, `${pairs} pairs of test prompts; seed ${circuit.verification.seed}; ${circuit.model_name}, ${circuit.ablation} ablation.`));
}


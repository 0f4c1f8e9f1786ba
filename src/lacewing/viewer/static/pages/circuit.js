/** The circuit: what it does in a sentence, its graph, and what is chosen in it. */

import { fill, h } from "../dom.js";
import { emergence } from "../parts/emergence.js";
import { list } from "../parts/list.js";
import { panel } from "../parts/panel.js";
import { route } from "../parts/route.js";
import { prompt } from "../parts/prompt.js";
import { stage } from "../parts/stage.js";
import { count, many, number, place, title } from "../words.js";
import { judged } from "../parts/tests.js";

/** Show the circuit of a session. */
export function show(main, session) {
  const intro = h("header.intro");
  const strip = h("section.prompt", { "aria-label": "the prompt" });
  const place = h("section.stage", { "aria-label": "the graph" });
  const side = h("aside.panel", { "aria-label": "details" });
  const all = h("details.all");
  const way = h("p.route");
  const training = h("p.training");
  fill(main, h("div.head", {}, intro, strip), training, way, h("div.work", {}, place, side), all);
  introduce(intro, session);
  emergence(training, session);
  const leave = [
    session.on("verified", () => introduce(intro, session)),
    prompt(strip, session),
    route(way, session),
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
  const errors = circuit.nodes.filter((n) => n.part === "error").length;
  const share = circuit.model_nodes ? ` of the model’s ${count(circuit.model_nodes)}` : "";
  const without = verification?.necessary?.loss;
  fill(
    host,
    h("h1", {}, title(circuit.description, circuit.task)),
    h("p.lead", {},
      circuit.latents
        ? [h("b", {}, many(circuit.nodes.length - errors, "latent"), errors ? ` and ${many(errors, "channel")} of what they miss` : ""), `, of ${count(circuit.model_nodes)} nodes, decide it. `]
        : [h("b", {}, `${many(circuit.nodes.length, "node")}${share}`), ` and ${many(edges, "edge")} decide it. `],
      losses.circuit === undefined ? "" : `On their own they lose ${number(losses.circuit)} nats per answer, the whole model ${number(losses.full)}`,
      without === undefined ? ". " : `; without them the model loses ${number(without, 2)}, where guessing loses 0.69. `,
    ),
    judged(circuit),
    circuit.latents ? h("p.soft", {}, latents(circuit)) : null,
    minimal(circuit),
  );
}

/** What is other where nodes are latents. */
function latents({ latents: sites }) {
  const names = Object.entries(sites).map(([key, some]) => `${place(key)} (${count(some)})`);
  return `Its nodes are latents of sparse autoencoders: ${names.join("; ")}. No weight joins two latents, so there are no edges, and no attention to look at. What has no autoencoder runs freely.`;
}

/** What a certificate says, where there is one. */
function minimal({ certificate }) {
  if (!certificate) return null;
  const { minimal, target_loss, pairs } = certificate;
  return h("p.soft", {}, minimal ? `Certified minimal: without any one of its parts the loss on ${pairs} pairs is above ${number(target_loss, 2)} nats.` : `Its certificate finds parts it does not need: without them the loss on ${pairs} pairs stays within ${number(target_loss, 2)} nats.`);
}

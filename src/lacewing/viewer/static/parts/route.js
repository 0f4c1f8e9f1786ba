/**
 * The main route through the circuit, told in one line: from a token, through the nodes that matter
 * most, to an answer.
 *
 * 1. Begin with the edge that costs most when it is cut, of those that a token of the prompt reaches.
 * 2. Go down and up from it, each time along the edge that costs most, or, where no edge is measured
 *    (embedding, residual stream, unembedding), along the largest weight.
 *
 * It is told for the prompt that is shown: it names no token that this prompt does not have.
 */

import { h, refill } from "../dom.js";
import { EDGE, EMBED, SAME } from "../graph/model.js";
import { nodeText } from "./names.js";

const TRIED = 40;
/** Edges looked at for one that a token of the prompt reaches. */

/** Show the route once the effects of edges are known. */
export function route(host, session) {
  const show = () => {
    const prompt = session.live.answer?.chosen?.tokens;
    const found = prompt ? trace(session.graph, session.effects, new Set(prompt.map((t) => t.id))) : null;
    const said = new Set(prompt?.map((t) => t.text));
    if (session.circuit.latents) return refill(host, h("span.soft", {}, "Read it from the bottom up: each row is a site with latents. Switch one off, or set its value, and see what the model says."));
    if (!found) return refill(host, h("span.soft", {}, "Read it from the bottom up: tokens switch channels on, heads carry them to the last token, channels push one answer up."));
    const steps = found.nodes.map((node, i) => [i ? arrow(found, i) : null,
      h("button.jump", { type: "button", data: { key: node.id }, on: { click: () => session.choose(node.id) } }, words(node, said))]);
    return refill(host, h("span.soft", {}, "The main route: "), steps);
  };
  const off = ["effects", "graph", "live", "prompt"].map((name) => session.on(name, show));
  show();
  return () => off.forEach((stop) => stop());
}

/** From one node to the next; the last arrow says what the whole route does. */
function arrow(found, i) {
  const last = i === found.nodes.length - 1 && found.nodes[i].site === "answer";
  if (!last) return h("span.arrow", { "aria-hidden": "true" }, "→");
  return h(`span.arrow.${found.sign > 0 ? "raises" : "lowers"}`, {}, found.sign > 0 ? "raises" : "lowers");
}

function words(node, said) {
  if (node.text !== undefined) return nodeText(node);
  const [first, about] = nodeText(node);
  return [first, said.has(node.names) ? about : null, node.head === null ? null : h("small", {}, `head ${node.head}`)];
}

/**
 * Nodes from a token to an answer with the sign of the whole, or null while it is not known. `prompt`
 * holds the ids of the tokens it may begin with.
 *
 * The sign is the product of the weights' signs: attention mixes with positive shares, and norms
 * and AbsTopK keep signs.
 */
export function trace(found, effects, prompt) {
  // The best are measured first, so half of them tell the route.
  if (!effects || effects.done < effects.total / 2 || !found.edgeIndex.size) return null;
  const ids = new Map([...found.edgeIndex].map(([id, link]) => [link, id]));
  const cost = (link) => (found.links.kind[link] === EDGE ? (effects.edges[ids.get(link)] ?? 0) : 0);
  const { source, destination } = found.links;
  const there = (link) => found.links.kind[link] !== EMBED || prompt.has(found.nodes[source[link]].channel);
  const costly = [...found.edgeIndex.values()].filter((link) => cost(link) > 0).sort((a, b) => cost(b) - cost(a));
  if (!costly.length) return null;
  const down = (link) => walk(found, source[link], "into", source, cost, there);
  const begun = (link) => found.nodes[down(link).path.at(-1)].site === "token";
  const first = costly.slice(0, TRIED).find(begun) ?? costly[0];
  const below = down(first);
  const above = walk(found, destination[first], "out", destination, cost, there);
  const links = [first, ...below.links, ...above.links].filter((link) => found.links.kind[link] !== SAME);
  return {
    nodes: [...below.path.reverse(), ...above.path].map((i) => found.nodes[i]),
    sign: links.reduce((sign, link) => sign * Math.sign(found.links.weight[link]), 1),
  };
}

function walk(found, start, side, end, cost, there) {
  const path = [start];
  const links = [];
  for (;;) {
    const here = path.at(-1);
    const worth = (link) => cost(link) * 1e3 + next(found, link, end);
    const best = d3.greatest(found.around[side][here].filter(there), worth);
    if (best === undefined || path.length > 24) return { path, links };
    path.push(end[best]);
    links.push(best);
  }
}

/** Of links that are not measured: weights as they are; along the stream, straight to the answers. */
function next(found, link, end) {
  if (found.links.kind[link] !== SAME) return Math.abs(found.links.weight[link]);
  return found.nodes[end[link]].site === "resid_final" ? 0.5 : 0.1;
}

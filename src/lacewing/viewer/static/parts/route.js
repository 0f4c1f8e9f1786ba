/**
 * The main route through the circuit, told in one line: from a token, through the nodes that matter
 * most, to an answer.
 *
 * 1. Begin with the edge that costs most when it is cut.
 * 2. Go down and up from it, each time along the edge that costs most, or, where no edge is measured
 *    (embedding, residual stream, unembedding), along the largest weight.
 */

import { h, refill } from "../dom.js";
import { EDGE, SAME } from "../graph/model.js";
import { nodeText } from "./names.js";

/** Show the route once the effects of edges are known. */
export function route(host, session) {
  const show = () => {
    const found = trace(session.graph, session.effects);
    if (!found) return refill(host, h("span.soft", {}, "Read it from the bottom up: tokens switch channels on, heads carry them to the last token, channels push one answer up."));
    const steps = found.nodes.map((node, i) => [i ? arrow(found, i) : null,
      h("button.jump", { type: "button", data: { key: node.id }, on: { click: () => session.choose(node.id) } }, words(node))]);
    return refill(host, h("span.soft", {}, "The main route: "), steps);
  };
  const off = ["effects", "graph"].map((name) => session.on(name, show));
  show();
  return () => off.forEach((stop) => stop());
}

/** From one node to the next; the last arrow says what the whole route does. */
function arrow(found, i) {
  const last = i === found.nodes.length - 1 && found.nodes[i].site === "answer";
  if (!last) return h("span.arrow", { "aria-hidden": "true" }, "→");
  return h(`span.arrow.${found.sign > 0 ? "raises" : "lowers"}`, {}, found.sign > 0 ? "raises" : "lowers");
}

function words(node) {
  if (node.text !== undefined) return nodeText(node);
  const [first] = nodeText(node);
  return node.head === null ? first : [first, h("small", {}, `head ${node.head}`)];
}

/**
 * Nodes from a token to an answer with the sign of the whole, or null while it is not known.
 *
 * The sign is the product of the weights' signs: attention mixes with positive shares, and norms
 * and AbsTopK keep signs.
 */
export function trace(found, effects) {
  // The best are measured first, so half of them tell the route.
  if (!effects || effects.done < effects.total / 2 || !found.edgeIndex.size) return null;
  const ids = new Map([...found.edgeIndex].map(([id, link]) => [link, id]));
  const cost = (link) => (found.links.kind[link] === EDGE ? (effects.edges[ids.get(link)] ?? 0) : 0);
  const first = d3.greatest(found.edgeIndex.values(), cost);
  if (first === undefined || cost(first) <= 0) return null;
  const { source, destination } = found.links;
  const below = walk(found, source[first], "into", source, cost);
  const above = walk(found, destination[first], "out", destination, cost);
  const links = [first, ...below.links, ...above.links].filter((link) => found.links.kind[link] !== SAME);
  return {
    nodes: [...below.path.reverse(), ...above.path].map((i) => found.nodes[i]),
    sign: links.reduce((sign, link) => sign * Math.sign(found.links.weight[link]), 1),
  };
}

function walk(found, start, side, end, cost) {
  const path = [start];
  const links = [];
  for (;;) {
    const here = path.at(-1);
    const worth = (link) => cost(link) * 1e3 + next(found, link, end);
    const best = d3.greatest(found.around[side][here], worth);
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

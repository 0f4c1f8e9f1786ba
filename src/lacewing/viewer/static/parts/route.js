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
    const steps = found.map((node, i) => [i ? h("span.arrow", { "aria-hidden": "true" }, "→") : null,
      h("button.jump", { type: "button", data: { key: node.id }, on: { click: () => session.choose(node.id) } }, words(node))]);
    return refill(host, h("span.soft", {}, "The main route: "), steps);
  };
  const off = ["effects", "graph"].map((name) => session.on(name, show));
  show();
  return () => off.forEach((stop) => stop());
}

function words(node) {
  if (node.text !== undefined) return nodeText(node);
  const [first] = nodeText(node);
  return node.head === null ? first : [first, h("small", {}, `head ${node.head}`)];
}

/** Nodes from a token to an answer, or null while it is not known. */
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
  return [...below.reverse(), ...above].map((i) => found.nodes[i]);
}

function walk(found, start, side, end, cost) {
  const path = [start];
  for (;;) {
    const here = path.at(-1);
    const worth = (link) => cost(link) * 1e3 + next(found, link, end);
    const best = d3.greatest(found.around[side][here], worth);
    if (best === undefined || path.length > 24) return path;
    path.push(end[best]);
  }
}

/** Of links that are not measured: weights as they are; along the stream, straight to the answers. */
function next(found, link, end) {
  if (found.links.kind[link] !== SAME) return Math.abs(found.links.weight[link]);
  return found.nodes[end[link]].site === "resid_final" ? 0.5 : 0.1;
}

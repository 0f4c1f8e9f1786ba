/** Which links are drawn where a circuit has more edges than anybody can read. */

import { EDGE, SAME } from "./model.js";

/**
 * The strongest edges, and of the other links those that lead on from them.
 *
 * 1. Keep the strongest edges, as many as `show` says.
 * 2. Follow the residual stream from what they write to what they read, and to the final stream.
 * 3. Of the weights of embedding and unembedding keep the strongest at nodes of those, half as many.
 *
 * @param {object} found The graph.
 * @param {number[]} live Links that are on, the weakest first.
 * @param {number} show How many edges.
 * @returns {object} {shown: links in the order of drawing, nodes: Set of indices that have one, or
 *   null where nothing is left out}
 */
export function visible(found, live, show) {
  const { kind, source, destination } = found.links;
  const same = live.filter((i) => kind[i] === SAME);
  const edges = live.filter((i) => kind[i] === EDGE);
  const ends = live.filter((i) => kind[i] !== SAME && kind[i] !== EDGE);
  if (edges.length <= show) return { shown: [...same, ...live.filter((i) => kind[i] !== SAME)], nodes: null };
  const kept = edges.slice(edges.length - show);
  const near = new Set(kept.flatMap((i) => [source[i], destination[i]]));
  const final = (i) => found.nodes[destination[i]].site === "resid_final";
  const stream = same.filter((i) => near.has(source[i]) && (near.has(destination[i]) || final(i)));
  stream.forEach((i) => near.add(destination[i]));
  const beside = ends.filter((i) => near.has(source[i]) || near.has(destination[i])).slice(-Math.ceil(show / 2));
  const drawn = [...stream, ...beside, ...kept];
  return { shown: drawn, nodes: new Set(drawn.flatMap((i) => [source[i], destination[i]])) };
}

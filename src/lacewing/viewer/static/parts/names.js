/** Names of nodes and edges as small pieces of the page. */

import { h } from "../dom.js";
import { numbered, site, token } from "../words.js";

const SHORT = { attn_in: "reads", attn_q: "query", attn_k: "key", attn_v: "value", attn_out: "writes", mlp_in: "reads", mlp_neuron: "neuron", mlp_out: "writes", resid_final: "final" };

/** "value 210" with the token it is about. */
export function nodeText(node) {
  if (!node) return ["?"];
  if (node.text !== undefined) return [h("span.tokenchip", {}, token(node.text))];
  return [h("span.what", {}, node.group ? "group" : short(node)), node.label ? h("span.tokenchip", {}, node.label) : null];
}

function short(node) {
  return node.part === "channel" || !node.part ? `${SHORT[node.site] ?? node.site} ${node.channel}` : numbered(node);
}

/** A node or an edge by its id, in two short lines. */
export function idText(found, id, extra = "") {
  const link = found.edgeIndex.get(id);
  if (link === undefined) {
    const node = found.byId.get(id);
    return h("span.title", {}, nodeText(node), h("small.under", {}, h("b", {}, extra), extra ? " " : "", id));
  }
  const from = found.nodes[found.links.source[link]];
  const to = found.nodes[found.links.destination[link]];
  return h("span.title", {}, nodeText(from), h("span.arrow", {}, "→"), nodeText(to), h("small.under", {}, h("b", {}, extra), extra ? " " : "", where(from, to)));
}

function where(from, to) {
  const head = from.head ?? to.head;
  const { layer } = site(to.key);
  return `layer ${layer}${head === null || head === undefined ? "" : `, head ${head}`}`;
}

/**
 * A circuit as a graph: rows of nodes from the prompt's tokens up to the answers, and links.
 *
 * A link is an edge of the circuit (a weight), a weight of the embedding or the unembedding, or a
 * stretch of the residual stream, which has no weight. Links lie in columns, because a dense
 * circuit has tens of thousands.
 */

import { number, numbered, place, token } from "../words.js";

export const EDGE = 0;
export const EMBED = 1;
export const UNEMBED = 2;
export const SAME = 3;

/** Build the graph of a circuit's answer. */
export function graph(circuit) {
  const nodes = circuit.nodes.map((node, index) => ({ ...node, index, key: key(node) }));
  const tokens = (circuit.contrast ?? []).map((t) => extra(nodes, "token", t.token, t.text));
  const answers = circuit.answers.map((t) => extra(nodes, "answer", t.token, t.text));
  const links = collect(circuit, nodes, tokens, answers);
  const found = { circuit, nodes, links, byId: new Map(nodes.map((n) => [n.id, n])) };
  found.idOf = (link) => edgeId(found, link);
  found.around = around(nodes.length, links);
  found.edgeIndex = new Map();
  for (let i = 0; i < links.count; i++) {
    if (links.kind[i] === EDGE) found.edgeIndex.set(edgeId(found, i), i);
  }
  for (const node of nodes) Object.assign(node, label(found, node));
  found.rows = rows(found);
  return found;
}

/** Name nodes after what they mean, where that is known, or after tokens ("") again. */
export function naming(found, by) {
  for (const node of found.nodes) {
    node.byToken ??= node.label;
    const said = node.meaning?.good ? node.meaning.label : "";
    node.label = by === "meaning" && said ? token(said, 22) : node.byToken;
  }
}

function key(node) {
  return node.layer === null ? node.site : `${node.layer}.${node.site}`;
}

function extra(nodes, site, token, text) {
  const node = { id: `${site}.${token}`, site, key: site, layer: null, channel: token, text };
  node.index = nodes.length;
  nodes.push(node);
  return node.index;
}

/** All links in columns: source, destination, weight, kind. */
function collect(circuit, nodes, tokens, answers) {
  const source = [];
  const destination = [];
  const weight = [];
  const kind = [];
  const add = (from, to, w, k) => {
    source.push(from);
    destination.push(to);
    weight.push(w);
    kind.push(k);
  };
  const { edges, embed, unembed } = circuit;
  edges.source.forEach((from, i) => add(from, edges.destination[i], edges.weight[i], EDGE));
  const lowest = new Map();
  // A latent is at its site alone; a channel goes on.
  const own = (node) => (node.part === "channel" ? node.channel : node.id);
  for (const node of nodes.filter((n) => reads(n.site) && !n.position)) {
    const first = lowest.get(own(node));
    if (first === undefined || node.row < first.row) lowest.set(own(node), node);
  }
  embed?.node.forEach((to, i) => {
    // A channel that is read in several rows is drawn from its first; grey lines lead on.
    if (lowest.get(own(nodes[to])) === nodes[to]) {
      add(tokens[embed.token[i]], to, embed.weight[i], EMBED);
    }
  });
  unembed?.node.forEach((from, i) =>
    add(from, answers[unembed.answer[i]], unembed.weight[i], UNEMBED),
  );
  for (const [from, to] of circuit.residual) add(from, to, 0, SAME);
  return {
    count: source.length,
    source: Int32Array.from(source),
    destination: Int32Array.from(destination),
    weight: Float32Array.from(weight),
    kind: Uint8Array.from(kind),
  };
}

function reads(site) {
  return site === "attn_in" || site === "mlp_in" || site === "resid_final";
}

/** Links into and out of every node. */
export function around(count, links) {
  const into = Array.from({ length: count }, () => []);
  const out = Array.from({ length: count }, () => []);
  for (let i = 0; i < links.count; i++) {
    out[links.source[i]].push(i);
    into[links.destination[i]].push(i);
  }
  return { into, out };
}

/** An edge's name, as the server and certificates write it. */
export function edgeId(found, link) {
  const from = found.nodes[found.links.source[link]];
  const to = found.nodes[found.links.destination[link]];
  return `${to.key}:${from.channel}->${to.channel}`;
}

/**
 * The plainest short name of a node: the token that it is about.
 *
 * Returns {label, names}: what is shown, and the text of the prompt's token that it names, or null.
 */
function label(found, node) {
  if (node.text !== undefined) return { label: token(node.text, 12), names: null };
  if (node.position) return { label: "position", names: null };
  const told = reads(node.site) && node.site !== "resid_final" ? tells(found.circuit, node) : null;
  if (told) return { label: token(told, 8), names: told };
  const strongest = (list, end, kind) => {
    const own = list.filter((i) => found.links.kind[i] === kind);
    own.sort((a, b) => Math.abs(found.links.weight[b]) - Math.abs(found.links.weight[a]));
    return own.length ? found.nodes[found.links[end][own[0]]].text : null;
  };
  // What is written to a channel is about what its final channel is about.
  const last = writes(node.site) && node.part === "channel" ? found.byId.get(`resid_final.${node.channel}`) : node;
  const answer = last && strongest(found.around.out[last.index], "destination", UNEMBED);
  if (answer) return { label: `→ ${token(answer, 8)}`, names: null };
  if (node.head !== null) {
    const driven = drives(found, node);
    if (driven) return { label: token(driven, 8), names: driven };
  }
  const about = found.circuit.about?.[node.index];
  return about ? { label: token(about, 10), names: about } : { label: "", names: null };
}

/** The contrasted token that reaches a head's channel the most, through the edges it has. */
function drives({ circuit, around: near, links }, node) {
  const { contrast = [], embed } = circuit;
  const own = contrast.map(() => 0);
  const weights = new Map(near.into[node.index].map((i) => [links.source[i], links.weight[i]]));
  embed?.node.forEach((to, i) => {
    if (weights.has(to)) own[embed.token[i]] += weights.get(to) * embed.weight[i];
  });
  return clearest(contrast, own.map(Math.abs));
}

function writes(site) {
  return site === "attn_out" || site === "mlp_out";
}

/** The token, of those that a pair's prompts differ in, that a channel is much the stronger for. */
function tells({ contrast = [], embed }, node) {
  const own = contrast.map(() => 0);
  embed?.node.forEach((to, i) => {
    if (to === node.index) own[embed.token[i]] = Math.abs(embed.weight[i]);
  });
  return clearest(contrast, own);
}

function clearest(contrast, own) {
  const [first, second] = d3.range(own.length).sort((a, b) => own[b] - own[a]);
  const clear = first !== undefined && own[first] > 0.05 && own[first] > 1.6 * (own[second] ?? 0);
  return clear ? contrast[first].text : null;
}

/** Whether a node is switched off; a group is when all its members are. */
export function isOff(node, off) {
  return node.members ? node.members.every((id) => off.has(id)) : off.has(node.id);
}

/** A node's name for people, with what it is about. */
export function name(node) {
  if (node.group) return `group of ${node.members.length} nodes`;
  if (node.text !== undefined) return `${node.site} ${token(node.text)}`;
  const head = node.head === null || node.head === undefined ? "" : `, head ${node.head}`;
  return `${place(node.key)}${head}, ${numbered(node)}`;
}

/** An edge's name for people. */
export function edgeName(found, link) {
  const { source, destination, weight } = found.links;
  const [from, to] = [found.nodes[source[link]], found.nodes[destination[link]]];
  return `${from.id} to ${to.id}, weight ${number(weight[link])}`;
}

const BESIDE = { attn_q: 0, attn_k: 1, attn_v: 2 };

/** Rows from the tokens (first) to the answers (last), each with its nodes. */
export function rows(found) {
  const top = Math.max(...found.nodes.map((n) => n.row ?? 0)) + 1;
  const byRow = d3.group(found.nodes, (n) =>
    n.site === "token" ? 0 : n.site === "answer" ? top : n.row,
  );
  return [...byRow.entries()]
    .sort(([a], [b]) => a - b)
    .map(([row, nodes]) => {
      const three = nodes[0].site in BESIDE;
      const qkv = three && nodes[0].part === "channel";
      const title = qkv ? "heads" : three ? "query, key, value" : place(nodes[0].key).replace(/,.*/, "");
      const code = three ? `${nodes[0].layer}.attn_q k v` : nodes[0].key;
      return { row, nodes, qkv, title, code: nodes[0].text === undefined ? code : "" };
    });
}

/** Where a site stands beside others in its row. */
export function beside(node) {
  return BESIDE[node.site] ?? 0;
}

/**
 * A trace as a graph on a grid: tokens are columns, sites are rows.
 *
 * An item is a token, a node at a token, a group of such, or the answer. Links carry nats.
 */

import { h } from "../dom.js";
import { place, site, token } from "../words.js";

const ORDER = ["attn_in", "attn_q", "attn_k", "attn_v", "attn_out", "mlp_in", "mlp_neuron", "mlp_out"];
const HEADS = new Set(["attn_q", "attn_k", "attn_v"]);

/** What of a trace is drawn. */
export function graph(data, { shown, pins = [], chosen = null, held = [], by = "", groups = [], measure = "" }) {
  const nodes = data.nodes.map((n) => item(data, n, measure));
  if (measure) nodes.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  const always = new Set([...pins, ...held, ...groups.flat(), chosen]);
  const some = nodes.filter((n, i) => i < shown || always.has(n.id) || always.has(n.node));
  const items = [...tokens(data), ...joined(data, some, by, groups), answer(data)];
  const home = new Map();
  for (const one of items) for (const id of one.members ?? [one.id]) home.set(id, one);
  const found = { data, items, links: links(data, home), byId: new Map(items.map((one) => [one.id, one])), home };
  found.rows = rows(items);
  for (const one of items) {
    one.into = found.links.filter((link) => link.to === one);
    one.out = found.links.filter((link) => link.from === one);
  }
  return found;
}

/** A node at a token; measured by what it carries, or by what it would take away with its value on the partner prompt. */
function item(data, n, measure) {
  const id = `${n.node}@${n.token}`;
  const key = n.node.slice(0, n.node.lastIndexOf("."));
  const channel = Number(n.node.slice(key.length + 1));
  const { layer, name } = site(key);
  const head = HEADS.has(name) ? Math.floor(channel / data.shape.d_head) : null;
  const effect = measure === "partner" && n.interchange !== undefined ? n.interchange : n.effect;
  return { ...n, effect, carries: n.effect, id, key, channel, layer, site: name, head, meaning: data.meanings[n.node], hint: data.hints[id], mean: data.means[n.node], label: label(n) };
}

/** What a node is about, in a few words; what only this trace says of it bears a mark. */
export function label(n, long = 26) {
  return n.label ? `${n.label_by === "hint" ? "~ " : ""}${token(n.label, long)}` : "";
}

/** The prompt's tokens; their effect is known where the trace adds up. */
function tokens(data) {
  return data.tokens.map((text, at) => ({ id: `token@${at}`, key: "token", site: "token", token: at, text, effect: data.sources?.tokens[at] ?? null }));
}

function answer(data) {
  return { id: "answer", key: "answer", site: "answer", token: data.tokens.length - 1, text: data.answer, effect: data.difference };
}

/** Nodes joined into groups: the reader's own, then those that go by a rule. */
function joined(data, nodes, by, groups) {
  const own = new Map();
  groups.forEach((group, i) => group.forEach((id) => own.set(id, `own ${i}`)));
  // At first only those that were explained alike are one; hints join more, when asked to.
  const some = by === "alike" ? data.groups : data.groups.filter((group) => group.by === "explanation");
  const alike = new Map(some.flatMap((group) => group.members.map((id) => [id, group.by === "hint" ? `~ ${group.name}` : group.name])));
  const together = (n) => (alike.has(n.id) ? `${alike.get(n.id)}@${n.token}` : null);
  const rule = {
    tokens: (n) => n.node,
    heads: (n) => (n.head === null ? null : `head ${n.layer}.${n.head}@${n.token}`),
    alike: together,
    "": together,
  }[by] ?? (() => null);
  const kept = [];
  for (const [name, list] of d3.group(nodes, (n) => own.get(n.id) ?? rule(n) ?? n.id)) {
    if (list.length === 1) kept.push(list[0]);
    else kept.push(group(name, list));
  }
  return kept;
}

function group(name, list) {
  const first = d3.greatest(list, (n) => Math.abs(n.effect));
  const title = name.startsWith("own ") ? `group of ${list.length}` : name.replace(/@\d+$/, "");
  return { ...first, id: `group:${list.map((n) => n.id).join("+")}`, title, own: name.startsWith("own "), members: list.map((n) => n.id), parts: list, effect: d3.sum(list, (n) => n.effect), label: title };
}

function links(data, home) {
  const { source, target, weight } = data.edges;
  const sums = new Map();
  source.forEach((from, i) => {
    const ends = [home.get(from), home.get(target[i])];
    if (!ends[0] || !ends[1] || ends[0] === ends[1]) return;
    const key = `${ends[0].id} ${ends[1].id}`;
    const link = sums.get(key) ?? { from: ends[0], to: ends[1], weight: 0 };
    link.weight += weight[i];
    sums.set(key, link);
  });
  return [...sums.values()].filter((link) => link.weight).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
}

/** How far up a site stands. */
export function level(key) {
  if (key === "token") return -1;
  if (key === "answer") return 1e6;
  const { layer, name } = site(key);
  return layer === null ? 1e5 : layer * ORDER.length + ORDER.indexOf(name);
}

/** Rows from the answer down to the tokens, each with its items. */
function rows(items) {
  return d3.groups(items, (one) => one.key).sort(([a], [b]) => level(b) - level(a))
    .map(([key, list]) => ({ key, items: d3.sort(list, (one) => one.token, (one) => -Math.abs(one.effect ?? 0)), title: key === "token" ? "prompt" : key === "answer" ? "answer" : place(key).replace(/,.*/, ""), code: key === "token" || key === "answer" ? "" : key }));
}

/** An item's name for people. */
export function name(one, data) {
  const at = `at ${token(data.tokens[one.token] ?? "")}`;
  if (one.site === "token") return `token ${one.token + 1}, ${token(one.text)}`;
  if (one.site === "answer") return `the answer ${token(one.text)}`;
  if (one.parts) return `${one.title}, ${one.parts.length} nodes, ${at}`;
  return `${place(one.key)}${one.head === null ? "" : `, head ${one.head}`}, channel ${one.channel}, ${at}`;
}

/** The answer and its rival, as they are written. */
export function over(data) {
  return h("span.over", {}, h("span.tokenchip", {}, token(data.answer)), " over ", h("span.tokenchip", {}, token(data.rival)));
}

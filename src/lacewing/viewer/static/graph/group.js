/**
 * Supernodes: a group of nodes drawn as one, with the links of all its members.
 *
 * A group stands in the row in which most of its members stand. Links inside it are not drawn;
 * links that join the same two ends are added up, so a sum near zero may hide two strong ones, and
 * their count is kept.
 */

import { EDGE, around, rows } from "./model.js";

/** The graph with the closed groups drawn as one node each; the same graph where there is none. */
export function grouped(found, supernodes, closed) {
  const drawn = supernodes.filter((s) => closed.has(s.id));
  const owner = new Map();
  for (const group of drawn) {
    const members = group.members.filter((id) => found.byId.has(id) && !owner.has(id));
    if (members.length > 1) members.forEach((id) => owner.set(id, { ...group, members }));
  }
  if (!owner.size) return found;
  return merge(found, owner);
}

function merge(found, owner) {
  const nodes = [];
  const place = new Map();
  const groups = new Map();
  for (const node of found.nodes) {
    const group = owner.get(node.id);
    if (!group) {
      place.set(node.index, nodes.length);
      nodes.push({ ...node, index: nodes.length });
      continue;
    }
    if (!groups.has(group.id)) {
      groups.set(group.id, nodes.length);
      nodes.push(asNode(found, group, nodes.length));
    }
    place.set(node.index, groups.get(group.id));
  }
  const links = join(found, place);
  const merged = { ...found, nodes, links, byId: new Map(nodes.map((n) => [n.id, n])), edgeIndex: new Map() };
  for (const node of found.nodes) {
    // A member that is chosen or cut is shown at its group.
    if (!merged.byId.has(node.id)) merged.byId.set(node.id, nodes[place.get(node.index)]);
  }
  merged.idOf = (link) => (links.merged[link] === 1 ? found.idOf(links.first[link]) : null);
  merged.around = around(nodes.length, links);
  for (let i = 0; i < links.count; i++) {
    if (links.kind[i] === EDGE && links.merged[i] === 1) merged.edgeIndex.set(merged.idOf(i), i);
  }
  merged.rows = rows(merged);
  return merged;
}

function asNode(found, group, index) {
  const members = group.members.map((id) => found.byId.get(id));
  const [row] = d3.greatest(d3.rollup(members, (list) => list.length, (n) => n.row), ([, count]) => count);
  const sample = members.find((n) => n.row === row);
  return { ...sample, id: `supernode:${group.id}`, index, label: group.name, group: group.id, members: group.members };
}

/** Links between the merged nodes, parallel ones added up. */
function join(found, place) {
  const { links } = found;
  const sums = new Map();
  for (let i = 0; i < links.count; i++) {
    const [from, to] = [place.get(links.source[i]), place.get(links.destination[i])];
    if (from === to) continue;
    const key = `${from} ${to} ${links.kind[i]}`;
    const sum = sums.get(key) ?? { from, to, kind: links.kind[i], weight: 0, merged: 0, first: i };
    sum.weight += links.weight[i];
    sum.merged += 1;
    sums.set(key, sum);
  }
  const list = [...sums.values()];
  return {
    count: list.length,
    source: Int32Array.from(list, (s) => s.from),
    destination: Int32Array.from(list, (s) => s.to),
    weight: Float32Array.from(list, (s) => s.weight),
    kind: Uint8Array.from(list, (s) => s.kind),
    merged: Int32Array.from(list, (s) => s.merged),
    first: Int32Array.from(list, (s) => s.first),
  };
}

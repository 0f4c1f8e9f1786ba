/**
 * Where nodes stand: rows from bottom to top, inside a row in the order that crosses least.
 *
 * 1. Start with the given order.
 * 2. Sweep up and down: each node moves to the mean place of its neighbours, weighted by |weight|.
 * 3. In a row of heads, heads stay together, and in a head queries, keys and values.
 * 4. Rows are centred; a row that is too wide is drawn closer together.
 * 5. Where many rows make the window's height decide the size, columns stand wider apart.
 */

import { SAME, beside } from "./model.js";

const SWEEPS = 8;
const WIDEST = 46;
const SPREAD = 1.8;
/** By how much columns may stand wider apart than WIDEST. */
export const ROOM = { left: 136, right: 28, top: 34, bottom: 44 };
/** Free space around the graph, in pixels of the screen; row names stand on the left. */
export const NARROW = { left: 20, right: 20, top: 40, bottom: 40 };
/** The same on a phone, where row names stand above their rows. */

const BETWEEN_HEADS = 1;

/**
 * Place all nodes of the rows.
 *
 * @param {object} found The graph.
 * @param {object} size {width, height} of the window, which the graph at rest should fill.
 * @returns {object} {x, y: Float32Array by node index, width, height, heads: [{x0, x1, y, title}]}
 */
export function place(found, size) {
  const { nodes, rows } = found;
  const rank = new Float32Array(nodes.length);
  rows.forEach((row) => row.nodes.forEach((node, i) => (rank[node.index] = spread(i, row.nodes))));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const upward = sweep % 2 === 0;
    for (const row of upward ? rows : [...rows].reverse()) {
      order(found, row, rank, upward ? ["into", "out"] : ["out", "into"]);
      row.nodes.forEach((node, i) => (rank[node.index] = spread(i, row.nodes)));
    }
  }
  return positions(found, size);
}

function spread(i, list) {
  return (i + 0.5) / list.length;
}

/** Sort one row by the mean place of neighbours. */
function order(found, row, rank, sides) {
  const goal = new Map(row.nodes.map((n) => [n, centre(found, n, rank, sides)]));
  if (!row.qkv) {
    row.nodes.sort((a, b) => goal.get(a) - goal.get(b));
    return;
  }
  const heads = d3.rollup(row.nodes, (list) => d3.mean(list, (n) => goal.get(n)), (n) => n.head);
  row.nodes.sort(
    (a, b) =>
      heads.get(a.head) - heads.get(b.head) ||
      a.head - b.head ||
      beside(a) - beside(b) ||
      goal.get(a) - goal.get(b),
  );
}

/** The weighted mean place of a node's neighbours; those on the first side count more. */
function centre(found, node, rank, [first, second]) {
  let sum = 0;
  let total = 0;
  for (const [side, factor] of [[first, 1], [second, 0.35]]) {
    const end = side === "into" ? found.links.source : found.links.destination;
    for (const link of found.around[side][node.index]) {
      const weight = found.links.kind[link] === SAME ? 0.5 : Math.abs(found.links.weight[link]);
      sum += factor * weight * rank[end[link]];
      total += factor * weight;
    }
  }
  return total ? sum / total : rank[node.index];
}

function positions(found, size) {
  const { nodes, rows } = found;
  const slots = rows.map(places);
  const most = Math.max(...slots.map((slot) => slot.count), 8);
  const close = Math.max(Math.min(WIDEST, 5200 / most), 3);
  const room = size.width < 620 ? NARROW : ROOM;
  const [across, up] = [size.width - room.left - room.right, size.height - room.top - room.bottom];
  const scale = Math.min(across / (most * close), 1.3);
  const levels = heights(found);
  const height = Math.max(up / scale, 54 * (rows.length - 1));
  const free = (across * height) / up / (most * close);
  const step = close * Math.max(Math.min(free, SPREAD), 1);
  const width = most * step;
  const x = new Float32Array(nodes.length);
  const y = new Float32Array(nodes.length);
  const heads = [];
  rows.forEach((row, level) => {
    const { at, count } = slots[level];
    // Rows with few nodes stand wider apart, but stay around the middle.
    const ends = row.nodes[0].text !== undefined;
    const wide = ends ? Math.max(3.4, chips(row) / scale / step) : count < most / 2 ? 1.7 : 1;
    const own = Math.min(step * wide, width / count);
    row.y = height * (1 - levels[level]);
    row.nodes.forEach((node, i) => {
      x[node.index] = width / 2 + (at[i] - (count - 1) / 2) * own;
      y[node.index] = row.y;
    });
    if (row.qkv) heads.push(...boxes(row, x, own));
  });
  return { x, y, width, height, step, heads, scale, room };
}

/** Room that the widest token of a row needs, in pixels. */
function chips(row) {
  return 44 + 8 * d3.max(row.nodes, (n) => n.label.length);
}

/** Heights of the rows from 0 to 1: where more links run between two rows, there is more room. */
function heights({ rows, links }) {
  const level = new Map(rows.flatMap((row, i) => row.nodes.map((n) => [n.index, i])));
  const busy = rows.slice(1).map(() => 0);
  for (let i = 0; i < links.count; i++) {
    const [low, high] = [level.get(links.source[i]), level.get(links.destination[i])];
    if (high === low + 1) busy[low] += 1;
  }
  const room = busy.map((count) => 1 + 0.9 * Math.min(count / 40, 1));
  return d3.cumsum([0, ...room]).map((v, _, all) => v / (all.at(-1) || 1));
}

/** Slot numbers of a row's nodes, with a free slot between heads. */
function places(row) {
  const at = [];
  let next = 0;
  row.nodes.forEach((node, i) => {
    if (row.qkv && i && row.nodes[i - 1].head !== node.head) next += BETWEEN_HEADS;
    at.push(next++);
  });
  return { at, count: next };
}

function boxes(row, x, step) {
  const pad = Math.min(step * 0.48, 20);
  return d3.groups(row.nodes, (n) => n.head).map(([head, list]) => ({
    x0: x[list[0].index] - pad,
    x1: x[list.at(-1).index] + pad,
    y: row.y,
    title: `head ${head}`,
    head: `${list[0].layer}.${head}`,
    parts: d3.groups(list, (n) => n.site).map(([site, part]) => ({
      title: { attn_q: "query", attn_k: "key", attn_v: "value" }[site],
      x0: x[part[0].index],
      x1: x[part.at(-1).index],
    })),
  }));
}

/** One frame: the sheet of links, what is chosen or cut on top, heads, nodes, names. */

import { point } from "./hit.js";
import { isOff } from "./model.js";
import { bundles, chip, cross, disc, enter, halo, radius, stroke } from "./paint.js";

/** Draw a view. */
export function draw(view) {
  const { context, ratio, size, palette } = view;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  const focus = lit(view);
  rowLines(view);
  view.sheet.copy(context, view.view, ratio, focus.links.length ? 0.22 : 1);
  enter(context, view.view, ratio);
  context.lineCap = "round";
  const strong = bundles(view.found, view.layout, focus.links, view.strength);
  for (const bundle of strong) stroke(context, { ...bundle, alpha: 1 }, palette, view.view.k, 0.8);
  context.setLineDash([]);
  context.globalAlpha = 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  heads(view);
  cuts(view);
  nodes(view, focus);
  rowNames(view);
  context.globalAlpha = 1;
}

/** Links and nodes to bring out: those of what is under the pointer, else of what is chosen. */
function lit(view) {
  const { found, state } = view;
  const what = state.hover ?? state.cursor ?? state.chosen;
  if (what === null || what === undefined) return { links: [], nodes: null };
  const link = typeof what === "number" ? what : found.edgeIndex.get(what);
  const shown = view.shownSet?.list === view.shown ? view.shownSet.set : new Set(view.shown);
  view.shownSet = { list: view.shown, set: shown };
  let links = [];
  if (link !== undefined) links = [link];
  else {
    const node = found.byId.get(what);
    if (!node) return { links: [], nodes: null };
    links = [...found.around.into[node.index], ...found.around.out[node.index]];
  }
  const ends = new Set(links.flatMap((i) => [found.links.source[i], found.links.destination[i]]));
  const node = found.byId.get(what);
  if (node) ends.add(node.index);
  return { links: links.filter((i) => shown.has(i)), nodes: ends.size ? ends : null };
}

function rowLines(view) {
  const { context, found, palette, size } = view;
  context.lineWidth = 1;
  context.strokeStyle = palette.wash;
  for (const row of found.rows) {
    const y = Math.round(row.y * view.view.k + view.view.y) + 0.5;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(size.width, y);
    context.stroke();
  }
}

/** Names of the rows at the left edge, wherever the graph has been moved. */
function rowNames(view) {
  const { context, found, palette, layout, size } = view;
  const narrow = size.width < 620;
  const wide = narrow ? 0 : layout.room.left - 14;
  if (wide) {
    const shade = context.createLinearGradient(0, 0, wide + 24, 0);
    shade.addColorStop(0, palette.paper);
    shade.addColorStop(0.82, palette.paper);
    shade.addColorStop(1, `${palette.paper}00`);
    context.fillStyle = shade;
    context.globalAlpha = 0.92;
    context.fillRect(0, 0, wide + 24, size.height);
    context.globalAlpha = 1;
  }
  const gap = d3.min(d3.pairs(found.rows, (a, b) => (a.y - b.y) * view.view.k)) ?? 99;
  let last = Infinity;
  for (const row of found.rows) {
    const y = row.y * view.view.k + view.view.y;
    if (last - y < 13) continue;
    last = y;
    if (narrow) {
      halo(context, row.title, 2, y - 21, palette, { align: "left", size: 10.5 });
    } else {
      halo(context, row.title, 4, y - (row.code && gap > 33 ? 7 : 0), palette, { align: "left", size: 12.5, colour: "ink" });
      if (row.code && gap > 33) halo(context, row.code, 4, y + 9, palette, { align: "left", size: 10.5, mono: true });
    }
  }
}

/** Boxes around heads, with their names. */
function heads(view) {
  const { context, layout, palette } = view;
  const { k, x, y } = view.view;
  for (const box of layout.heads) {
    const [x0, x1, middle] = [box.x0 * k + x, box.x1 * k + x, box.y * k + y];
    if (x1 < 0 || x0 > view.size.width) continue;
    context.beginPath();
    context.roundRect(x0, middle - 17, x1 - x0, 34, 10);
    context.globalAlpha = 0.9;
    context.lineWidth = 1.2;
    context.strokeStyle = palette.faint;
    context.stroke();
    context.globalAlpha = 1;
    const fits = x1 - x0 > 46;
    const named = view.size.width < 620 ? 42 : 0; // there the row's own name stands above it
    if (fits) halo(context, box.title, Math.max(x0 + 3, named), middle - 26, palette, { align: "left", size: 11, weight: 600 });
    for (const part of box.parts) {
      const [p0, p1] = [part.x0 * k + x, part.x1 * k + x];
      const room = p1 - p0 + layout.step * k;
      const word = room > 38 ? part.title : room > 14 ? part.title[0] : "";
      if (word) halo(context, word, (p0 + p1) / 2, middle + 27, palette, { size: 10.5 });
    }
  }
}

/** What is cut: a dotted line with a cross in its middle. */
function cuts(view) {
  const { context, found, layout, palette, state } = view;
  const { k, x, y } = view.view;
  for (const id of state.off) {
    const link = found.edgeIndex.get(id);
    if (link === undefined) continue;
    const ends = [found.links.source[link], found.links.destination[link]];
    const [x0, y0, x1, y1] = ends.flatMap((i) => [layout.x[i] * k + x, layout.y[i] * k + y]);
    context.beginPath();
    context.moveTo(x0, y0);
    context.bezierCurveTo(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2, x1, y1);
    context.setLineDash([1.5, 5]);
    context.lineWidth = 2;
    context.strokeStyle = palette.minus;
    context.stroke();
    context.setLineDash([]);
    cross(context, ...point(x0, y0, x1, y1, 0.5), palette);
  }
}

function nodes(view, focus) {
  const { found, layout, state, sizes, size } = view;
  const most = d3.max(Object.values(state.effects?.nodes ?? {})) || 1;
  const { k, x, y } = view.view;
  const labels = [];
  for (const node of found.nodes) {
    const [px, py] = [layout.x[node.index] * k + x, layout.y[node.index] * k + y];
    const effect = state.effects?.nodes[node.id];
    const share = effect === undefined ? undefined : Math.min(Math.max(effect / most, 0), 1);
    const look = {
      share,
      off: isOff(node, state.off),
      steered: node.id in state.values,
      chosen: state.chosen === node.id,
      cursor: state.cursor === node.id || state.hover === node.id,
      faded: !(focus.nodes ?? view.near ?? every).has(node.index),
    };
    const away = px < -60 || py < -40 || px > size.width + 60 || py > size.height + 40;
    if (node.text !== undefined) {
      sizes[node.index] = (away ? 40 : chip(view.context, px, py, node.label, view.palette, look)) / 2;
      continue;
    }
    const wide = Math.min(radius(node, share, k), Math.max(layout.step * k * 0.48, 2));
    sizes[node.index] = wide;
    if (away) continue;
    disc(view.context, px, py, wide, view.palette, look);
    const bold = look.chosen || look.cursor;
    labels.push({ node, px, py: py + wide + 10, order: bold ? 9 : focus.nodes?.has(node.index) ? 2 + (share ?? 0) : (share ?? 0.1), bold, faded: look.faded });
  }
  names(view, labels);
}

const every = { has: () => true };
const HEADS = new Set(["attn_q", "attn_k", "attn_v"]);

/** Names under nodes, the weightiest first, as many as find room. */
function names(view, labels) {
  const { context, palette } = view;
  const taken = [];
  labels.sort((a, b) => b.order - a.order);
  for (const { node, px, py, bold, faded } of labels.slice(0, 400)) {
    // In heads the place below is for the words query, key, value.
    if (!node.label || faded || (HEADS.has(node.site) && !bold)) continue;
    const half = node.label.length * 3.4 + 3;
    const down = HEADS.has(node.site) ? 14 : 0;
    const box = [px - half, py + down - 7, px + half, py + down + 7];
    if (!bold && taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1])) continue;
    taken.push(box);
    halo(context, node.label, px, py + down, palette, { mono: true, colour: bold ? "ink" : "soft" });
  }
}

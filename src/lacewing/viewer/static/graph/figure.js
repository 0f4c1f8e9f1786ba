/** The graph as a figure of its own: SVG text, with colours as var(--name) for `save` to fill in. */

import { isOff } from "./model.js";
import { look } from "./paint.js";

const escape = (text) =>
  text.replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign])
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff\ufffe\uffff]/g, "\ufffd");
const r = (value) => Math.round(value * 10) / 10;
const STYLE =
  "text{font:11px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:var(--soft);paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}" +
  ".m{font-family:ui-monospace,'DejaVu Sans Mono',monospace}.i{fill:var(--ink);font-size:13px}path{fill:none;stroke-linecap:round}";

/**
 * Draw the whole graph as it is shown now, without the zoom.
 *
 * @param {GraphView} view What is on the screen.
 * @param {string} title What the figure shows.
 */
export function figure(view, title) {
  const { layout, found, state } = view;
  const left = 150;
  const width = layout.width + left + 40;
  const height = layout.height + 100;
  const x = (i) => r(layout.x[i] + left);
  const y = (i) => r(layout.y[i] + 50);
  const parts = [...view.shown].map((i) => link(view, i, x, y));
  for (const id of state.off) {
    const cut = found.edgeIndex.get(id);
    if (cut !== undefined) parts.push(`<path d="${path(view, cut, x, y)}" stroke="var(--minus)" stroke-width="2" stroke-dasharray="1.5 5"/>`);
  }
  for (const box of layout.heads) {
    const [x0, wide, top] = [r(box.x0 + left), r(box.x1 - box.x0), r(box.y + 33)];
    parts.push(`<rect x="${x0}" y="${top}" width="${wide}" height="34" rx="10" fill="none" stroke="var(--faint)"/>`);
    parts.push(`<text x="${x0 + 3}" y="${top - 5}">${box.title}</text>`);
  }
  for (const node of found.nodes) parts.push(mark(view, node, x(node.index), y(node.index)));
  for (const row of found.rows) {
    parts.push(`<text x="12" y="${r(row.y + 48)}" class="i">${escape(row.title)}</text>`);
    if (row.code) parts.push(`<text x="12" y="${r(row.y + 63)}" class="m">${escape(row.code)}</text>`);
  }
  const markup =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${r(width)} ${r(height)}" width="${r(width)}" height="${r(height)}" role="img">` +
    `<title>${escape(title)}</title><style>${STYLE}</style><rect width="100%" height="100%" fill="var(--paper)"/>${parts.join("")}</svg>`;
  return { markup, width, height };
}

function path({ found, layout }, i, x, y) {
  const [from, to] = [found.links.source[i], found.links.destination[i]];
  const middle = r((layout.y[from] + layout.y[to]) / 2 + 50);
  return `M${x(from)} ${y(from)}C${x(from)} ${middle} ${x(to)} ${middle} ${x(to)} ${y(to)}`;
}

function link(view, i, x, y) {
  const style = look(view.found.links, view.strength, i);
  const dash = style.dashed && view.shown.length < 4000 ? ' stroke-dasharray="6 4"' : "";
  const name = view.found.links.kind[i] === 0 ? `<title>${escape(view.found.idOf(i) ?? "several")} ${r(view.found.links.weight[i] * 100) / 100}</title>` : "";
  return `<path d="${path(view, i, x, y)}" stroke="var(--${style.colour})" stroke-width="${r(style.width)}" opacity="${r(style.alpha)}"${dash}>${name}</path>`;
}

function mark(view, node, x, y) {
  if (node.text !== undefined) {
    const wide = node.label.length * 8 + 16;
    return `<rect x="${r(x - wide / 2)}" y="${y - 13}" width="${wide}" height="26" rx="8" fill="var(--paper)" stroke="var(--soft)"/><text x="${x}" y="${y + 4}" text-anchor="middle" class="m i">${escape(node.label)}</text>`;
  }
  const off = isOff(node, view.state.off);
  const size = r(Math.min(view.sizes[node.index] || 4, view.layout.step * 0.48));
  const disc = `<circle cx="${x}" cy="${y}" r="${size}" fill="var(--${off ? "paper" : "node"})" stroke="var(--${off ? "minus" : "paper"})" stroke-width="1.5"><title>${escape(`${node.id} ${node.label}`)}</title></circle>`;
  const named = node.label && node.head === null && view.layout.step > 20;
  return named ? `${disc}<text x="${x}" y="${r(y + size + 13)}" text-anchor="middle" class="m">${escape(node.label)}</text>` : disc;
}

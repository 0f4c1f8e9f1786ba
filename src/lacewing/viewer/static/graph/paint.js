/** Drawing a graph on a canvas: links in bundles of equal style, nodes, names. */

import { EDGE, EMBED, SAME, UNEMBED } from "./model.js";

const WIDTHS = 5;
const CHUNK = 400;
const MANY = 4000;

/** The colours of the theme, as the style sheet has them. */
export function colours(element = document.documentElement) {
  const style = getComputedStyle(element);
  const names = ["ink", "soft", "faint", "line", "paper", "plus", "minus", "node", "third", "wash"];
  return Object.fromEntries(names.map((n) => [n, style.getPropertyValue(`--${n}`).trim()]));
}

/** The curve of a link: it leaves and arrives upright. */
export function curve(path, layout, from, to) {
  const [x0, y0, x1, y1] = [layout.x[from], layout.y[from], layout.x[to], layout.y[to]];
  const bend = (y1 - y0) * 0.5;
  path.moveTo(x0, y0);
  path.bezierCurveTo(x0, y0 + bend, x1, y1 - bend, x1, y1);
}

/** How strong each link is shown, from 0 to 1, against the strongest of its kind. */
export function strengths(links, effects) {
  const strength = new Float32Array(links.count);
  for (const kind of [EDGE, EMBED, UNEMBED]) {
    let most = 1e-9;
    const size = (i) => (effects && kind === EDGE ? Math.max(effects[i], 0) : Math.abs(links.weight[i]));
    for (let i = 0; i < links.count; i++) if (links.kind[i] === kind) most = Math.max(most, size(i));
    for (let i = 0; i < links.count; i++) {
      if (links.kind[i] === kind) strength[i] = size(i) / most;
    }
  }
  return strength;
}

/** What a link looks like: a colour's name, a width class, dashes. */
export function look(links, strength, i) {
  if (links.kind[i] === SAME) return { colour: "line", width: 1, alpha: 1, dashed: false, rank: 0 };
  const step = Math.min(Math.floor(Math.sqrt(strength[i]) * WIDTHS), WIDTHS - 1);
  const faint = links.kind[i] === EMBED ? 0.55 : 1;
  return {
    colour: links.weight[i] >= 0 ? "plus" : "minus",
    width: 0.7 + step * 0.72,
    alpha: (0.3 + step * 0.14) * faint,
    dashed: links.weight[i] < 0,
    rank: 1 + step,
  };
}

/** Bundle links of equal look into paths of a few hundred curves, faintest first. */
export function bundles(found, layout, shown, strength) {
  const { links } = found;
  const groups = new Map();
  for (const i of shown) {
    const style = look(links, strength, i);
    const key = `${style.rank} ${style.colour} ${style.alpha}`;
    if (!groups.has(key)) groups.set(key, { style, links: [] });
    groups.get(key).links.push(i);
  }
  const dashes = shown.length <= MANY;
  const made = [];
  for (const { style, links: list } of [...groups.values()].sort((a, b) => a.style.rank - b.style.rank)) {
    for (let start = 0; start < list.length; start += CHUNK) {
      const path = new Path2D();
      for (const i of list.slice(start, start + CHUNK)) {
        curve(path, layout, links.source[i], links.destination[i]);
      }
      const thin = dashes ? 1 : 0.45;
      made.push({ path, ...style, alpha: style.alpha * thin, dashed: dashes && style.dashed });
    }
  }
  return made;
}

/** Stroke one bundle; widths are pixels of the screen at any zoom. */
export function stroke(context, bundle, palette, zoom, wider = 0) {
  context.strokeStyle = palette[bundle.colour];
  context.globalAlpha = bundle.alpha;
  context.lineWidth = (bundle.width + wider) / zoom;
  context.setLineDash(bundle.dashed ? [6 / zoom, 4 / zoom] : []);
  context.stroke(bundle.path);
}

/** Move a context to the world of the graph. */
export function enter(context, view, ratio) {
  context.setTransform(view.k * ratio, 0, 0, view.k * ratio, view.x * ratio, view.y * ratio);
}

/** How large a node is drawn, by what switching it off costs. */
export function radius(node, share, zoom) {
  if (node.text !== undefined) return 0;
  const size = share === undefined ? 5.5 : 3.8 + 7 * Math.sqrt(share);
  return size * Math.min(Math.max(Math.sqrt(zoom), 0.62), 1.7);
}

/** One node: a disc, hollow with a bar through it when it is off, a ring when it is chosen. */
export function disc(context, x, y, size, palette, look) {
  context.globalAlpha = look.faded ? 0.25 : 1;
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fillStyle = look.off ? palette.paper : mixed(palette, look.share);
  context.fill();
  context.lineWidth = look.off ? 1.6 : 1.5;
  context.strokeStyle = look.off ? palette.minus : palette.paper;
  context.stroke();
  if (look.off) line(context, x - size - 3, y + size + 3, x + size + 3, y - size - 3, palette.minus);
  if (look.steered) ring(context, x, y, size + 3, palette.third, 2.5);
  if (look.chosen || look.cursor) {
    ring(context, x, y, size + 5, look.chosen ? palette.plus : palette.ink, 2);
  }
  context.globalAlpha = 1;
}

function mixed(palette, share) {
  // Grey for what hardly matters, ink for what matters most: size says the same.
  return share === undefined || share > 0.08 ? palette.node : palette.soft;
}

function ring(context, x, y, size, colour, width) {
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
}

function line(context, x0, y0, x1, y1, colour) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.lineWidth = 1.6;
  context.strokeStyle = colour;
  context.stroke();
}

/** A cross in the middle of a cut link. */
export function cross(context, x, y, palette) {
  line(context, x - 5, y - 5, x + 5, y + 5, palette.minus);
  line(context, x - 5, y + 5, x + 5, y - 5, palette.minus);
}

/** A token or an answer: its text in a box. Returns the box's width. */
export function chip(context, x, y, text, palette, look) {
  context.font = "600 13px ui-monospace, 'DejaVu Sans Mono', monospace";
  const width = context.measureText(text).width + 18;
  context.beginPath();
  context.roundRect(x - width / 2, y - 13, width, 26, 8);
  context.globalAlpha = look.faded ? 0.4 : 1;
  context.fillStyle = palette.paper;
  context.fill();
  context.lineWidth = look.chosen || look.cursor ? 2 : 1.2;
  context.strokeStyle = look.chosen || look.cursor ? palette.plus : palette.soft;
  context.stroke();
  context.fillStyle = palette.ink;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x, y + 0.5);
  context.globalAlpha = 1;
  return width;
}

/** Text with a halo of the paper's colour, readable on top of curves. */
export function halo(context, text, x, y, palette, { colour = "soft", size = 11, align = "center", mono = false, weight = 400 } = {}) {
  const family = mono ? "ui-monospace, 'DejaVu Sans Mono', monospace" : "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
  context.font = `${weight} ${size}px ${family}`;
  context.textAlign = align;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = palette.paper;
  context.strokeText(text, x, y);
  context.fillStyle = palette[colour];
  context.fillText(text, x, y);
}

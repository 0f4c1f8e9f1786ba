/** The heat map as a figure to save: the same examples in a fixed-width face on coloured grounds. */

import { signed, token } from "../words.js";
import { shownPart } from "./heat.js";

const [CELL, LINE, LEFT, COLUMNS] = [7.8, 20, 74, 96];
const FACE = "13px ui-monospace,'SF Mono','DejaVu Sans Mono',monospace";

/** All groups of examples: {markup, width, height}. */
export function heatFigure(title, groups, reach) {
  const parts = [];
  let y = 30;
  const text = (x, words, extra = "") => `<text x="${x.toFixed(1)}" y="${y}"${extra}>${escaped(words)}</text>`;
  parts.push(text(10, title, ' class="t"'));
  for (const group of groups) {
    y += 1.8 * LINE;
    parts.push(text(10, group.title, ' class="t"'));
    for (const example of group.examples) {
      y += 1.3 * LINE;
      parts.push(text(LEFT - 10, signed(example.values[example.at] ?? 0), ' text-anchor="end" class="v"'));
      y = tokens(example, reach, parts, y);
    }
  }
  const [width, height] = [LEFT + COLUMNS * CELL + 12, Math.round(y + 16)];
  const style = `text{font:${FACE};fill:var(--ink);white-space:pre}.t{font:600 13px system-ui,'DejaVu Sans',sans-serif}.v{fill:var(--soft)}`;
  const markup = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"><title>${escaped(title)}</title><style>${style}</style><rect width="100%" height="100%" fill="var(--paper)"/>${parts.join("")}</svg>`;
  return { markup, width, height };
}

/** One example from line `y` on; the last line used. */
function tokens(example, reach, parts, y) {
  let column = 0;
  const { start, end } = shownPart(example);
  for (let i = start; i < end; i++) {
    const words = token(example.tokens[i], 40);
    if (column && column + words.length > COLUMNS) [column, y] = [0, y + LINE];
    const value = example.values[i] ?? 0;
    const strength = Math.min(Math.abs(value) / reach, 1);
    const [x, width] = [LEFT + column * CELL, words.length * CELL];
    const edge = i === example.at ? ' stroke="var(--ink)"' : "";
    if (strength >= 0.01 || edge) parts.push(`<rect x="${x.toFixed(1)}" y="${y - 14}" width="${width.toFixed(1)}" height="18" rx="3" fill="var(--${value > 0 ? "plus" : "minus"})" fill-opacity="${(strength < 0.01 ? 0 : 0.12 + 0.38 * strength).toFixed(2)}"${edge}/>`);
    const said = example.said?.[i];
    if (said) parts.push(`<line x1="${x.toFixed(1)}" x2="${(x + width).toFixed(1)}" y1="${y + 5}" y2="${y + 5}" stroke="var(--ink)" stroke-width="1.5"${said < 0 ? ' stroke-dasharray="2 2"' : ""}/>`);
    parts.push(`<text x="${x.toFixed(1)}" y="${y}" textLength="${width.toFixed(1)}" lengthAdjust="spacingAndGlyphs">${escaped(words)}</text>`);
    column += words.length;
    if (example.tokens[i].endsWith("\n")) [column, y] = [0, i + 1 < end ? y + LINE : y];
  }
  return y;
}

/** Text for XML: markup is escaped, and what XML may not hold becomes a question mark. */
function escaped(text) {
  const plain = text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  return plain.replace(/[\u0000-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "?");
}

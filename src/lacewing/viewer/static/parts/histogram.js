/** How often a node takes which value: a histogram with both signs, beside the heat map. */

import { h } from "../dom.js";
import { buttons, csv } from "../save.js";
import { count, number, percent } from "../words.js";

const [WIDTH, HEIGHT] = [640, 190];
const ROOM = { left: 58, right: 12, top: 12, bottom: 40 };
const STYLE = "text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:var(--soft)}";

/** The figure with its sentence and its saving; `name` is that of the files. */
export function histogram(answer, name) {
  const { edges, counts, zeros } = answer.histogram;
  const share = (n) => percent(n / answer.tokens, 1);
  const zero = edges.indexOf(0);
  const below = counts.slice(0, Math.max(zero, 0)).reduce((a, b) => a + b, 0);
  const above = counts.slice(Math.max(zero, 0)).reduce((a, b) => a + b, 0);
  const words = h("p.soft", {},
    `${count(answer.tokens)} tokens in ${count(answer.sequences)} pieces of text: `,
    h("span.swatch.plus", {}, `above zero at ${share(above)}`), " ", h("span.swatch.minus", {}, `below zero at ${share(below)}`),
    ` and exactly zero at ${share(zeros)}. From ${number(answer.minimum, 2)} to ${number(answer.maximum, 2)}, mean ${number(answer.mean, 3)}.`);
  if (!counts.length) return h("figure.histogram", {}, words);
  const figure = () => ({ markup: markup(edges, counts, name), width: WIDTH, height: HEIGHT });
  const picture = h("div.figure");
  const parsed = new DOMParser().parseFromString(figure().markup.replace(/<style>.*<\/style>/, ""), "image/svg+xml").documentElement;
  picture.append(document.importNode(parsed, true));
  const rows = [...counts.map((n, i) => [edges[i], edges[i + 1], n]), [0, 0, zeros]];
  return h("figure.histogram", {}, words, picture,
    h("div.row", {}, buttons(() => `${name}-values`, figure), h("button.quiet", { type: "button", "aria-label": "save the histogram as CSV", on: { click: () => csv(`${name}-values`, ["from", "to", "tokens"], rows) } }, "CSV")));
}

/** Bars over a logarithmic count: the few large values are the ones that matter. */
function markup(edges, counts, name) {
  const x = d3.scaleLinear([edges[0], edges.at(-1)], [ROOM.left, WIDTH - ROOM.right]);
  const most = Math.max(...counts);
  const y = d3.scaleLog([0.5, most * 1.2], [HEIGHT - ROOM.bottom, ROOM.top]);
  const foot = HEIGHT - ROOM.bottom;
  const at = (value) => value.toFixed(1);
  const bars = counts.map((n, i) => {
    if (!n) return "";
    const [from, to] = [x(edges[i]), x(edges[i + 1])];
    const side = edges[i] >= 0 ? "plus" : "minus";
    const told = `${number(edges[i], 2)} to ${number(edges[i + 1], 2)}: ${count(n)} tokens`;
    return `<rect x="${at(from + 0.5)}" y="${at(y(n))}" width="${at(Math.max(to - from - 1, 1))}" height="${at(foot - y(n))}" fill="var(--${side})"><title>${told}</title></rect>`;
  });
  const tens = d3.range(0, Math.floor(Math.log10(most)) + 1).map((power) => 10 ** power);
  const lines = tens.map((n) => `<line x1="${ROOM.left}" x2="${WIDTH - ROOM.right}" y1="${at(y(n))}" y2="${at(y(n))}" stroke="var(--faint)"/><text x="${ROOM.left - 8}" y="${at(y(n) + 4)}" text-anchor="end">${count(n)}</text>`);
  const ticks = x.ticks(7).map((v) => `<text x="${at(x(v))}" y="${foot + 16}" text-anchor="middle">${x.tickFormat(7)(v)}</text>`);
  const zero = `<line x1="${at(x(0))}" x2="${at(x(0))}" y1="${ROOM.top}" y2="${foot + 4}" stroke="var(--ink)"/>`;
  const axis = `<line x1="${ROOM.left}" x2="${WIDTH - ROOM.right}" y1="${foot}" y2="${foot}" stroke="var(--line)"/>`;
  const title = `How often ${name.replace(/[<>&"]/g, "")} takes which value`;
  const labels = `<text x="${(WIDTH + ROOM.left) / 2}" y="${HEIGHT - 6}" text-anchor="middle">value (zeros left out)</text><text transform="translate(12 ${HEIGHT / 2 - 12}) rotate(-90)" text-anchor="middle">tokens, logarithmic</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${title}"><style>${STYLE}</style><rect width="100%" height="100%" fill="var(--paper)"/>${lines.join("")}${bars.join("")}${axis}${zero}${ticks.join("")}${labels}</svg>`;
}

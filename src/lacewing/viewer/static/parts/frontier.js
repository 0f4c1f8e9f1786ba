/** The frontier of a sweep: what a model can do against how many connections it takes. */

import { h, s } from "../dom.js";
import { buttons, csv } from "../save.js";
import { address } from "../state.js";
import { count, number } from "../words.js";

const [WIDTH, HEIGHT] = [760, 420];
const ROOM = { left: 74, right: 24, top: 18, bottom: 52 };
const COLOURS = ["plus", "minus", "third", "node"];
const WORDS = { validation_loss: "validation loss, nats per token", loss: "task loss, nats", edges: "connections", nodes: "nodes", target_loss: "target loss, nats" };

/** A sweep's plot, its legend and its table. */
export function frontier(sweep) {
  const usable = sweep.points.filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y));
  if (!usable.length) return h("p.soft", {}, `${sweep.name}: no point can be drawn.`);
  const series = [...new Set(usable.map((p) => p.series))];
  const svg = plot(sweep, usable, series);
  const own = { ...sweep };
  const figure = () => ({ markup: text(svg), width: WIDTH, height: HEIGHT });
  const rows = sweep.points.map((p) => [p.label, p.series, p.x, p.y, p.target_loss ?? "", p.seed ?? "", (p.circuits ?? []).join(" ")]);
  return h("figure.frontier", {},
    h("figcaption", {}, h("b", {}, own.name), h("span.row", {}, series.map((name, i) => h(`span.swatch.c${i % COLOURS.length}`, {}, name)))),
    h("div.table", { tabindex: "0", role: "group", "aria-label": `plot of ${own.name}` }, svg),
    h("div.row", {}, buttons(() => own.id, figure), h("button.quiet", { type: "button", on: { click: () => csv(own.id, ["point", "series", sweep.x, sweep.y, "target", "seed", "circuits"], rows) } }, "Save as CSV")));
}

function plot(sweep, points, series) {
  const wide = d3.extent(points.flatMap((p) => [p.x, ...(p.x_interval ?? [])]));
  const x = d3.scaleLinear(wide[0] === wide[1] ? [wide[0] - 0.1, wide[1] + 0.1] : wide, [ROOM.left, WIDTH - ROOM.right]).nice();
  const tall = d3.extent(points.flatMap((p) => [p.y, ...(p.y_interval ?? [])]).filter((v) => v > 0));
  const y = d3.scaleLog([tall[0] / 1.3, tall[1] * 1.3], [HEIGHT - ROOM.bottom, ROOM.top]);
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "group", "aria-label": `${WORDS[sweep.y] ?? sweep.y} against ${WORDS[sweep.x] ?? sweep.x}` });
  axes(svg, x, y, sweep);
  series.forEach((name, i) => {
    const own = points.filter((p) => p.series === name && p.y > 0).sort((a, b) => a.x - b.x);
    const colour = `var(--${COLOURS[i % COLOURS.length]})`;
    svg.append(s("path", { d: d3.line((p) => x(p.x), (p) => y(p.y))(own), fill: "none", stroke: colour, "stroke-width": 1.5, opacity: 0.5 }));
    own.forEach((p) => svg.append(point(p, x, y, colour, i)));
  });
  return svg;
}

/** A point, with its intervals; it opens its circuit. */
function point(p, x, y, colour, i) {
  const [px, py] = [x(p.x), y(p.y)];
  const bars = [];
  if (p.y_interval?.[0] > 0) bars.push(s("line", { x1: px, x2: px, y1: y(p.y_interval[0]), y2: y(p.y_interval[1]), stroke: colour }));
  if (p.x_interval) bars.push(s("line", { y1: py, y2: py, x1: x(p.x_interval[0]), x2: x(p.x_interval[1]), stroke: colour }));
  const words = `${p.label}: ${number(p.x)}, ${count(p.y)}`;
  const mark = s("path", { d: d3.symbol(d3.symbolsFill[i % 7], 90)(), transform: `translate(${px} ${py})`, fill: colour, stroke: "var(--paper)" }, s("title", {}, words));
  const first = p.circuits?.[0];
  const inside = first ? s("a", { href: address(["circuit", first]), "aria-label": `${words}; open ${first}` }, mark) : mark;
  return s("g", {}, bars, inside);
}

function axes(svg, x, y, sweep) {
  const text = (place, words, extra = {}) => s("text", { ...place, fill: "var(--soft)", "font-size": 12, ...extra }, words);
  for (const tick of x.ticks(6)) svg.append(s("line", { x1: x(tick), x2: x(tick), y1: ROOM.top, y2: HEIGHT - ROOM.bottom, stroke: "var(--wash)" }), text({ x: x(tick), y: HEIGHT - ROOM.bottom + 18, "text-anchor": "middle" }, x.tickFormat(6)(tick)));
  const few = y.ticks().filter((v) => /^[125]0*$/.test(String(v)));
  for (const tick of few) svg.append(s("line", { y1: y(tick), y2: y(tick), x1: ROOM.left, x2: WIDTH - ROOM.right, stroke: "var(--wash)" }), text({ x: ROOM.left - 10, y: y(tick) + 4, "text-anchor": "end" }, count(tick)));
  svg.append(text({ x: (WIDTH + ROOM.left) / 2, y: HEIGHT - 12, "text-anchor": "middle" }, WORDS[sweep.x] ?? sweep.x), text({ transform: `translate(16 ${HEIGHT / 2}) rotate(-90)`, "text-anchor": "middle" }, `${WORDS[sweep.y] ?? sweep.y}, logarithmic`));
}

function text(svg) {
  const copy = svg.cloneNode(true);
  copy.prepend(s("rect", { width: "100%", height: "100%", fill: "var(--paper)" }));
  copy.setAttribute("font-family", "system-ui, 'DejaVu Sans', sans-serif");
  return new XMLSerializer().serializeToString(copy);
}

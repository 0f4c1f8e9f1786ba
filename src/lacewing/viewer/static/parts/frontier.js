/** The frontier of a sweep: what a model can do against how many edges it takes. */

import { fill, h, s } from "../dom.js";
import { buttons, csv } from "../save.js";
import { address, read, update } from "../state.js";
import { count, many, number } from "../words.js";

const [WIDTH, HEIGHT] = [760, 420];
const ROOM = { left: 74, right: 24, top: 18, bottom: 52 };
const COLOURS = ["plus", "minus", "third", "node"];
const WORDS = { validation_loss: "validation loss, nats per token", loss: "task loss, nats", edges: "edges", nodes: "nodes", target_loss: "target loss, nats" };

/** A sweep's plot, its legend, what the chosen point stands for, and its table. */
export function frontier(sweep) {
  const usable = sweep.points.filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y));
  const missing = notDrawn(sweep);
  if (!usable.length) return h("figure.frontier", {}, h("figcaption", {}, h("b", {}, sweep.name)), h("p.soft", {}, "No point can be drawn."), missing);
  const series = [...new Set(usable.map((p) => p.series))];
  const about = h("div.about", { role: "status" });
  const choose = (p) => {
    update({ point: `${sweep.id} ${sweep.points.indexOf(p)}` });
    fill(about, chosen(p));
  };
  const svg = plot(sweep, usable, series, choose);
  const [id, index] = (read().query.point ?? "").split(" ");
  if (id === sweep.id && sweep.points[index]) fill(about, chosen(sweep.points[index]));
  else fill(about, h("p.soft", {}, usable.some((p) => p.circuits?.length) ? "Click a point to open its circuit." : "The circuits of these points are not under the served folder."));
  const figure = () => ({ markup: text(svg), width: WIDTH, height: HEIGHT });
  const rows = sweep.points.map((p) => [p.label, p.series, p.x, p.y, p.y_interval?.[0] ?? "", p.y_interval?.[1] ?? "", p.target_loss ?? "", p.seed ?? "", (p.circuits ?? []).join(" ")]);
  const head = ["point", "series", sweep.x, sweep.y, "low", "high", "target", "seed", "circuits"];
  return h("figure.frontier", {},
    h("figcaption", {}, h("b", {}, sweep.name), h("span.row", {}, series.map((name, i) => h(`span.swatch.c${i % COLOURS.length}`, {}, name))), over(sweep)),
    h("div.table", { tabindex: "0", role: "group", "aria-label": `plot of ${sweep.name}` }, svg),
    about,
    h("div.row", {}, buttons(() => sweep.id, figure), h("button.quiet", { type: "button", on: { click: () => csv(sweep.id, head, rows) } }, "Save as CSV")),
    missing);
}

/** What the sizes are averaged over. */
function over({ tasks, points }) {
  const target = points[0]?.target_loss;
  const words = [tasks?.length ? `averaged over ${tasks.length === 1 ? tasks[0].replaceAll("_", " ") : `${tasks.length} tasks`}` : null, target ? `circuits at ${number(target, 2)} nats` : null];
  return h("small", {}, words.filter(Boolean).join(", "));
}

/** A point in words, with a link to each of its circuits. */
function chosen(p) {
  const interval = p.y_interval ? ` (95 % interval ${count(p.y_interval[0])} to ${count(p.y_interval[1])})` : "";
  return [
    h("p", {}, h("b", {}, p.label), `: ${many(p.y, "edge")}${interval} at ${number(p.x)}.`),
    p.circuits?.length
      ? h("p.row", {}, "Open: ", p.circuits.map((id, i) => h("a.button", { href: address(["circuit", id]), title: id }, (p.tasks?.[i] ?? id).replaceAll("_", " "))))
      : h("p.soft", {}, "Its circuits are not under the served folder."),
  ];
}

function notDrawn({ missing }) {
  if (!missing?.length) return null;
  return h("details", {}, h("summary", {}, `${missing.length} not drawn`), h("ul", {}, missing.map((m) => h("li", {}, `${m.label}: ${m.reason ?? "no number"}`))));
}

function plot(sweep, points, series, choose) {
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
    own.forEach((p) => svg.append(point(p, x, y, colour, i, choose)));
  });
  return svg;
}

/** A point, with its intervals: it opens its circuit, or lets choose among several. */
function point(p, x, y, colour, i, choose) {
  const [px, py] = [x(p.x), y(p.y)];
  const bars = [];
  if (p.y_interval?.[0] > 0) bars.push(s("line", { x1: px, x2: px, y1: y(p.y_interval[0]), y2: y(p.y_interval[1]), stroke: colour }));
  if (p.x_interval) bars.push(s("line", { y1: py, y2: py, x1: x(p.x_interval[0]), x2: x(p.x_interval[1]), stroke: colour }));
  const words = `${p.label}: ${number(p.x)}, ${many(p.y, "edge")}`;
  const mark = s("path", { d: d3.symbol(d3.symbolsFill[i % 7], 90)(), transform: `translate(${px} ${py})`, fill: colour, stroke: "var(--paper)" }, s("title", {}, words));
  const pick = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(p);
  };
  const several = { role: "button", tabindex: 0, class: "several", "aria-label": words, on: { click: pick, keydown: pick } };
  const only = p.circuits?.length === 1 ? p.circuits[0] : null;
  const inside = only ? s("a", { href: address(["circuit", only]), "aria-label": `${words}; open ${only}` }, mark) : s("g", several, mark);
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

/** Across a bridge: the dense model's answer against the strength of a node of this circuit. */

import { get, poll, readOnly } from "../api.js";
import { fill, h, s, say } from "../dom.js";
import { buttons, csv } from "../save.js";
import { number } from "../words.js";

const [WIDTH, HEIGHT] = [340, 200];
const ROOM = { left: 40, right: 12, top: 12, bottom: 40 };

/** Offer every bridge that the node crosses; nothing where there is none, or no server. */
export function across(host, session, node) {
  if (readOnly) return () => {};
  const stop = new AbortController();
  session.bridges ??= get(["circuits", session.id, "bridges"]).catch(() => ({ bridges: [] }));
  session.bridges.then((answer) => {
    if (!stop.signal.aborted) show(answer.bridges.filter((one) => one.nodes.includes(node.id)));
  });

  function show(bridges) {
    if (!bridges.length) return;
    fill(host, h("h3", {}, "In the dense model"), bridges.map((one) => {
      const place = h("div");
      const button = h("button", { type: "button", title: `through the bridge ${one.name}`, on: { click: () => ((button.disabled = true), steer(one, place, button)) } }, `Steer ${one.dense} by it`);
      return [h("p.row", {}, button, bridges.length > 1 ? h("small", {}, one.name) : null), place];
    }));
  }

  function steer(one, place, button) {
    const ask = () => get(["circuits", session.id, "bridges", one.id, node.id], {}, stop.signal);
    const seen = (answer) => fill(place, ...drawn(answer, node.id));
    fill(place, h("p.soft", { role: "status" }, "Measuring…"));
    poll(ask, (answer) => answer.state !== "computing", seen, stop.signal)
      .then(() => say(`The dense model's answer to ${node.id} is drawn.`))
      .catch((error) => {
        if (stop.signal.aborted) return;
        button.disabled = false;
        fill(place, h("p.error", {}, error.message));
      });
  }

  return () => stop.abort();
}

/** The curve, its words and its numbers. */
function drawn(answer, name) {
  const { curve } = answer;
  const busy = answer.state === "computing" ? h("p.soft", { role: "status" }, `Measured ${answer.done} of ${answer.total} strengths…`) : null;
  if (!curve.length) return [busy];
  const rows = curve.map((p) => [p.strength, p.partner.value, ...p.partner.interval, p.random.value, ...p.draws]);
  const svg = plot(answer);
  const figure = () => ({ markup: text(svg), width: WIDTH, height: HEIGHT });
  return [
    busy,
    h("div.figure", {}, svg),
    h("p.soft", {}, h("span.swatch.plus", {}, "this node"), " ", h("span.swatch.minus", {}, `${answer.randoms} random directions of the same length`)),
    h("p.soft", {}, `Chance of the partner prompt's answer in ${answer.dense}, on ${answer.pairs} pairs${answer.unlike ? ` (${answer.unlike} aligned from their last tokens)` : ""}, when so much of what the node changes is added there. Bands: 95\u00a0% over pairs, lowest to highest of the random ones. The whole site exchanged: ${chance(answer.whole)}. In this model, the node itself exchanged: ${chance(answer.sparse_after)} instead of ${chance(answer.sparse_before)}.`),
    h("details", {}, h("summary", {}, "Numbers"), h("div.table", { tabindex: "0", role: "group", "aria-label": "the numbers" }, h("table", {}, h("thead", {}, h("tr", {}, ["strength", "answer", "random"].map((word, i) => h(i ? "th.n" : "th", {}, word)))), h("tbody", {}, curve.map((p) => h("tr", {}, h("td", {}, String(p.strength)), h("td.n", {}, chance(p.partner)), h("td.n", {}, `${number(p.random.value)} (${number(p.draws[0])} to ${number(p.draws[1])})`))))))),
    h("div.row", {}, buttons(() => `${name}-across`, figure), h("button.quiet", { type: "button", "aria-label": "save the curve as CSV", on: { click: () => csv(`${name}-across`, ["strength", "answer", "low", "high", "random", "lowest", "highest"], rows) } }, "CSV")),
  ];
}

const chance = ({ value, interval }) => `${number(value)} [${number(interval[0])}, ${number(interval[1])}]`;

/** Strengths stand at equal steps: they grow threefold from one to the next. */
function plot({ curve, whole, node }) {
  const x = d3.scalePoint(curve.map((p) => p.strength), [ROOM.left, WIDTH - ROOM.right]).padding(0.2);
  const top = Math.max(0.05, whole.interval[1], ...curve.flatMap((p) => [p.partner.interval[1], p.draws[1]]));
  const y = d3.scaleLinear([0, Math.min(1, top)], [HEIGHT - ROOM.bottom, ROOM.top]).nice(4);
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": `the dense model's answer against the strength of ${node}` });
  const word = (place, words) => s("text", { ...place, fill: "var(--soft)", "font-size": 11 }, words);
  for (const tick of y.ticks(4)) svg.append(s("line", { x1: ROOM.left, x2: WIDTH - ROOM.right, y1: y(tick), y2: y(tick), stroke: "var(--faint)" }), word({ x: ROOM.left - 6, y: y(tick) + 4, "text-anchor": "end" }, y.tickFormat(4)(tick)));
  for (const p of curve) svg.append(word({ x: x(p.strength), y: HEIGHT - ROOM.bottom + 16, "text-anchor": "middle" }, String(p.strength)));
  svg.append(word({ x: (WIDTH + ROOM.left) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "strength; 1 is all that the node changes"));
  const band = (low, high, colour) => s("path", { d: d3.area((p) => x(p.strength), (p) => y(low(p)), (p) => y(high(p)))(curve), fill: colour, opacity: 0.22 });
  const line = (value, colour, mark) => [
    s("path", { d: d3.line((p) => x(p.strength), (p) => y(value(p)))(curve), fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-dasharray": mark ? null : "4 3" }),
    mark ? curve.map((p) => s("circle", { cx: x(p.strength), cy: y(value(p)), r: 3, fill: colour })) : [],
  ];
  const parts = [
    band((p) => p.draws[0], (p) => p.draws[1], "var(--minus)"), line((p) => p.random.value, "var(--minus)", false),
    band((p) => p.partner.interval[0], (p) => p.partner.interval[1], "var(--plus)"), line((p) => p.partner.value, "var(--plus)", true),
  ];
  svg.append(...parts.flat(3));
  return svg;
}

function text(svg) {
  const copy = svg.cloneNode(true);
  copy.prepend(s("rect", { width: "100%", height: "100%", fill: "var(--paper)" }));
  copy.setAttribute("font-family", "system-ui, 'DejaVu Sans', sans-serif");
  return new XMLSerializer().serializeToString(copy);
}

/** The graph with its tools: find, how many edges, measure, zoom, groups, saving. */

import { fill, h } from "../dom.js";
import { figure } from "../graph/figure.js";
import { grouped } from "../graph/group.js";
import { EDGE, edgeName, name, naming } from "../graph/model.js";
import { GraphView } from "../graph/view.js";
import { keys } from "../graph/keys.js";
import { buttons } from "../save.js";
import { read, update } from "../state.js";
import { onTheme } from "../theme.js";
import { count, signed, title } from "../words.js";
import { exporting } from "./exporting.js";
import { find } from "./find.js";
import { groups } from "./groups.js";
import { brief, explained } from "./meaning.js";

const ALL = 200;
/** A circuit of up to so many edges is shown whole. */
const FIRST = 80;
/** Of a larger one, the edges shown at first: those that cost most when they are cut. */

/** Show the graph of a session. */
export function stage(host, session) {
  const query = read().query;
  const tip = h("div.tip", { hidden: true });
  const same = session.circuit.latents ? null : h("span.key.same", {}, "the same channel, later");
  const legend = h("p.legend", {},
    h("span.key.plus", {}, "raises"), h("span.key.minus", {}, "lowers"), same,
    h("span.key.size", {}, "larger: matters more"));
  const tools = h("div.tools");
  const canvas = h("div.canvas");
  const zooms = h("div.zooms", { role: "group", "aria-label": "zoom" });
  fill(host, tools, h("div.frame", {}, canvas, tip, zooms), h("div.under", {}, legend, h("span.row", {}, exporting(session), buttons(() => `${session.id}-graph`, () => figure(view, session.circuit.task)))));

  const view = new GraphView(canvas, {
    hover: (node, link, x, y) => hint(tip, session, view.found, node, link, x, y),
    choose: (id) => session.choose(id),
    moved: (place) => update({ view: place ? place.map((v) => v.toPrecision(4)).join(",") : "" }),
  });
  view.canvas.setAttribute("aria-label", `Graph of ${title(session.circuit.description, session.circuit.task)}. Arrow keys move between nodes, Enter chooses, Delete switches off. The same as a list stands below.`);
  const reopen = (start) => {
    view.open(grouped(session.graph, session.notes.supernodes, closed(session)), start);
    cut();
    effects();
    chosen();
  };
  const cut = () => view.set({ off: new Set(session.cut.now.off), values: session.cut.now.values });
  const effects = () => view.set({ effects: session.effects });
  const chosen = () => view.set({ chosen: view.found.byId.get(session.chosen)?.id ?? session.chosen });
  if (query.names) naming(session.graph, query.names);
  const start = (query.view ?? "").split(",").map(Number);
  reopen(start.length === 3 && start.every(Number.isFinite) ? start : null);
  const menu = groups(session, () => reopen(null));
  fill(tools, find(session, view), session.circuit.latents ? null : limits(session, view), names(session, () => reopen(null)), menu.element);
  zoom(zooms, view);
  const off = [
    session.on("cut", cut),
    session.on("effects", effects),
    session.on("chosen", () => {
      chosen();
      const node = view.found.byId.get(session.chosen);
      if (node) view.reveal(node);
    }),
    menu.stop,
    keys(view, session),
    onTheme(() => view.repaint()),
  ];
  host.view = view; // the frame-rate benchmark and tests look through here
  return () => {
    off.forEach((stop) => stop());
    view.close();
  };
}

/** Which groups are drawn as one node: all, until the address names those that are open. */
function closed(session) {
  const open = new Set((read().query.open ?? "").split(",").filter(Boolean));
  return new Set(session.notes.supernodes.map((s) => s.id).filter((id) => !open.has(id) && !open.has("all")));
}

function limits(session, view) {
  const total = view.found.links.kind.reduce((sum, kind) => sum + (kind === EDGE), 0);
  const query = read().query;
  const [first, by] = total > ALL ? [FIRST, "effect"] : [total, "weight"];
  const start = Math.min(Number(query.show) || first, total);
  const measure = h("select", { id: "measure", "aria-label": "what makes a edge strong" }, h("option", { value: "weight" }, "by weight"), h("option", { value: "effect" }, "by effect"));
  measure.value = ["effect", "weight"].includes(query.by) ? query.by : by;
  // The slider runs over the logarithm: the step from 10 to 20 is worth as much as 10,000 to 20,000.
  const slider = h("input", { type: "range", id: "limit", min: 0, max: 100, step: 0.5, "aria-label": "edges shown" });
  const said = h("output", { for: "limit" });
  const more = h("button.quiet", { type: "button", id: "more", title: "Show twice as many edges", on: { click: () => ((number = Math.min(2 * number, total)), place(), show()) } }, "More");
  const place = () => (slider.value = (100 * Math.log(Math.max(number, 1))) / Math.log(Math.max(total, 2)));
  const of = () => Math.min(Math.round(Math.exp((slider.value / 100) * Math.log(total))), total);
  let number = start;
  const show = () => {
    const whole = number >= total;
    more.hidden = whole;
    said.textContent = whole ? `all ${count(total)}` : `strongest ${count(number)}, ${count(total - number)} hidden`;
    slider.setAttribute("aria-valuetext", `${count(number)} of ${count(total)}`);
    view.limit(whole ? Infinity : number, measure.value);
    update({ show: number === first ? "" : number, by: measure.value === by ? "" : measure.value });
  };
  place();
  slider.addEventListener("input", () => ((number = of()), show()));
  measure.addEventListener("change", show);
  show();
  return h("div.limits", {}, h("label", { for: "limit" }, "Edges"), slider, measure, said, more);
}

/** Whether nodes are named after tokens or after what they mean; only where something is explained. */
function names(session, redraw) {
  if (!explained(session.circuit)) return null;
  const pick = h("select", { id: "names", "aria-label": "what nodes are named after" }, h("option", { value: "" }, "named by token"), h("option", { value: "meaning" }, "named by meaning"));
  pick.value = read().query.names === "meaning" ? "meaning" : "";
  pick.addEventListener("change", () => {
    update({ names: pick.value });
    naming(session.graph, pick.value);
    redraw();
  });
  return pick;
}

function zoom(host, view) {
  const button = (words, label, factor) => h("button", { type: "button", "aria-label": label, title: label, on: { click: () => view.scale(factor) } }, words);
  fill(host, button("+", "zoom in", 1.5), button("−", "zoom out", 1 / 1.5), button("⤢", "show everything", 0));
}

/** The small box at the pointer. */
function hint(tip, session, found, node, link, x = 0, y = 0) {
  const shown = node ?? (link >= 0 ? link : null);
  tip.hidden = shown === null;
  if (shown === null) return;
  if (node) fill(tip, h("b", {}, name(node)), node.label && node.text === undefined ? h("span.tokenchip", {}, node.label) : null, brief(node.meaning), effect(session, node.id), node.text === undefined ? h("small", {}, "click for more") : null);
  else if (found.links.kind[link] === 0) fill(tip, h("b", {}, edgeName(found, link)), effect(session, found.idOf(link)), h("small", {}, "click for more"));
  else if (found.links.kind[link] === 3) fill(tip, "the same channel, read later");
  else fill(tip, `${found.links.kind[link] === 1 ? "embedding" : "unembedding"} weight ${signed(found.links.weight[link], 3)}`);
  const box = tip.parentElement.getBoundingClientRect();
  tip.style.left = `${Math.max(Math.min(x + 14, box.width - tip.offsetWidth - 8), 4)}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > box.height ? y - tip.offsetHeight - 10 : y + 18}px`;
}

function effect(session, id) {
  if (id === null) return null;
  const value = session.effect(id);
  return value === undefined ? null : h("span", {}, `off: loss ${signed(value, 3)}`);
}


/** Compare two circuits: what they share, what they do not; and the frontier of sweeps. */

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { every } from "../parts/every.js";
import { frontier } from "../parts/frontier.js";
import { overlap } from "../parts/overlap.js";
import { mark } from "../parts/tests.js";
import { buttons, csv } from "../save.js";
import { address, update } from "../state.js";
import { onTheme } from "../theme.js";
import { count, number, percent, place, title } from "../words.js";

/** What stands side by side: words, the value, and how it is shown where that is another thing. */
const FACTS = [
  ["task", (c) => c.task, (c) => c.task.replaceAll("_", " ")],
  ["model", (c) => c.model_name],
  ["nodes", (c) => c.nodes, (c) => count(c.nodes)],
  ["edges", (c) => c.edges, (c) => count(c.edges)],
  ["loss, nats", (c) => c.loss, (c) => number(c.loss)],
  ["whole model", (c) => c.full_loss, (c) => number(c.full_loss)],
  ["seed", (c) => c.seed],
  ["verdict", (c) => c.verdict ?? "not verified", (c) => mark(c.verdict, c.tests)],
];

/** Show the two circuits that the address names. */
export async function show(main, query, current) {
  const home = await get(["home"]);
  if (!current()) return () => {};
  const usable = every(home).filter((c) => c.model && !c.error);
  const chosen = start(usable, query);
  const result = h("div");
  const plots = h("section");
  let turn = 0;
  let again = () => {};
  const pick = (side, words) => {
    const select = h("select", { id: side, on: { change: () => ((chosen[side] = select.value), update({ [side]: select.value }), load()) } }, usable.map((c) => h("option", { value: c.id }, `${c.id} (${title(c.description, c.task)}, ${c.model_name})`)));
    select.value = chosen[side] ?? "";
    return h("div", {}, h("label", { for: side }, words), select);
  };

  async function load() {
    const mine = ++turn;
    if (!chosen.left || !chosen.right) return fill(result, h("p.soft", {}, "There must be two circuits to compare."));
    try {
      const found = await get(["compare"], { left: chosen.left, right: chosen.right });
      if (mine !== turn) return;
      again = () => both(result, found);
      again();
    } catch (error) {
      if (mine === turn) fill(result, h("p.error", { role: "alert" }, error.message));
    }
  }

  fill(main, h("header.plain", {}, h("h1", {}, "Compare two circuits"), h("p.lead", {}, "Two seeds, two tasks, or a sparse model and a dense one.")),
    h("div.pair", {}, pick("left", "One"), pick("right", "The other")), result, plots);
  load();
  const plotted = get(["frontier"]).then(({ sweeps }) => {
    if (!current()) return;
    const drawn = () => fill(plots, sweeps.length ? h("h2", {}, "Frontier") : null, sweeps.map((s) => frontier(s)));
    drawn();
    return onTheme(drawn);
  }, (error) => fill(plots, h("p.soft", {}, error.message)));
  const off = onTheme(() => again());
  return () => {
    off();
    plotted.then((stop) => typeof stop === "function" && stop());
  };
}

/** Those of the address; else the first two of one task. */
function start(usable, query) {
  const known = (id) => usable.find((c) => c.id === id);
  const left = known(query.left) ?? usable[0];
  const right = known(query.right) ?? usable.find((c) => c !== left && c.task === left?.task) ?? usable.find((c) => c !== left);
  return { left: left?.id, right: right?.id };
}

function both(host, found) {
  const { left, right } = found;
  const colour = (side) => h(`span.swatch.${side}`, {}, side === "left" ? left.id : right.id);
  const facts = FACTS.map(([words, value]) => [words, value(left), value(right)]);
  const fact = (words, value) => h("tr", {}, h("th", { scope: "row" }, words), h("td.n", {}, value(left)), h("td.n", {}, value(right)), h("td.soft", {}, words === "edges" && counted && ratio > 1.05 ? `${number(ratio, 1)} times as many` : ""));
  const counted = left.edges !== null && right.edges !== null;
  const ratio = Math.max(left.edges, right.edges) / Math.max(Math.min(left.edges, right.edges), 1);
  const sites = h("div.table");
  fill(host,
    h("div.table", {}, h("table.facing", {},
      h("thead", {}, h("tr", {}, h("td"), h("th.n", { scope: "col" }, link(left)), h("th.n", { scope: "col" }, link(right)), h("td"))),
      h("tbody", {},
        FACTS.map(([words, value, shown]) => fact(words, shown ?? value))))),
    h("p.row", {}, h("button.quiet", { type: "button", "aria-label": "Save as CSV: what stands side by side", on: { click: () => csv(`${left.id}-${right.id}-facts`, ["fact", left.id, right.id], facts) } }, "Save as CSV")),
    shared(found),
    h("h2", {}, "Site by site"), h("p.row", {}, colour("left"), colour("right"), found.same_model ? h("span.swatch.both", {}, "in both") : null), sites);
  const figure = () => overlap(found);
  const drawn = figure();
  const picture = h("div.figure", { tabindex: "0", role: "group", "aria-label": "nodes at every site" });
  // The figure is our own text: parsed as XML and taken over element by element.
  const parsed = new DOMParser().parseFromString(drawn.markup.replace(/<style>.*<\/style>/, ""), "image/svg+xml").documentElement;
  picture.append(document.importNode(parsed, true));
  const rows = found.sites.map((s) => [s.key, s.left, s.right, s.shared ?? ""]);
  fill(sites, picture, h("div.row", {}, buttons(() => `${left.id}-${right.id}`, figure), h("button.quiet", { type: "button", on: { click: () => csv(`${left.id}-${right.id}`, ["site", left.id, right.id, "shared"], rows) } }, "Save as CSV")));
  if (found.same_model) fill(host.appendChild(h("div.lists")), ["shared", "left", "right"].map((key) => names(key, found)));
}

function shared(found) {
  if (!found.same_model) return h("p.lead", {}, "They belong to two models, so no node of one is a node of the other; sizes can be compared, names cannot.");
  const { nodes, edges, jaccard } = found;
  return h("p.lead", {}, h("b", {}, `${count(nodes.shared.length)} nodes and ${count(edges.shared.length)} edges are in both`), `: ${percent(jaccard.nodes)} of all their nodes, ${percent(jaccard.edges)} of all their edges.`);
}

function names(key, found) {
  const words = { shared: "In both", left: `Only in ${found.left.id}`, right: `Only in ${found.right.id}` }[key];
  const owner = key === "right" ? found.right.id : found.left.id;
  const list = found.nodes[key];
  return h("details", {}, h("summary", {}, `${words} (${list.length} nodes)`), h("p", {}, list.slice(0, 400).map((id) => [h("a.mono", { href: address(["circuit", owner], { node: id }), title: place(id.replace(/\.\d+$/, "")) }, id), " "])));
}

function link(circuit) {
  return h("a", { href: address(["circuit", circuit.id]) }, circuit.id);
}


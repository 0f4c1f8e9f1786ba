/** Text: where a node acts, over prompts of the task and natural text, and where a head looks. */

import { get, poll } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { name } from "../graph/model.js";
import { attention } from "../parts/attention.js";
import { heat } from "../parts/heat.js";
import { heatFigure } from "../parts/heatfigure.js";
import { histogram } from "../parts/histogram.js";
import { meaning } from "../parts/meaning.js";
import { buttons, csv } from "../save.js";
import { read, update } from "../state.js";

/** Show the chosen node's text, and the attention of a kept head. */
export function show(main, session) {
  const places = { choose: h("div.choose"), body: h("div.texts"), attend: h("section.attend") };
  let stop = new AbortController();
  let text = read().query.over === "natural" ? "natural" : "task";
  fill(main,
    h("header.plain", {}, h("h1", {}, "Where it acts"), h("p.lead", {}, "Each token is coloured by the node’s value at it in the whole model; the deeper, the further from zero.")),
    places.choose, places.body, places.attend);
  const node = () => session.graph.byId.get(session.chosen);
  if (!node() || node().text !== undefined) session.chosen = favourite(session);
  const leaveAttention = attention(places.attend, session);

  function chooser() {
    const nodes = session.graph.nodes.filter((n) => n.text === undefined);
    const rank = (n) => -(session.effect(n.id) ?? 0);
    const select = h("select", { id: "node", data: { key: "node" }, on: { change: (e) => session.choose(e.target.value) } },
      [...nodes].sort((a, b) => rank(a) - rank(b)).map((n) => h("option", { value: n.id }, `${n.id}  ${n.label}`)));
    select.value = session.chosen;
    const over = (key, words) => h("button", { type: "button", "aria-pressed": String(text === key), data: { key }, on: { click: () => ((text = key), update({ over: key === "natural" ? key : "" }), load()) } }, words);
    refill(places.choose,
      h("div.row", {}, h("label", { for: "node" }, "Node"), select, h("span", { role: "group", "aria-label": "text" }, over("task", "Prompts of the task"), " ", over("natural", "Natural text"))),
      h("p.soft", {}, name(node()), " ", node().label ? h("span.tokenchip", {}, node().label) : null),
      meaning(node().meaning));
  }

  function load() {
    stop.abort();
    stop = new AbortController();
    chooser();
    const { signal } = stop;
    fill(places.body, h("p.soft", { role: "status" }, "Reading…"));
    const id = session.chosen;
    const ask = () => get(["circuits", session.id, "activations", id], { text });
    const seen = (answer) => answer.state === "computing" ? fill(places.body, h("p.soft", { role: "status" }, "Reading; the first time takes a while…")) : groups(answer, id);
    poll(ask, (answer) => answer.state !== "computing", seen, signal).catch((error) => signal.aborted || fill(places.body, h("p.error", { role: "alert" }, error.message)));
  }

  function groups(answer, id) {
    const reach = Math.max(Math.abs(answer.minimum), Math.abs(answer.maximum), 1e-9);
    const shown = answer.groups.filter((g) => g.examples.length).map((g) => ({ ...g, examples: once(g.examples) }));
    const rows = () => answer.groups.flatMap((g) => g.examples.flatMap((e, i) => e.tokens.map((t, at) => [g.name, i, e.source, at, t, e.values[at], ...(e.said ? [e.said[at]] : [])])));
    const told = shown.some((g) => g.examples.some((e) => e.said));
    fill(places.body,
      histogram(answer, `${session.id}-${id}-${text}`),
      h("div.row", {}, h("b", {}, "Examples"), buttons(() => `${session.id}-${id}-${text}`, () => heatFigure(`${id} of ${session.id}, in the whole model`, shown, reach)), h("button.quiet", { type: "button", on: { click: () => csv(`${session.id}-${id}-${text}`, ["group", "example", "source", "position", "token", "value", ...(told ? ["predicate"] : [])], rows()) } }, "Save as CSV")),
      told ? h("p.soft", {}, "Underlined: where the explanation says that it fires", answer.groups.some((g) => g.examples.some((e) => e.said?.includes(-1))) ? "; dotted: where it says that the other side does." : ".") : null,
      shown.map((g) => h("section", {}, h("h2", {}, g.title), h("ul.examples", {}, g.examples.map((e) => heat(e, reach))))));
  }

  const off = [session.on("chosen", () => node() && node().text === undefined && load()), session.on("effects", chooser)];
  load();
  return () => {
    stop.abort();
    leaveAttention();
    off.forEach((end) => end());
  };
}

/** The two prompts of a pair say the same before they part: one of them is enough. */
function once(examples) {
  const seen = new Set();
  return examples.filter((e) => {
    const key = `${e.source} ${e.pair} ${e.at} ${e.values[e.at]}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** The node to begin with: the one that matters most, or else a head's first. */
function favourite(session) {
  const ranked = Object.entries(session.effects?.nodes ?? {}).sort(([, a], [, b]) => b - a);
  return ranked[0]?.[0] ?? (session.graph.nodes.find((n) => n.site === "attn_v") ?? session.graph.nodes[0]).id;
}

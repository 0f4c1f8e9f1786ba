/** What matters most: nodes and edges by what switching each off costs, each with its switch. */

import { readOnly } from "../api.js";
import { h, refill } from "../dom.js";
import { edgeId } from "../graph/model.js";
import { number } from "../words.js";
import { read, update } from "../state.js";
import { idText } from "./names.js";

const SHOWN = 8;

/** The ranking, for the panel's start. */
export function matters(host, session) {
  const asked = read().query.rank;
  let kind = ["nodes", "edges"].includes(asked) ? asked : "both";
  let more = false;
  const show = () => refill(host, ...list());
  const off = ["effects", "cut", "chosen"].map((name) => session.on(name, show));

  function list() {
    const { effects, effectsError } = session;
    const tab = (key, words) =>
      h("button.quiet", { type: "button", "aria-pressed": String(kind === key), data: { key }, on: { click: () => ((kind = key), update({ rank: key === "both" ? "" : key }), show()) } }, words);
    const head = [
      h("h2", {}, readOnly ? "What matters most" : "Switch one off and see what happens"),
      h("p.soft", {}, "What the loss rises by when only this one is off. The whole rest stays."),
      session.circuit.latents ? null : h("div.row.kinds", { role: "group", "aria-label": "what to list" }, tab("both", "Both"), tab("nodes", "Nodes"), tab("edges", "Edges")),
    ];
    if (effectsError) return [...head, h("p.error", {}, effectsError)];
    if (!effects) return [...head, h("p.soft", {}, "Measuring…")];
    const kinds = kind === "both" ? ["nodes", "edges"] : [kind];
    const ranked = kinds.flatMap((name) => Object.entries(effects[name])).sort(([, a], [, b]) => b - a);
    const most = Math.max(ranked[0]?.[1] ?? 0, 0.05);
    const count = more ? 60 : SHOWN;
    const busy = effects.state === "computing";
    return [
      ...head,
      ranked.length ? h("ol.matters", {}, ranked.slice(0, count).map(([id, effect], i) => line(id, effect, most, i))) : h("p.soft", {}, busy ? "Measuring…" : "None."),
      busy && effects.total ? h("p.soft", {}, `Measured ${effects.done} of ${effects.total}`) : null,
      ranked.length > SHOWN ? h("button.quiet.more", { type: "button", data: { key: "more" }, on: { click: () => ((more = !more), show()) } }, more ? "Fewer" : `More (${ranked.length})`) : null,
      effects.pairs ? h("p.soft", {}, `On ${effects.pairs} pairs of test prompts.`) : null,
    ];
  }

  function line(id, effect, most, i) {
    const isOff = session.cut.isOff(id);
    return h("li", { class: [isOff ? "isoff" : "", session.chosen === id ? "ischosen" : ""].join(" ").trim() || null },
      h("button.name", { type: "button", title: "Look at it", data: { key: `look ${id}` }, on: { click: () => session.choose(id) } },
        idText(session.graph, id, `${effect >= 0 ? "+" : ""}${number(effect, 2)} nats`),
        h("span.meter", {}, h("span.fill", { style: { width: `${Math.max((100 * effect) / most, 1).toFixed(1)}%` } }))),
      readOnly ? null : toggle(session, id, i === 0 ? "main" : ""),
    );
  }

  show();
  return () => off.forEach((stop) => stop());
}

/** The switch of a node or an edge. */
export function toggle(session, id, kind = "") {
  const isOff = session.cut.isOff(id);
  return h(`button.switch${kind && !isOff ? `.${kind}` : ""}`, {
    type: "button",
    "aria-pressed": String(isOff),
    "aria-label": `switch ${isOff ? "on" : "off"} ${id}`,
    data: { key: `switch ${id}` },
    on: { click: () => session.cut.toggle(id) },
  }, isOff ? "Switch on" : "Switch off");
}

/** Ids of all edges at a node, the strongest first. */
export function edgesAt(found, node, side) {
  const { links, around } = found;
  return around[side][node.index]
    .filter((i) => links.kind[i] === 0)
    .sort((a, b) => Math.abs(links.weight[b]) - Math.abs(links.weight[a]))
    .map((i) => ({ link: i, id: edgeId(found, i), weight: links.weight[i] }));
}

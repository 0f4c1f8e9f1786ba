/** All groups at once: layers down, sites across; a cell says how many nodes, its ground how strong. */

import { h, refill } from "../dom.js";
import { count, kind, place, signed } from "../words.js";

const SITES = ["attn_in", "attn_q", "attn_k", "attn_v", "attn_out", "mlp_in", "mlp_neuron", "mlp_out"];

/** Fill the table of groups. */
export function grid(host, asking) {
  const show = () => {
    const { groups, layers, strengths, ranked } = asking.overview;
    const byName = new Map(groups.map((group) => [group.name, group]));
    const known = strengths.state === "ready";
    const most = Math.max(...groups.map((group) => (known ? Math.abs(group.rise ?? 0) : group.nodes / (group.width || 1))), 1e-12);
    const ground = (group) => {
      const share = (known ? Math.abs(group.rise ?? 0) : group.nodes / (group.width || 1)) / most;
      const tone = known ? (group.rise > 0 ? "plus" : "minus") : "soft";
      return share < 0.01 ? {} : { background: `color-mix(in srgb, var(--${tone}) ${Math.round(8 + 42 * Math.sqrt(share))}%, transparent)` };
    };
    const cell = (group) => {
      if (!group.nodes) return h("td.n.soft", {}, "0");
      const pressed = asking.chosen === group.name || asking.chosen.startsWith(`${group.name}:`);
      const off = asking.off.has(group.name);
      const said = `${place(group.name)}: ${count(group.nodes)} of ${count(group.width)}${known ? `, ${signed(group.rise ?? 0, 3)} nats without` : ""}${off ? ", off" : ""}`;
      return h("td.n", {}, h(off ? "button.cell.off" : "button.cell", { type: "button", style: ground(group), title: said, "aria-label": said, "aria-pressed": String(pressed), data: { key: group.name }, on: { click: () => asking.choose(group.name) } }, count(group.nodes)));
    };
    const row = (layer) => h("tr", {}, h("th", { scope: "row" }, `layer ${layer}`), SITES.map((site) => cell(byName.get(`${layer}.${site}`))));
    const word = (site) => h("th.n", { scope: "col", title: kind(`0.${site}`) }, place(`0.${site}`).split(",")[0]);
    refill(host,
      h("h2", {}, "Where its nodes are"),
      h("p.soft", { role: "status" }, known
        ? `How many nodes are kept. The deeper the ground, the more the loss on ${ranked} pairs would change without them, to first order: blue rises, orange falls.`
        : strengths.state === "failed" ? "How many nodes are kept; the deeper, the larger the share. How strong they are could not be measured."
        : `How many nodes are kept; the deeper, the larger the share. How strong they are is being measured: ${strengths.done} of ${strengths.total || ranked} pairs.`),
      h("div.table", {}, h("table.groups", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), SITES.map(word))), h("tbody", {}, d3.range(layers).map(row),
        h("tr", {}, h("th", { scope: "row" }, "at the end"), cell(byName.get("resid_final")), h("td", { colspan: SITES.length - 1 }, h("span.soft", {}, "final stream")))))));
  };
  const off = ["cut", "chosen", "measured"].map((name) => asking.on(name, show));
  show();
  return () => off.forEach((end) => end());
}

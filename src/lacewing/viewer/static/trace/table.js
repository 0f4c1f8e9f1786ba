/** Traces as tables: all nodes of one, and two beside each other. */

import { poll, send } from "../api.js";
import { h, refill } from "../dom.js";
import { csv, file } from "../save.js";
import { number, place, signed, token } from "../words.js";
import { toggle } from "./card.js";
import { label, over } from "./model.js";

const PAGE = 100;

/** Everything of a trace as a list. */
export function list(host, tracer, side) {
  const { data } = side;
  let shown = PAGE;
  const body = h("div.table");
  const said = (n) => label(n, 60);
  const partner = Boolean(data.partner);
  const rows = data.nodes.map((n) => [n.node, n.token, data.tokens[n.token], n.value, n.effect, ...(partner ? [n.interchange] : []), n.label ?? "", n.label_by ?? ""]);
  const save = h("button.quiet", { type: "button", on: { click: () => csv("trace", ["node", "at", "token", "value", "effect", ...(partner ? ["interchange"] : []), "label", "label by"], rows) } }, "Save as CSV");
  const line = (n) => h("tr", {},
    h("td.mono", {}, h("button.jump", { type: "button", data: { key: `list ${n.node}@${n.token}` }, on: { click: () => tracer.choose(`${n.node}@${n.token}`, tracer.sides.indexOf(side)) } }, n.node)),
    h("td", {}, h("span.tokenchip", {}, token(data.tokens[n.token]))), h("td", {}, said(n) ? h("span.tokenchip", {}, said(n)) : ""),
    h("td.n", {}, number(n.value, 2)), h("td.n", {}, signed(n.effect)), partner ? h("td.n", {}, signed(n.interchange)) : null, h("td", {}, toggle(tracer, [`${n.node}@${n.token}`])));
  const show = () => {
    if (!host.open) return;
    refill(body, h("table", {}, h("thead", {}, h("tr", {}, ["node", "at token", "about", "value", "nats", ...(partner ? ["partner"] : []), ""].map((w, i) => h(i > 2 && w ? "th.n" : "th", { scope: "col" }, w)))), h("tbody", {}, data.nodes.slice(0, shown).map(line))),
      data.nodes.length > shown ? h("button", { type: "button", data: { key: "more" }, on: { click: () => ((shown += PAGE), show()) } }, `More (${shown} of ${data.nodes.length} shown)`) : null);
  };
  const wrong = h("p.error", { role: "alert", hidden: true });
  const graph = h("button.quiet", { type: "button", on: { click: () => attributions(tracer, side, wrong) } }, "Save as a graph for circuit-tracer and Neuronpedia");
  host.replaceChildren(h("summary", {}, "Everything as a list"), h("div.row", {}, save, graph), wrong, body);
  host.addEventListener("toggle", show);
  return tracer.on("held", show);
}

/** The trace as a file that other viewers read. */
async function attributions(tracer, side, wrong) {
  const { signal } = tracer.stop;
  wrong.hidden = true;
  const ask = () => send("POST", ["models", side.model, "trace", "graph"], side.body, signal);
  const seen = (answer) => answer.graph && file("trace.json", "application/json", JSON.stringify(answer.graph));
  try {
    await poll(ask, (answer) => Boolean(answer.graph), seen, signal, 400);
  } catch (error) {
    if (signal.aborted) return;
    wrong.hidden = false;
    wrong.textContent = error.message;
  }
}

/** Two traces: what each carried, side by side. */
export function both(host, tracer) {
  const [a, b] = tracer.sides;
  if (!a?.data || !b?.data) return host.replaceChildren();
  const same = a.model === b.model;
  const aligned = a.data.tokens.length === b.data.tokens.length;
  const name = (n) => (aligned ? `${n.node}@${n.token}` : n.node);
  const sum = (data) => d3.rollup(data.nodes, (list) => d3.sum(list, (n) => n.effect), name);
  const sums = [sum(a.data), sum(b.data)];
  const names = [...new Set([...sums[0].keys(), ...sums[1].keys()])];
  const rows = names.map((id) => [id, sums[0].get(id) ?? 0, sums[1].get(id) ?? 0]);
  rows.sort((one, two) => Math.abs(two[1] - two[2]) - Math.abs(one[1] - one[2]));
  const shared = names.filter((id) => sums[0].has(id) && sums[1].has(id)).length;
  const where = (id) => {
    const [node, at] = id.split("@");
    return [place(node.replace(/\.\d+$/, "")), at === undefined ? "" : token(a.data.tokens[at])];
  };
  const line = ([id, left, right]) => h("tr", {}, h("td.mono", {}, h("button.jump", { type: "button", data: { key: `both ${id}` }, on: { click: () => tracer.choose(id, sums[0].has(id) ? 0 : 1) } }, id)),
    h("td", {}, where(id)[0]), h("td", {}, where(id)[1] ? h("span.tokenchip", {}, where(id)[1]) : ""), h("td.n", {}, signed(left)), h("td.n", {}, signed(right)), h("td.n", {}, signed(right - left)));
  return refill(host, h("h2", {}, "Side by side"),
    h("p.lead", {}, over(a.data), `: ${signed(a.data.difference)} nats on the left, `, b.data.answer === a.data.answer && b.data.rival === a.data.rival ? "" : [over(b.data), " "], `${signed(b.data.difference)} on the right. `,
      same ? `${shared} of ${names.length} nodes carried both; those that differ most stand first${aligned ? "" : ", each over all tokens"}.` : "They belong to two models, so no node of one is a node of the other."),
    same ? h("div.table", {}, h("table", {}, h("thead", {}, h("tr", {}, ["node", "where", "token", "left", "right", "change"].map((w, i) => h(i > 2 ? "th.n" : "th", { scope: "col" }, w)))), h("tbody", {}, rows.slice(0, 20).map(line)))) : null,
    same ? h("button.quiet", { type: "button", "aria-label": "Save as CSV: side by side", on: { click: () => csv("traces", ["node", "left", "right"], rows) } }, "Save as CSV") : null);
}

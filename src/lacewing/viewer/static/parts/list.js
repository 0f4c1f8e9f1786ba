/** The same circuit as a table: for those who do not see the graph, and for copying. */

import { readOnly } from "../api.js";
import { h, refill } from "../dom.js";
import { number, place } from "../words.js";
import { toggle } from "./matters.js";
import { nodeText } from "./names.js";
import { csv } from "../save.js";
import { read, update } from "../state.js";

const PAGE = 100;

/** Fill the list of all nodes and edges. */
export function list(host, session) {
  let kind = read().query.list === "edges" && !session.circuit.latents ? "edges" : "nodes";
  let words = "";
  let shown = PAGE;
  const body = h("div.table");
  const find = h("input", { type: "search", id: "list-find", placeholder: "part of a name or token" });
  const pick = (key, text) => h("button", { type: "button", data: { kind: key }, "aria-pressed": String(kind === key), on: { click: () => ((kind = key), (shown = PAGE), keep(), show()) } }, text);
  const keep = () => update({ list: host.open ? kind : "" });
  const picks = [pick("nodes", "Nodes"), pick("edges", "Edges")];
  const save = h("button.quiet", { type: "button", on: { click: () => csv(`${session.id}-${kind}`, head(), rows().map((r) => r.cells)) } }, "Save as CSV");
  host.append(
    h("summary", {}, "Everything as a list"),
    h("div.row", {}, session.circuit.latents ? null : h("span", { role: "group", "aria-label": "what to list" }, picks), h("label", { for: "list-find" }, "Find"), find, save),
    body);
  find.addEventListener("input", () => ((words = find.value.toLowerCase()), (shown = PAGE), show()));
  host.open = Boolean(read().query.list);
  host.addEventListener("toggle", () => (keep(), show()));
  const off = ["effects", "cut", "graph"].map((name) => session.on(name, () => host.open && show()));

  const proven = Boolean(session.circuit.certificate);
  const head = () => [...(kind === "nodes" ? ["node", "where", "about", "bias", "effect"] : ["edge", "from", "to", "weight", "effect"]), ...(proven ? ["slack"] : [])];

  function rows() {
    const { graph } = session;
    const made = kind === "nodes"
      ? graph.nodes.filter((n) => n.text === undefined).map((n) => ({ id: n.id, node: n, cells: [n.id, place(n.key), [n.label, n.meaning?.good ? n.meaning.label : ""].filter(Boolean).join("; "), n.bias ?? "", session.effect(n.id) ?? "", ...(proven ? [n.slack ?? ""] : [])] }))
      : [...graph.edgeIndex.entries()].map(([id, i]) => {
          const [from, to] = [graph.nodes[graph.links.source[i]], graph.nodes[graph.links.destination[i]]];
          return { id, from, to, cells: [id, from.id, to.id, graph.links.weight[i], session.effect(id) ?? "", ...(proven ? [session.circuit.edges.slack?.[i] ?? ""] : [])] };
        });
    const kept = words ? made.filter((r) => r.cells.slice(0, 3).join(" ").toLowerCase().includes(words)) : made;
    return kept.sort((a, b) => (b.cells[4] || 0) - (a.cells[4] || 0));
  }

  function show() {
    picks.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.kind === kind)));
    if (!host.open) return;
    const all = rows();
    refill(body,
      h("table", {},
        h("thead", {}, h("tr", {}, head().map((name, i) => h(i > 2 ? "th.n" : "th", { scope: "col" }, name)), readOnly ? null : h("td"))),
        h("tbody", {}, all.slice(0, shown).map(line))),
      all.length > shown ? h("button", { type: "button", data: { key: "more" }, on: { click: () => ((shown += 5 * PAGE), show()) } }, `More (${shown} of ${all.length} shown)`) : null);
  }

  function line(row) {
    const choose = (id, content) => h("button.jump", { type: "button", data: { key: `list ${row.id} ${id}` }, on: { click: () => session.choose(id) } }, content);
    const [id, second, third, ...numbers] = row.cells;
    const middle = kind === "nodes"
      ? [h("td", {}, second), h("td", {}, third ? h("span.tokenchip", {}, third) : "")]
      : [h("td", {}, choose(row.from.id, nodeText(row.from))), h("td", {}, choose(row.to.id, nodeText(row.to)))];
    return h("tr", {}, h("td.mono", {}, choose(id, id)), middle,
      numbers.map((value) => h("td.n", {}, value === "" ? "–" : number(value))),
      readOnly ? null : h("td", {}, toggle(session, id)));
  }

  return () => off.forEach((stop) => stop());
}


/** The graph without a mouse: arrows walk along it, Enter chooses, Delete switches off. */

import { readOnly } from "../api.js";
import { say } from "../dom.js";
import { number } from "../words.js";
import { name } from "./model.js";

/** Listen to keys on a view's canvas. */
export function keys(view, session) {
  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => walk(-1), ArrowRight: () => walk(1),
      ArrowUp: () => climb("out", "destination"), ArrowDown: () => climb("into", "source"),
      Enter: choose, " ": choose, Delete: toggle, x: toggle, Escape: away,
      "+": () => view.scale(1.5), "=": () => view.scale(1.5), "-": () => view.scale(1 / 1.5), 0: () => view.scale(0),
      "/": () => document.getElementById("find")?.focus(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };

  const here = () => view.found.byId.get(view.state.cursor ?? session.chosen);

  function go(node) {
    if (!node) return;
    view.set({ cursor: node.id });
    view.reveal(node);
    const effect = session.effect(node.id);
    const off = session.cut.isOff(node.id) ? ", off" : "";
    say(`${name(node)}${node.label ? `, ${node.label}` : ""}${off}${effect === undefined ? "" : `, without it the loss changes by ${number(effect)}`}`);
  }

  /** Along the row. */
  function walk(by) {
    const node = here();
    if (!node) return go(view.found.rows[0].nodes[0]);
    const row = view.found.rows.find((r) => r.nodes.includes(node)).nodes;
    return go(row[(row.indexOf(node) + by + row.length) % row.length]);
  }

  /** Along the strongest link up or down; without any, to the nearest node of the next row. */
  function climb(side, end) {
    const node = here();
    if (!node) return go(view.found.rows[0].nodes[0]);
    const { links, around, rows } = view.found;
    const own = around[side][node.index];
    if (own.length) {
      const best = own.reduce((a, b) => (Math.abs(links.weight[b]) > Math.abs(links.weight[a]) ? b : a));
      return go(view.found.nodes[links[end][best]]);
    }
    const level = rows.findIndex((r) => r.nodes.includes(node)) + (side === "out" ? 1 : -1);
    const near = rows[level]?.nodes;
    const far = (n) => Math.abs(view.layout.x[n.index] - view.layout.x[node.index]);
    return go(near?.reduce((a, b) => (far(b) < far(a) ? b : a)));
  }

  function choose() {
    const node = here();
    if (node) session.choose(node.id);
  }

  function toggle() {
    const node = here();
    if (node && node.text === undefined && !readOnly) {
      const off = session.cut.toggle(...(node.members ?? [node.id]));
      say(`${node.id} ${off ? "switched off" : "switched on"}`);
    }
  }

  function away() {
    view.set({ cursor: null });
    session.choose(null);
  }

  view.canvas.addEventListener("keydown", press);
  view.canvas.addEventListener("blur", () => view.set({ cursor: null }));
  return () => view.canvas.removeEventListener("keydown", press);
}

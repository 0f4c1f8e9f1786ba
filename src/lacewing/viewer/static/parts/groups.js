/** Supernodes: propose, name, save, open and close groups of nodes. */

import { get, readOnly } from "../api.js";
import { h, refill } from "../dom.js";
import { read, update } from "../state.js";
import { menu } from "./menu.js";

/** The button with its list of groups. `redraw` is called when the graph must be laid out anew. */
export function groups(session, redraw) {
  const body = h("div.menu");
  const box = menu("Groups", body);
  let proposed = null;
  let error = "";
  const open = () => new Set((read().query.open ?? "").split(",").filter(Boolean));

  const change = (call) => async () => {
    try {
      error = "";
      await call();
    } catch (problem) {
      error = problem.message;
    }
    show();
    redraw();
  };

  function show() {
    const list = session.notes.supernodes;
    refill(body,
      h("p.soft", {}, "A group of nodes is drawn as one. Names are yours; they are saved beside the circuit."),
      list.length ? h("ul", {}, list.map(entry)) : null,
      readOnly ? null : h("div.row", {},
        h("button", { type: "button", data: { key: "propose" }, on: { click: propose } }, "Propose groups"),
        session.chosen && !session.chosen.includes("->") && session.graph.byId.get(session.chosen)?.text === undefined ? adding(list) : null),
      error ? h("p.error", { role: "alert" }, error) : null,
      proposed ? h("ul", {}, proposed.map(suggestion)) : null);
  }

  function entry(group) {
    const isOpen = open().has(group.id);
    const flip = () => {
      const set = open();
      set.has(group.id) ? set.delete(group.id) : set.add(group.id);
      update({ open: [...set].join(",") });
    };
    const field = h("input", { type: "text", value: group.name, maxlength: 200, "aria-label": `name of the group ${group.name}`, disabled: readOnly });
    field.addEventListener("change", change(() => session.keep("supernodes", { id: group.id, name: field.value, members: group.members })));
    return h("li.row", {}, field, h("small", {}, `${group.members.length} nodes`),
      h("button.quiet", { type: "button", "aria-pressed": String(!isOpen), data: { key: `flip ${group.id}` }, on: { click: change(flip) } }, isOpen ? "Close" : "Open"),
      readOnly ? null : h("button.quiet", { type: "button", "aria-label": `remove the group ${group.name}`, on: { click: change(() => session.drop("supernodes", group.id)) } }, "✕"));
  }

  async function propose() {
    try {
      proposed = (await get(["circuits", session.id, "proposal"])).supernodes;
      error = proposed.length ? "" : "Nothing to group: each node stands for itself.";
    } catch (problem) {
      error = problem.message;
    }
    show();
  }

  function suggestion(group) {
    const take = change(async () => {
      await session.keep("supernodes", { id: crypto.randomUUID?.() ?? `s${Date.now()}`, name: group.name, members: group.members });
      proposed = proposed.filter((other) => other !== group);
    });
    return h("li", {}, h("div.row", {}, h("b", {}, group.name), h("small", {}, `${group.members.length} nodes`), h("button", { type: "button", on: { click: take } }, "Group")), group.why ? h("p.soft", {}, group.why) : null);
  }

  /** Put the chosen node into a group, or begin one with it. */
  function adding(list) {
    const pick = h("select", { "aria-label": "put the chosen node into a group" },
      h("option", { value: "" }, "Put the chosen node into…"), list.map((g) => h("option", { value: g.id }, g.name)), h("option", { value: "new" }, "a new group"));
    pick.addEventListener("change", change(() => {
      const group = list.find((g) => g.id === pick.value) ?? { id: crypto.randomUUID?.() ?? `s${Date.now()}`, name: "new group", members: [] };
      if (pick.value === "new") update({ open: [...open(), group.id].join(",") });
      return session.keep("supernodes", { id: group.id, name: group.name, members: [...new Set([...group.members, session.chosen])] });
    }));
    return pick;
  }

  box.addEventListener("toggle", () => box.open && show());
  return { element: box, stop: session.on("chosen", () => box.open && show()) };
}

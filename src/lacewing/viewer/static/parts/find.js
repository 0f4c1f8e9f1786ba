/** Finding a node by its name, by the token it is about, or by what it means. */

import { h, quietly, say } from "../dom.js";
import { name } from "../graph/model.js";
import { explained, spoken } from "./meaning.js";

/** The search field; Enter chooses the next one found. */
export function find(session, view) {
  const field = h("input", { type: "search", id: "find", placeholder: explained(session.circuit) ? "name or meaning" : "node or token", autocomplete: "off", spellcheck: "false" });
  let next = 0;
  const matching = () => {
    const words = field.value.trim().toLowerCase();
    if (!words) return [];
    return view.found.nodes.filter((n) => `${n.id} ${n.label} ${n.text ?? ""} ${name(n)} ${spoken(n)}`.toLowerCase().includes(words));
  };
  const said = h("small", { id: "found" });
  const look = quietly(120, () => {
    next = 0;
    const found = matching();
    said.textContent = field.value.trim() ? `${found.length} found` : "";
    view.set({ cursor: found[0]?.id ?? null });
    if (found[0]) view.reveal(found[0]);
    if (field.value.trim()) say(`${found.length} found`);
  });
  field.addEventListener("input", look);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const found = matching();
    if (!found.length) return;
    view.set({ cursor: null });
    session.choose(found[next % found.length].id);
    next += 1;
  });
  field.addEventListener("blur", () => view.set({ cursor: null }));
  return h("div.find", {}, h("label.unseen", { for: "find" }, "Find"), field, said);
}

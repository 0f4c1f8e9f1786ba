/** What people wrote about a node or an edge; saved while they type. */

import { readOnly } from "../api.js";
import { fill, h, quietly } from "../dom.js";

/** The note of one node or edge. */
export function notes(host, session, on) {
  const found = session.notes.annotations.find((note) => note.on === on);
  if (readOnly) {
    if (found) fill(host, h("h3", {}, "Note"), h("p", {}, found.text));
    return () => {};
  }
  const id = found?.id ?? crypto.randomUUID?.() ?? `n${Date.now()}${Math.floor(1e6 * Math.random())}`;
  const box = h("textarea", { id: "note", rows: 2, maxlength: 10000, placeholder: "What do you think it does?" });
  box.value = found?.text ?? "";
  const said = h("small", { role: "status" });
  let kept = box.value;
  const save = async () => {
    if (box.value === kept) return;
    const text = box.value;
    kept = text;
    said.textContent = "saving…";
    try {
      if (text) await session.keep("annotations", { id, on, text });
      else await session.drop("annotations", id);
      said.textContent = "saved";
    } catch (error) {
      kept = null; // so that the next key tries again
      said.textContent = error.message;
    }
  };
  const soon = quietly(300, save);
  box.addEventListener("input", () => {
    said.textContent = "";
    soon();
  });
  box.addEventListener("blur", save);
  addEventListener("pagehide", save, { signal: session.stop.signal });
  fill(host, h("h3", {}, h("label", { for: "note" }, on === "circuit" ? "Your note on the circuit" : "Your note")), box, said);
  return save;
}

/** A slider for a node's value: what it is set to at every token. */

import { get, poll, readOnly } from "../api.js";
import { h, put } from "../dom.js";
import { number } from "../words.js";

/** Add the slider of a node; its range is what the node does on the task's prompts. */
export function steer(host, session, node) {
  if (readOnly) return () => {};
  const id = `set-${node.id}`;
  const shown = h("output", { for: id });
  const slider = h("input", { type: "range", id, min: -4, max: 4, step: 0.01, "aria-label": `value of ${node.id}` });
  const free = h("button.quiet", { type: "button", on: { click: () => session.cut.steer(node.id, null) } }, "Let it run");
  const show = () => {
    const value = session.cut.now.values[node.id];
    slider.value = value ?? node.mean ?? 0;
    shown.textContent = value === undefined ? "runs freely" : `set to ${number(value, 2)}`;
    free.disabled = value === undefined;
  };
  slider.addEventListener("input", () => session.cut.steer(node.id, Number(slider.value)));
  slider.addEventListener("change", () => session.cut.settle());
  put(host, h("div.steer", {}, h("div.row", {}, h("label", { for: id }, "Set its value"), shown, free), slider));
  const stop = new AbortController();
  const ask = () => get(["circuits", session.id, "activations", node.id], { text: "task" });
  const range = (found) => {
    if (found.state === "computing") return;
    const reach = Math.max(Math.abs(found.minimum), Math.abs(found.maximum), 0.1) * 1.5;
    slider.min = -reach;
    slider.max = reach;
    slider.step = reach / 200;
    show();
  };
  poll(ask, (found) => found.state !== "computing", range, stop.signal).catch(() => {}); // then -4 to 4 stays
  show();
  const off = session.on("cut", show);
  return () => {
    stop.abort();
    off();
  };
}

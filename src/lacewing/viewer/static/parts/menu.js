/** Menus that open over the page: one at a time, and none is left open behind another. */

import { h } from "../dom.js";

const open = () => document.querySelectorAll("details.groups[open]");

/**
 * A button with a menu.
 *
 * @param {string} words What the button says.
 * @param {Element} body What the menu holds.
 * @param {string} [kind] "upward" for one that opens upward.
 */
export function menu(words, body, kind = "") {
  const box = h("details.groups", {}, h("summary.button", {}, words), body);
  if (kind) box.classList.add(kind);
  box.addEventListener("toggle", () => box.open && open().forEach((other) => other !== box && other.removeAttribute("open")));
  return box;
}

addEventListener("pointerdown", (event) => {
  open().forEach((box) => box.contains(event.target) || box.removeAttribute("open"));
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  open().forEach((box) => {
    box.removeAttribute("open");
    if (box.contains(document.activeElement)) box.querySelector("summary").focus();
  });
});

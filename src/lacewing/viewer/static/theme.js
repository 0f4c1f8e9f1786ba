/** Light and dark: the reader's setting, until the button says otherwise. */

import { h } from "./dom.js";

const KEY = "lacewing-theme";
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage may be forbidden; the theme is then chosen anew each time
  }
}

function set(theme) {
  root.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // the same
  }
  listeners.forEach((call) => call());
}

const saved = stored();
if (saved === "light" || saved === "dark") root.dataset.theme = saved;
dark.addEventListener("change", () => listeners.forEach((call) => call()));

function current() {
  return root.dataset.theme ?? (dark.matches ? "dark" : "light");
}

/** Call back when colours change. */
export function onTheme(call) {
  listeners.add(call);
  return () => listeners.delete(call);
}

/** The button that switches. */
export function button() {
  const made = h("button.quiet", { id: "theme", type: "button" });
  const name = () => (made.textContent = current() === "dark" ? "Light" : "Dark");
  made.setAttribute("aria-label", "switch between light and dark");
  made.addEventListener("click", () => {
    set(current() === "dark" ? "light" : "dark");
    name();
  });
  name();
  return made;
}

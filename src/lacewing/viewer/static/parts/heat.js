/** One piece of text with every token coloured by a value. */

import { h } from "../dom.js";
import { number, signed } from "../words.js";

const AROUND = 34;
/** Tokens shown to either side of the one that an example was chosen for. */

/** Which tokens of an example are shown. */
export function shownPart({ tokens, at }, around = AROUND) {
  return { start: Math.max(at - around, 0), end: Math.min(at + around / 2, tokens.length) };
}

/** A line of text; `reach` is the value of the deepest colour. */
export function heat(example, reach, around = AROUND) {
  const { tokens, values, said, at } = example;
  const { start, end } = shownPart(example, around);
  return h("li", {},
    h("span.n", { title: `value at the marked token` }, signed(values[at] ?? 0)),
    h("pre.heat", {}, start ? "…" : "", tokens.slice(start, end).map((text, i) => piece(text, values[start + i], reach, start + i === at, said?.[start + i])), end < tokens.length ? "…" : ""),
    h("small", {}, [example.source, example.member].filter(Boolean).join(", ")));
}

/** A token on a ground of its value; deeper is stronger. Underlined where it is said to fire (1, or -1 dotted). */
export function piece(text, value, reach, marked = false, said = 0) {
  const strength = Math.min(Math.abs(value ?? 0) / reach, 1);
  const style = strength < 0.01 ? {} : { background: `color-mix(in srgb, var(--${value > 0 ? "plus" : "minus"}) ${Math.round(12 + 38 * strength)}%, transparent)` };
  const kinds = ["span", marked ? "peak" : "", said === 1 ? "said" : said === -1 ? "unsaid" : ""].filter(Boolean);
  return h(kinds.join("."), { style, title: `${JSON.stringify(text)} ${number(value ?? 0)}${said === 1 ? ", said to fire" : said === -1 ? ", said to fire the other way" : ""}` }, text.replace(/\n/g, "↵\n"));
}

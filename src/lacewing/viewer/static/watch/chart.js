/**
 * A line over the looks of a monitor. Its words stand beside it as text, so that the picture may be
 * stretched to any width; arrow keys or the pointer read single looks.
 */

import { h, s } from "../dom.js";
import { count } from "../words.js";

const WIDE = 1000;
const HIGH = 100;

/**
 * Make a chart.
 *
 * @param {object} given `name`, what it shows, and `about`, in more words; `of`, the value of a look or null; `height`, from a
 *   value to 0 to 1; `read`, a value in words; `lines`, [value, class] of lines across; `rules`,
 *   [value, words] beside it; `tall`, for one that stands alone.
 */
export function chart({ name, about = null, of, height, read, lines = [], rules = [], tall = false }) {
  const y = (value) => HIGH * (1 - Math.min(1, Math.max(0, height(value))));
  const now = h("output", {}, "–");
  const line = s("polyline");
  const marks = s("g");
  const cursor = s("line", { class: "cursor", y1: 0, y2: HIGH, visibility: "hidden" });
  const across = lines.map(([value, kind]) => s("line", { class: kind, x1: 0, x2: WIDE, y1: y(value), y2: y(value) }));
  const picture = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" }, across, marks, line, cursor);
  const plot = h("div.plot", { tabindex: 0, role: "img", "aria-label": name, on: { keydown: keys, blur: leave, pointermove: over, pointerleave: leave } },
    picture, rules.map(([value, words], index) => h(`span.rule${index ? "" : ".top"}`, { style: { top: `${y(value)}%` } }, words)));
  const [from, to] = [h("span"), h("span")];
  const element = h(`figure.chart${tall ? ".tall" : ""}`, {}, h("figcaption", {}, h("b", { title: about }, name), now), plot, tall ? h("div.span", {}, from, to) : null);
  let looks = [];
  let at = null;

  const x = (index) => (looks.length < 2 ? WIDE / 2 : (WIDE * index) / (looks.length - 1));

  function tell() {
    const index = at ?? looks.length - 1;
    const look = looks[index];
    const value = look ? of(look) : null;
    const words = value === null || value === undefined ? "no place" : read(value);
    now.textContent = !look ? "no look yet" : at === null ? words : `${words}, at token ${count(look.tokens)}`;
    plot.setAttribute("aria-label", `${name}: ${now.textContent}`);
    cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) ["x1", "x2"].forEach((end) => cursor.setAttribute(end, x(at)));
  }

  function keys(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") leave();
    if (!(event.key in steps) || !looks.length) return;
    event.preventDefault();
    at = Math.min(looks.length - 1, Math.max(0, (at ?? looks.length - 1) + steps[event.key]));
    tell();
  }

  function over(event) {
    const box = plot.getBoundingClientRect();
    if (!looks.length) return;
    at = Math.round(((event.clientX - box.left) / box.width) * (looks.length - 1));
    at = Math.min(looks.length - 1, Math.max(0, at));
    tell();
  }

  function leave() {
    at = null;
    tell();
  }

  /** Draw the looks there are, and where alarms were raised. */
  function show(all, alarms) {
    if (at !== null && all.length >= looks.length) at = Math.max(0, at - shifted(looks, all));
    looks = all;
    // A look without a place has no value: the line goes on from the one before.
    const points = looks.flatMap((look, index) => {
      const value = of(look);
      return value === null || value === undefined ? [] : [[x(index), y(value)]];
    });
    if (points.length === 1) points.push([WIDE, points[0][1]]);
    line.setAttribute("points", points.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" "));
    const rung = alarms.map((alarm) => looks.findIndex((look) => look.tokens >= alarm.at)).filter((index) => index >= 0);
    marks.replaceChildren(...[...new Set(rung)].map((index) => s("line", { class: "rung", x1: x(index), x2: x(index), y1: 0, y2: HIGH })));
    if (looks.length) [from.textContent, to.textContent] = [`token ${count(looks[0].tokens)}`, `token ${count(looks.at(-1).tokens)}`];
    tell();
  }

  tell();
  return { element, show };
}

/** How many of the oldest looks are gone since. */
function shifted(before, after) {
  return before.length && after.length ? Math.max(0, after[0].number - before[0].number) : 0;
}

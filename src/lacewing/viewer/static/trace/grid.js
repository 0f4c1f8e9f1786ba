/**
 * The grid on the screen: an SVG that scrolls sideways, with the names of its rows standing still.
 *
 * One item holds the keyboard; arrows walk, Enter chooses, P pins, Delete switches off.
 */

import { fill, h, s, say } from "../dom.js";
import { signed, token } from "../words.js";
import { name } from "./model.js";

const NARROW = 620;
const GAP = 17;
/** Between two items of a cell, in pixels. */
const EMPTY = 15;
/** A column in which nothing is drawn. */
const PER_LINE = 6;

/**
 * Draw a graph.
 *
 * @param {Element} host Where.
 * @param {object} found The graph.
 * @param {object} state {chosen, pins, off, values, matching, room}.
 * @param {object} hooks {choose, toggle, pin, hover, find}: what the reader does.
 */
export function grid(host, found, state, hooks) {
  const frame = host.querySelector(".gridscroll");
  const left = frame?.scrollLeft;
  const held = host.contains(document.activeElement) ? document.activeElement.dataset?.key : null;
  const spot = layout(found, state.room);
  const most = d3.max(found.items, (one) => (one.site === "answer" ? 0 : Math.abs(one.effect ?? 0))) || 1;
  const near = around(found, state.chosen);
  const svg = s("svg", { width: spot.width, height: spot.height, role: "group", "aria-label": "the trace: tokens from left to right, the model from bottom to top" },
    bands(found, spot),
    s("g", { class: "links", "aria-hidden": "true" }, drawn(found, near).map((link) => path(link, spot, found, near))),
    s("g", {}, found.items.map((one) => mark(one, found, spot, { ...state, most, near }, hooks))));
  const scroll = h("div.gridscroll", { tabindex: "-1" }, svg);
  fill(host, names(found, spot), scroll);
  scroll.scrollLeft = left ?? scroll.scrollWidth; // the answer stands at the right end
  roving(svg, found, spot, hooks, held ?? state.chosen, Boolean(held));
  return spot;
}

/** Where everything stands, in pixels. */
function layout(found, room) {
  const { tokens } = found.data;
  const narrow = room < NARROW;
  const left = narrow ? 86 : 132;
  const cells = d3.rollup(found.items, (list) => list, (one) => one.key, (one) => one.token);
  const widths = tokens.map((_, at) => {
    const most = d3.max(found.rows, (row) => (row.key === "token" ? 0 : (cells.get(row.key)?.get(at)?.length ?? 0))) ?? 0;
    return most ? Math.min(most, PER_LINE) * GAP + 10 : EMPTY;
  });
  const chips = tokens.map((text) => token(text, 14).length * 7.4 + 16);
  const free = room - left - 34;
  const flat = d3.sum(chips, (wide, at) => Math.max(wide, widths[at])) <= free; // tokens fit as they are written
  if (flat) chips.forEach((wide, at) => (widths[at] = Math.max(wide, widths[at])));
  const spare = Math.max(free - d3.sum(widths), 0);
  const full = widths.filter((w) => w > EMPTY).length || 1;
  const stretched = widths.map((w) => w + (w > EMPTY ? Math.min(spare / full, 90) : 0));
  const x = [];
  let at = 8;
  for (const wide of stretched) {
    x.push(at + wide / 2);
    at += wide;
  }
  const longest = d3.max(tokens, (text) => token(text, 16).length) * 7.2 + 14;
  const rows = new Map();
  let y = 8;
  for (const row of found.rows) {
    const lines = Math.ceil((d3.max([...(cells.get(row.key)?.values() ?? [])], (list) => list.length) ?? 1) / PER_LINE);
    const high = row.key === "token" ? (flat ? 34 : longest) : Math.max(34, lines * GAP + 17);
    rows.set(row.key, { top: y, height: high, middle: y + high / 2 });
    y += high;
  }
  const place = new Map();
  for (const [key, byToken] of cells) {
    for (const [column, list] of byToken) {
      const ordered = d3.sort(list, (one) => -Math.abs(one.effect ?? 0));
      const lines = d3.groups(ordered, (_, i) => Math.floor(ordered.indexOf(_) / PER_LINE)).map(([, line]) => line);
      lines.forEach((line, i) => line.forEach((one, j) => place.set(one.id, {
        x: x[column] + (j - (line.length - 1) / 2) * GAP,
        y: key === "token" ? rows.get(key).top + (flat ? 17 : 4) : rows.get(key).middle + (i - (lines.length - 1) / 2) * GAP,
      })));
    }
  }
  return { x, rows, place, flat, left, narrow, width: Math.max(at + 34, 60), height: y + 6, columns: stretched };
}

function around(found, chosen) {
  const one = found.home.get(chosen) ?? found.byId.get(chosen);
  if (!one) return null;
  return { one, links: new Set([...one.into, ...one.out]), items: new Set([one, ...one.into.map((l) => l.from), ...one.out.map((l) => l.to)]) };
}

/** The links that are drawn: the strongest, and all that touch what is chosen. */
function drawn(found, near) {
  const strong = found.links.slice(0, Math.max(60, 3 * found.items.length));
  return [...new Set([...strong, ...(near?.links ?? [])])].reverse();
}

function path(link, spot, found, near) {
  const [a, b] = [spot.place.get(link.from.id), spot.place.get(link.to.id)];
  const share = Math.sqrt(Math.abs(link.weight) / Math.abs(found.links[0].weight));
  const lit = near?.links.has(link);
  const bend = Math.max(Math.abs(a.y - b.y) * 0.5, 14);
  const opacity = near ? (lit ? 0.95 : 0.06) : 0.12 + 0.5 * share;
  return s("path", {
    d: `M${a.x},${a.y}C${a.x},${a.y - bend} ${b.x},${b.y + bend} ${b.x},${b.y}`,
    class: link.weight > 0 ? "plus" : "minus", "stroke-width": (0.8 + 3.2 * share).toFixed(2), "stroke-opacity": opacity.toFixed(2),
  });
}

/** Every second layer on a ground of its own, and lines under the rows. */
function bands(found, spot) {
  const layers = d3.groups(found.rows.filter((row) => row.code), (row) => row.key.split(".")[0]);
  return s("g", { "aria-hidden": "true" },
    layers.filter((_, i) => i % 2 === 0).map(([, rows]) => {
      const [first, last] = [spot.rows.get(rows[0].key), spot.rows.get(rows.at(-1).key)];
      return s("rect", { class: "band", x: 0, y: first.top, width: spot.width, height: last.top + last.height - first.top });
    }));
}

function mark(one, found, spot, state, hooks) {
  const at = spot.place.get(one.id);
  const off = (one.parts ?? [one]).every((n) => state.off.has(n.id) || state.off.has(n.node));
  const held = (one.parts ?? [one]).some((n) => n.id in state.values || n.node in state.values);
  const chosen = state.near?.one === one;
  const classes = ["mark", one.site === "token" || one.site === "answer" ? "word" : (one.effect ?? 0) >= 0 ? "plus" : "minus",
    chosen ? "chosen" : "", off ? "off" : "", held ? "held" : "", (one.members ?? [one.id]).some((id) => state.pins.includes(id)) ? "pinned" : "",
    (state.near && !state.near.items.has(one)) || (state.matching && !state.matching.has(one)) ? "faded" : ""];
  const effect = one.effect === null || one.effect === undefined ? "" : `, ${signed(one.effect)} nats`;
  const act = {
    click: () => hooks.choose(one.id),
    pointerenter: () => hooks.hover(one, at.x, at.y),
    pointerleave: () => hooks.hover(null),
    focus: () => hooks.hover(one, at.x, at.y),
    blur: () => hooks.hover(null),
  };
  return s("g", { class: classes.filter(Boolean).join(" "), role: "button", tabindex: "-1", "aria-pressed": String(chosen), "aria-label": `${name(one, found.data)}${effect}${off ? ", off" : ""}`, data: { key: one.id }, on: act },
    shape(one, at, spot, state.most));
}

function shape(one, at, spot, most) {
  if (one.site === "token") return word(one, at, spot);
  if (one.site === "answer") {
    const text = token(one.text, 12);
    const wide = text.length * 7.6 + 14;
    return [s("rect", { class: "node", x: at.x - wide / 2, y: at.y - 12, width: wide, height: 24, rx: 7 }), s("text", { x: at.x, y: at.y + 4, "text-anchor": "middle" }, text)];
  }
  const radius = 3 + 5 * Math.sqrt(Math.abs(one.effect) / most);
  const round = one.parts ? s("rect", { class: "node", x: at.x - radius, y: at.y - radius, width: 2 * radius, height: 2 * radius, rx: 2 }) : s("circle", { class: "node", cx: at.x, cy: at.y, r: radius });
  // A finger needs more room than the disc has.
  return [s("circle", { class: "reach", cx: at.x, cy: at.y, r: GAP / 2 + 2 }), round, s("path", { class: "cross", d: `M${at.x - 4},${at.y - 4}l8,8m0,-8l-8,8` }), s("circle", { class: "ring", cx: at.x, cy: at.y, r: radius + 3.5 })];
}

/** A token, as it is written, or where there are many from bottom to top. */
function word(one, at, spot) {
  const text = token(one.text, spot.flat ? 14 : 16);
  const long = text.length * 7.3 + 8;
  if (spot.flat) return [s("rect", { class: "node", x: at.x - long / 2, y: at.y - 11, width: long, height: 22, rx: 6 }), s("text", { x: at.x, y: at.y + 4, "text-anchor": "middle" }, text)];
  const wide = Math.min(spot.columns[one.token] - 1, 19);
  return [s("rect", { class: "node", x: at.x - wide / 2, y: at.y, width: wide, height: long, rx: 4 }), s("text", { transform: `translate(${at.x + 4},${at.y + long - 4}) rotate(-90)` }, text)];
}

function names(found, spot) {
  return h("div.gridnames", { style: { width: `${spot.left}px` }, "aria-hidden": "true" },
    found.rows.map((row) => {
      const { top, height } = spot.rows.get(row.key);
      const short = spot.narrow && row.code ? row.code : row.title;
      return h("div", { style: { top: `${top}px`, height: `${row.key === "token" ? Math.min(height, 34) : height}px` } }, h(spot.narrow && row.code ? "span.code" : "span", {}, short), !spot.narrow && row.code ? h("span.code", {}, row.code) : null);
    }));
}

/** One item is in the order of the Tab key; arrows move on. */
function roving(svg, found, spot, hooks, start, again) {
  const marks = new Map([...svg.querySelectorAll(".mark")].map((element) => [element.dataset.key, element]));
  const order = found.rows.flatMap((row) => row.items);
  const first = found.home.get(start) ?? found.byId.get(start) ?? order.find((one) => one.site !== "answer" && one.site !== "token") ?? order[0];
  let here = first;
  marks.get(here.id)?.setAttribute("tabindex", "0");
  if (again) marks.get(here.id)?.focus({ preventScroll: true });

  const go = (one) => {
    if (!one || !marks.has(one.id)) return;
    marks.get(here.id)?.setAttribute("tabindex", "-1");
    here = one;
    const element = marks.get(one.id);
    element.setAttribute("tabindex", "0");
    element.focus();
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    say(element.getAttribute("aria-label"));
  };
  const beside = (by) => {
    const row = found.rows.find((r) => r.items.includes(here)).items;
    const sorted = d3.sort(row, (one) => spot.place.get(one.id).x, (one) => spot.place.get(one.id).y);
    go(sorted[(sorted.indexOf(here) + by + sorted.length) % sorted.length]);
  };
  const climb = (links, end, by) => {
    if (links.length) return go(links[0][end]);
    const at = found.rows.findIndex((r) => r.items.includes(here)) + by;
    const far = (one) => Math.abs(spot.place.get(one.id).x - spot.place.get(here.id).x);
    return go(d3.least(found.rows[at]?.items ?? [], far));
  };
  svg.addEventListener("focusin", (event) => {
    const one = found.byId.get(event.target.dataset?.key);
    if (!one || one === here) return;
    marks.get(here.id)?.setAttribute("tabindex", "-1");
    here = one;
    event.target.setAttribute("tabindex", "0");
  });
  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => beside(-1), ArrowRight: () => beside(1),
      ArrowUp: () => climb(here.out, "to", -1), ArrowDown: () => climb(here.into, "from", 1),
      Enter: () => hooks.choose(here.id), " ": () => hooks.choose(here.id),
      Delete: () => hooks.toggle(here), x: () => hooks.toggle(here), p: () => hooks.pin(here),
      Escape: () => hooks.choose(null), "/": hooks.find,
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

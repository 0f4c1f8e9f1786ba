/**
 * The graph on the screen: a canvas that pans, zooms, and answers to pointer and keys.
 *
 * It draws only when something changed. What it shows is set from outside by `set`; what the reader
 * does comes back through `hooks`: hover(node, link, x, y), choose(id), toggle(id), moved(view).
 */

import { h } from "../dom.js";
import { linkAt, nodeAt } from "./hit.js";
import { place } from "./layout.js";
import { isOff } from "./model.js";
import { bundles, colours, strengths } from "./paint.js";
import { draw } from "./scene.js";
import { Sheet } from "./sheet.js";
import { visible } from "./visible.js";

const SHARP_AFTER = 90;

export class GraphView {
  constructor(host, hooks) {
    this.hooks = hooks;
    this.canvas = h("canvas", { tabindex: "0", role: "application", "aria-roledescription": "graph" });
    host.append(this.canvas);
    this.context = this.canvas.getContext("2d");
    this.sheet = new Sheet();
    this.view = { k: 1, x: 0, y: 0 };
    this.state = { chosen: null, cursor: null, hover: null, off: new Set(), values: {}, effects: null };
    this.show = Infinity;
    this.measure = "weight";
    this.palette = colours();
    this.zoom = d3
      .zoom()
      .filter(wanted)
      .on("zoom", (event) => this.#zoomed(event.transform))
      .on("end", () => hooks.moved?.(this.#relative()));
    d3.select(this.canvas).call(this.zoom).on("dblclick.zoom", null);
    this.watch = new ResizeObserver(() => this.#resize());
    this.watch.observe(host);
    this.#listen();
  }

  /** Show a graph; the view is what the address said, or everything. */
  open(found, relative = null) {
    this.found = found;
    this.start = relative;
    this.sizes = new Float32Array(found.nodes.length);
    this.#resize(true);
  }

  /** Change some of what is shown: chosen, cursor, off, values, effects. */
  set(changes) {
    const before = this.state;
    this.state = { ...before, ...changes };
    const links = before.off !== this.state.off || (before.effects !== this.state.effects && this.measure === "effect");
    if (links) this.#relink();
    this.#ask();
  }

  /** How many links to show, and by what they are measured. */
  limit(show, measure) {
    [this.show, this.measure] = [show, measure];
    this.#relink();
  }

  /** Read the theme's colours again. */
  repaint() {
    this.palette = colours();
    this.#relink();
  }

  /** Zoom by a factor around the middle, or with 0 show everything. */
  scale(factor) {
    const to = d3.select(this.canvas);
    if (factor) to.call(this.zoom.scaleBy, factor);
    else to.call(this.zoom.transform, this.#rest());
  }

  /** Bring a node into the window if it is not there. */
  reveal(node) {
    const [x, y] = this.at(node);
    const { width, height } = this.size;
    if (x > 30 && y > 20 && x < width - 30 && y < height - 20) return;
    d3.select(this.canvas).call(this.zoom.translateTo, this.layout.x[node.index], this.layout.y[node.index]);
  }

  /** Where a node is in the window. */
  at(node) {
    const { k, x, y } = this.view;
    return [this.layout.x[node.index] * k + x, this.layout.y[node.index] * k + y];
  }

  /** Where the middle of a link is in the window. */
  middle(link) {
    const { source, destination } = this.found.links;
    const [a, b] = [this.at(this.found.nodes[source[link]]), this.at(this.found.nodes[destination[link]])];
    return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  }

  /** Stop watching and drawing. */
  close() {
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.later);
    this.closed = true;
  }

  #resize(fresh = false) {
    const box = this.canvas.parentElement.getBoundingClientRect();
    if (!this.found || box.width < 40) return;
    const kept = fresh || !this.layout ? this.start : this.#relative();
    this.size = { width: box.width, height: box.height };
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    this.canvas.width = Math.round(box.width * this.ratio);
    this.canvas.height = Math.round(box.height * this.ratio);
    this.canvas.style.width = `${box.width}px`;
    this.canvas.style.height = `${box.height}px`;
    this.layout = place(this.found, this.size);
    this.fit = this.#fit();
    this.zoom.scaleExtent([this.fit.k * 0.4, Math.max(this.fit.k * 30, 4)]);
    this.#relink();
    d3.select(this.canvas).call(this.zoom.transform, this.#rest(kept));
  }

  #fit() {
    const { width, height, scale, room } = this.layout;
    const k = Math.min(scale, (this.size.height - room.top - room.bottom) / height);
    const wide = this.size.width - room.left - room.right;
    return { k, x: room.left + (wide - width * k) / 2, y: (this.size.height - room.bottom + room.top - height * k) / 2 };
  }

  /** A view relative to everything, [zoom, x, y] of the middle in shares of the graph. */
  #relative() {
    const { k, x, y } = this.view;
    const middle = [(this.size.width / 2 - x) / k / this.layout.width, (this.size.height / 2 - y) / k / this.layout.height];
    const moved = Math.abs(k / this.fit.k - 1) > 0.01 || Math.abs(x - this.fit.x) > 2 || Math.abs(y - this.fit.y) > 2;
    return moved ? [k / this.fit.k, ...middle] : null;
  }

  #rest(relative = null) {
    const { fit, layout, size } = this;
    if (!relative) return d3.zoomIdentity.translate(fit.x, fit.y).scale(fit.k);
    const k = relative[0] * fit.k;
    const [x, y] = [size.width / 2 - relative[1] * layout.width * k, size.height / 2 - relative[2] * layout.height * k];
    return d3.zoomIdentity.translate(x, y).scale(k);
  }

  /** Choose the links to show and bundle them anew. */
  #relink() {
    if (!this.layout) return;
    const { found, state } = this;
    const { links } = found;
    const effects = this.measure === "effect" && state.effects ? edgeEffects(found, state.effects) : null;
    this.strength = strengths(links, effects);
    const live = d3.range(links.count).filter((i) => !this.#dark(i));
    const size = (i) => Math.abs(links.weight[i]);
    live.sort((a, b) => this.strength[a] - this.strength[b] || size(a) - size(b));
    const { shown, nodes } = visible(found, live, this.show);
    [this.shown, this.near] = [shown, nodes];
    this.bundles = bundles(found, this.layout, this.shown, this.strength);
    this.#sharpen();
    if (this.bundles.length < 40) this.sheet.finish();
    this.#ask();
  }

  #dark(i) {
    const { off } = this.state;
    if (!off.size) return false;
    const { source, destination, kind } = this.found.links;
    const nodes = this.found.nodes;
    if (isOff(nodes[source[i]], off) || isOff(nodes[destination[i]], off)) return true;
    return kind[i] === 0 && off.has(this.found.idOf(i));
  }

  #sharpen() {
    this.sheet.begin(this.bundles, this.palette, this.view, this.size, this.ratio);
    this.#ask();
  }

  #zoomed({ k, x, y }) {
    this.view = { k, x, y };
    this.#ask();
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      if (this.closed || this.sheet.fits(this.view)) return;
      this.#sharpen();
      if (this.bundles.length < 40) this.sheet.finish();
    }, SHARP_AFTER);
    this.hooks.hover?.(null, -1);
  }

  #ask() {
    if (this.frame || this.closed) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      if (!this.layout || !this.canvas.width) return;
      const more = this.sheet.step(now);
      draw(this);
      if (more) this.#ask();
    });
  }

  #listen() {
    const { canvas, hooks } = this;
    const find = (event) => {
      const [x, y] = d3.pointer(event, canvas);
      const scene = { layout: this.layout, view: this.view, nodes: this.found.nodes, links: this.found.links, shown: this.shown, sizes: this.sizes };
      const node = nodeAt(scene, x, y);
      return { node, link: node ? -1 : linkAt(scene, x, y), x, y };
    };
    let pending = 0;
    canvas.addEventListener("pointermove", (event) => {
      if (pending || !this.layout || event.buttons) return;
      pending = requestAnimationFrame(() => {
        pending = 0;
        const { node, link, x, y } = find(event);
        this.set({ hover: node ? node.id : link >= 0 ? link : null });
        canvas.style.cursor = node || link >= 0 ? "pointer" : "grab";
        hooks.hover(node, link, x, y);
      });
    });
    canvas.addEventListener("pointerleave", () => {
      this.set({ hover: null });
      hooks.hover(null, -1);
    });
    canvas.addEventListener("click", (event) => {
      const { node, link } = find(event);
      hooks.choose(node ? node.id : link >= 0 && this.found.links.kind[link] === 0 ? this.found.idOf(link) : null);
    });
  }
}

/** Ablation effects of edges by link index; unknown ones are 0. */
function edgeEffects(found, effects) {
  const values = new Float32Array(found.links.count);
  for (const [id, value] of Object.entries(effects.edges)) {
    const link = found.edgeIndex.get(id);
    if (link !== undefined) values[link] = value;
  }
  return values;
}

/** A finger alone scrolls the page; two move the graph. */
function wanted(event) {
  if (event.type.startsWith("touch")) return event.touches.length > 1;
  return !event.button && !event.ctrlKey || event.type === "wheel";
}

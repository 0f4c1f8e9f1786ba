/** A circuit of an open model: tens of thousands of nodes, shown by layer and site, opened on demand. */

import { get, poll, readOnly } from "../api.js";
import { fill, h } from "../dom.js";
import { Asking } from "../grouped/asking.js";
import { card } from "../grouped/card.js";
import { grid } from "../grouped/grid.js";
import { now } from "../grouped/now.js";
import { mark } from "../parts/tests.js";
import { address } from "../state.js";
import { count, many, number, percent, title } from "../words.js";

/** Show the circuit of an id. */
export async function show(main, query, current, id) {
  if (readOnly) {
    fill(main, h("header.plain", {}, h("h1", {}, "A circuit of an open model"), h("p.lead", {}, "This copy is read-only and holds no model: run lacewing view to open it.")));
    return () => {};
  }
  const stop = new AbortController();
  const wait = h("p.wait", { role: "status" }, "Opening the model");
  fill(main, wait);
  const ask = () => get(["groups", id]);
  const began = Date.now();
  let overview = null;
  await poll(ask, (found) => found.state !== "opening" || !current(), (found) => {
    overview = found;
    wait.textContent = `Opening the model, ${Math.round((Date.now() - began) / 1000)} s. The first time, its means over text are measured, which takes minutes.`;
  }, stop.signal);
  if (!current() || overview.state === "opening") return () => stop.abort();
  const asking = new Asking(id, overview, query);
  const places = { intro: h("header.intro"), now: h("section.now"), grid: h("section.groupgrid", { "aria-label": "groups of nodes" }), card: h("aside.panel", { "aria-label": "the chosen group" }) };
  document.title = `${title(overview.description, overview.task)}: lacewing`;
  fill(main, places.intro, places.now, h("div.work", {}, places.grid, places.card));
  intro(places.intro, overview);
  const leave = [now(places.now, asking), grid(places.grid, asking), card(places.card, asking)];
  asking.start();
  const measuring = (found) => found.strengths.state === "computing";
  if (measuring(overview)) {
    poll(ask, (found) => !measuring(found), (found) => asking.measured(found), stop.signal, 1500).catch((error) => stop.signal.aborted || asking.failed(error));
  }
  return () => {
    stop.abort();
    leave.forEach((end) => end());
    asking.close();
  };
}

function intro(host, found) {
  fill(host,
    h("h1", {}, title(found.description, found.task)),
    h("p.lead", {}, `${many(found.nodes, "node")} of ${count(found.all_nodes)} (${percent(found.nodes / found.all_nodes, 1)}) of `, h("b", {}, found.model), `; test loss ${number(found.losses.circuit)} nats, whole model ${number(found.losses.full)}, target ${number(found.target_loss, 2)}. `, mark(found.verdict)),
    h("p.soft", {}, found.edges === null ? "No weight joins two latents, so it has no edges and no program. What has no autoencoder runs freely. " : `Not shown: its ${count(found.edges)} edges, as all weights are there, and so no program of them. `, `What is off has its ${found.ablation === "zero" ? "value replaced by zero" : "mean over text"}. `, h("a", { href: address([]) }, "All circuits")));
}

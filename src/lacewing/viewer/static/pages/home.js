/** Home: where to begin, all circuits, all models with their tasks. */

import { get, poll, readOnly, send } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { every } from "../parts/every.js";
import { mark, standing } from "../parts/tests.js";
import { csv } from "../save.js";
import { address, read, update } from "../state.js";
import { count, number, percent, title } from "../words.js";

const COLUMNS = [
  ["task", "task", (c) => c.task],
  ["model", "model", (c) => c.model_name],
  ["nodes", "nodes", (c) => c.nodes],
  ["edges", "edges", (c) => c.edges],
  ["loss", "loss, nats", (c) => c.loss],
  ["full", "whole model", (c) => c.full_loss],
  ["verdict", "verdict", (c) => c.verdict],
];
const TASK = ["task", "loss", "low", "high", "accuracy", "pairs", "learned"];
const NUMBERS = new Set(["nodes", "edges", "loss", "full"]);

/** Show what the served folder holds. */
export async function show(main, query, current) {
  const home = await get(["home"]);
  if (!current()) return () => {};
  const stop = new AbortController();
  const state = { filter: query.filter ?? "", sort: query.sort ?? "" };
  const table = h("section");
  const models = h("section");
  fill(main, opening(home), table, broken(home), models);
  circuits(table, home, state);
  allModels(models, home, stop.signal);
  return () => stop.abort();
}

/** One sentence on what this is, and the circuit to begin with. */
function opening(home) {
  const first = best(every(home));
  return h("header.opening", {},
    h("h1", {}, "See how a network does it"),
    h("p.lead", {}, "Each circuit below is a small part of a language model that does one task by itself. Open it, switch parts off, and watch the answer change."),
    first
      ? h("a.start", { href: address(["circuit", first.id]), id: "start" },
          h("small", {}, "Start here"),
          h("b", {}, title(first.description, first.task)),
          h("span.soft", {}, `${count(first.nodes)} nodes${first.edges === null ? "" : `, ${count(first.edges)} edges`}`),
          h("span.button.main", {}, "Open the circuit"))
      : h("p.empty", {}, "No circuit here yet. Make one: ", h("code", {}, "lacewing prune --model builtin:sparse --task single_double_quote --output runs/quote")));
}

/** The folder's own first, models taught their tasks last; of those, the ones that hold first, then those that pass the short tests, each by task and size. */
function order(circuit) {
  return `${Number(Boolean(circuit.shipped))} ${Number(circuit.model_name.includes("taught-"))} ${Math.min(standing(circuit.verdict), 2)} ${circuit.task} ${String(circuit.edges ?? 1e9 - 1).padStart(9, "0")}`;
}

/** The circuit a newcomer reads most easily: it is tested, works, closes a quote, is small. */
function best(list) {
  const usable = list.filter((c) => c.model && !c.error && c.nodes > 0);
  const rank = (c) => [Boolean(c.shipped), standing(c.verdict) > 2, c.loss > 1.2 * c.target_loss, c.task !== "single_double_quote", standing(c.verdict), c.edges ?? 1e9];
  const order = (a, b) => rank(a).map((value, i) => value - rank(b)[i]).find((gap) => gap) ?? 0;
  return usable.sort(order)[0];
}

function circuits(host, home, state) {
  const list = every(home);
  if (!list.length) return;
  const field = h("input", { type: "search", id: "filter", value: state.filter, placeholder: "task, model or verdict" });
  const body = h("div.table");
  const save = h("button.quiet", { type: "button", on: { click: () => csv("circuits", ["circuit", ...COLUMNS.map(([, words]) => words)], rows().map((c) => [c.id, ...COLUMNS.map(([, , value]) => value(c) ?? "")])) } }, "Save as CSV");
  field.addEventListener("input", () => {
    state.filter = field.value;
    update({ filter: field.value });
    show();
  });

  function rows() {
    const words = state.filter.toLowerCase();
    const kept = list.filter((c) => `${c.id} ${c.task} ${c.description ?? ""} ${c.model_name} ${c.verdict ?? "not verified"}`.toLowerCase().includes(words));
    const [key, down] = [state.sort.replace(/^-/, ""), state.sort.startsWith("-")];
    const column = COLUMNS.find(([name]) => name === key);
    if (!column) return kept.sort((a, b) => d3.ascending(order(a), order(b)));
    const value = column[2];
    const byColumn = (a, b) => (value(a) == null) - (value(b) == null) || (down ? -1 : 1) * d3.ascending(value(a), value(b));
    return kept.sort(byColumn);
  }

  function show() {
    const head = COLUMNS.map(([key, words]) => {
      const on = state.sort.replace(/^-/, "") === key;
      const next = on && !state.sort.startsWith("-") ? `-${key}` : key;
      return h(NUMBERS.has(key) ? "th.n" : "th", { scope: "col", "aria-sort": on ? (state.sort.startsWith("-") ? "descending" : "ascending") : null },
        h("button", { type: "button", data: { key }, on: { click: () => ((state.sort = next), update({ sort: next }), show()) } }, words, on ? (state.sort.startsWith("-") ? " ↓" : " ↑") : ""));
    });
    const shown = rows();
    refill(body, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, shown.map(line))), shown.length ? null : h("p.soft", {}, "Nothing fits these words."));
  }

  show();
  fill(host, h("div.row.headline", {}, h("h2", {}, `Circuits (${list.length})`), h("label.unseen", { for: "filter" }, "Filter circuits"), field, save), body);
}

function line(circuit) {
  const name = [h("b", {}, title(circuit.description, circuit.task)), h("br"), h("span.code", {}, circuit.id)];
  const from = circuit.shipped ? h("small.also", {}, "comes with lacewing; to look at, not to write beside") : null;
  const also = circuit.copies?.length ? h("small.also", {}, "also ", circuit.copies.map((id) => h("a.code", { href: address(["circuit", id]) }, id))) : null;
  const open = (circuit.model || (circuit.grouped && !readOnly)) && !circuit.error;
  return h("tr", {},
    h("td", {}, open ? h("a.open", { href: address([circuit.grouped ? "groups" : "circuit", circuit.id]) }, name) : name, from, also, circuit.error ? h("p.error", {}, circuit.error) : null),
    h("td.code", {}, circuit.model_name),
    h("td.n", {}, count(circuit.nodes)), h("td.n", {}, count(circuit.edges)),
    h("td.n", {}, number(circuit.loss)), h("td.n", {}, number(circuit.full_loss)),
    h("td", {}, mark(circuit.verdict, circuit.tests)));
}

function broken(home) {
  if (!home.broken?.length) return null;
  return h("section", {}, h("h2", {}, "Could not be read"), h("ul", {}, home.broken.map((b) => h("li", {}, h("code", {}, b.folder), " ", b.error))));
}

function allModels(host, home, signal) {
  fill(host, home.models.length ? h("h2", {}, `Models (${home.models.length})`) : null, home.models.map((m) => model(m, signal)));
}

function model(found, signal) {
  const facts = [`${found.layers} ${found.layers === 1 ? "layer" : "layers"}`, `${count(found.channels)} channels`, found.density == null ? null : `${percent(found.density, 1)} of the weights are not zero`, found.validation_loss == null ? null : `validation loss ${number(found.validation_loss, 2)} nats per token`, found.corpus];
  const said = h("span.soft", { role: "status" });
  const measure = h("button", { type: "button" }, "Measure its tasks");
  measure.addEventListener("click", async () => {
    measure.disabled = true;
    try {
      const job = await send("POST", ["models", found.id, "tasks"]);
      const over = (j) => !["waiting", "running"].includes(j.state);
      let last = job;
      await poll(() => get(["jobs", job.id]), over, (j) => ((last = j), (said.textContent = j.error ?? (over(j) ? j.state : `${Math.round((100 * j.done) / (j.total || 1))} % ${j.note ?? ""}`))), signal);
      if (last.state === "done") location.reload();
    } catch (error) {
      said.textContent = error.message;
    }
    measure.disabled = false;
  });
  const tasks = found.tasks.filter((t) => t.loss != null || t.error);
  const open = new Set((read().query.open ?? "").split(",").filter(Boolean));
  const toggled = (event) => {
    const now = new Set((read().query.open ?? "").split(",").filter(Boolean));
    event.currentTarget.open ? now.add(found.id) : now.delete(found.id);
    update({ open: [...now].join(",") });
  };
  return h("details.model", { open: open.has(found.id), on: { toggle: toggled } },
    h("summary", {}, h("b", {}, found.name), found.name.includes(found.kind) ? "" : ` ${found.kind}`, h("small", {}, ` ${facts.filter(Boolean).join(" · ")}`)),
    tasks.length ? h("div.table", {}, h("table", {}, h("thead", {}, h("tr", {}, ["task", "loss, nats", "95 % interval", "accuracy", "pairs", ""].map((w, i) => h(i && i < 5 ? "th.n" : "th", { scope: "col" }, w)))), h("tbody", {}, tasks.map(taskLine)))) : h("p.soft", {}, `${found.tasks.length} tasks, not measured on this model yet.`),
    h("div.row", {}, readOnly ? null : measure, tasks.length ? h("button.quiet", { type: "button", on: { click: () => csv(`${found.id}-tasks`, TASK, tasks.map((t) => [t.name, t.loss ?? "", t.interval?.[0] ?? "", t.interval?.[1] ?? "", t.accuracy ?? "", t.pairs ?? "", t.learned == null ? "" : t.learned ? "yes" : "no"])) } }, "Save as CSV") : null, said));
}

function taskLine(task) {
  if (task.error) return h("tr", {}, h("td", {}, task.name), h("td", { colspan: 5 }, task.error));
  return h("tr", {},
    h("td", { title: task.description }, task.name), h("td.n", {}, number(task.loss)),
    h("td.n", {}, task.interval ? task.interval.map((v) => number(v)).join(" to ") : "–"),
    h("td.n", {}, percent(task.accuracy, 1)), h("td.n", {}, task.pairs ?? "–"), h("td", {}, task.learned ? "learned" : "not learned"));
}


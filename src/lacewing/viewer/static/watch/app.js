/** The live page of `lacewing watch --serve`: evidence, the signals of every circuit, alarms. */

import { get } from "../api.js";
import { fill, h, say } from "../dom.js";
import { csv } from "../save.js";
import { button as themeButton } from "../theme.js";
import { count, number, percent } from "../words.js";
import { alarmList } from "./alarms.js";
import { chart } from "./chart.js";

const KEPT = 600;
const PAUSE = 2000;
const LEAST = 1e-4;
/** Evidence below is drawn at the foot. */

/** Signals in few words; each is told by how unusual it is. */
const SIGNALS = {
  agrees: "Alone another answer",
  carried: "Part of the difference",
  jointly: "Nodes, taken together",
  head: "Where heads look",
  node: "Values of nodes",
  places: "How often it comes up",
  text: "How frequent tokens are",
};

const main = document.getElementById("main");
let looks = [];
let alarms = null;
let page = null;

fill(document.getElementById("top"),
  h("a.brand", { href: "./" }, h("img", { src: "static/icon.svg", alt: "", width: 22, height: 22 }), "lacewing"),
  h("nav", { "aria-label": "parts" }, h("a", { href: "./", "aria-current": "page" }, "Watch")), themeButton());

/** The page's parts, made once; what changes is written into them. */
function build(first) {
  const standing = h("p.lead.standing", { role: "status" });
  const facts = h("p.soft");
  const evidence = chart({
    name: "Evidence that something is no longer as it was", tall: true,
    of: (look) => look.evidence,
    height: (value) => 0.9 * (1 - Math.log10(Math.max(value, LEAST)) / Math.log10(LEAST)),
    read: (value) => (value >= 1 ? `${number(value, 1)}: alarm` : `${percent(value, value < 0.1 ? 1 : 0)} of what raises an alarm`),
    lines: [[1, "threshold"], [0.1, "grid"], [0.01, "grid"], [0.001, "grid"]],
    rules: [[1, "alarm"], [0.1, "10 %"], [0.01, "1 %"], [0.001, "0.1 %"]],
  });
  const charts = first.groups.map((group, index) => chart({
    name: words(group), about: group.words,
    of: (look) => look.scores[index],
    height: (value) => value / top(group),
    read: (value) => `${number(value, 2)} (usual to ${number(group.level, 2)})`,
    lines: [[group.level, "usual"]],
  }));
  const rows = first.circuits.map(() => h("p.facts"));
  const of = (circuit) => first.groups.flatMap((group, index) => (group.circuit === circuit ? [charts[index].element] : []));
  const list = h("div");
  const missing = h("div");
  const save = h("button.quiet", { type: "button", on: { click: () => table(first.groups, first.circuits) } }, "Save as CSV");
  fill(main,
    h("h1", {}, first.model), standing, facts, missing,
    h("section", {}, evidence.element),
    h("section", {}, h("h2", {}, "Alarms"), list),
    h("section", {}, h("h2", {}, "How unusual the last looks were"), h("p.legend", {}, h("span", {}, "score of a look: 0 is usual, 1 was never seen; of several heads or nodes, the mean"), h("span.usual", {}, "what its mean is at most while nothing has changed"), h("span.rung", {}, "an alarm"))),
    first.circuits.map((circuit, index) => h("section", {}, h("h2", {}, circuit.name), rows[index], h("div.signals", {}, of(index)))),
    h("section", {}, h("h2", {}, "The text alone"), h("p.soft", {}, "This one does not ask the model."), h("div.signals", {}, of(null)), h("p.row.saved", {}, save)),
    h("section.ask", {}, h("h2", {}, "Ask it"), h("pre", { tabindex: 0 }, example(first.model)), h("p.soft", {}, "Each answer says which tasks were decided in it, and where. Figures for Prometheus are at ", h("a", { href: "metrics" }, "metrics"), ".")));
  document.title = `${first.model}: lacewing watch`;
  return { standing, facts, evidence, charts, rows, list, missing };
}

function words(group) {
  const text = SIGNALS[group.kind] ?? group.kind;
  return group.signals > 1 ? `${text} (${group.signals})` : text;
}

/** What a chart's upper edge stands for: twice the promised level, at least. */
function top(group) {
  return Math.min(1, Math.max(0.25, 2.5 * group.level));
}

function example(model) {
  return `curl ${location.origin}/v1/completions -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify({ model, prompt: "def ", max_tokens: 16 })}'`;
}

function table(groups, circuits) {
  const whose = (group) => (group.circuit === null ? "text" : `${circuits[group.circuit].name} ${group.kind}`);
  csv("watch", ["tokens", "evidence", ...groups.map(whose)], looks.map((look) => [look.tokens, look.evidence, ...look.scores.map((score) => score ?? "")]));
}

function show(answer) {
  page ??= build(answer);
  const { standing, facts, evidence, charts, rows, list, missing } = page;
  const last = answer.last_alarms.at(-1);
  const state = answer.changed ? "fails" : answer.alarms ? "open" : "holds";
  const words = answer.changed
    ? "The model is not the one of the reference."
    : answer.alarms ? `${count(answer.alarms)} ${answer.alarms === 1 ? "alarm" : "alarms"}; the model itself has not changed.` : answer.looks ? "No alarm." : "Nothing watched yet: a look is taken every 1,024 tokens.";
  if (standing.textContent !== words) fill(standing, h(`span.verdict.${state}`, {}), words);
  facts.textContent = `${count(answer.tokens)} tokens watched. Promised: a false alarm in ${count(answer.run_length)} tokens at most, in the mean.`;
  fill(missing, answer.looks ? answer.undecided.map((line) => h("p.soft", {}, line)) : null);
  evidence.show(looks, answer.last_alarms);
  charts.forEach((one) => one.show(looks, answer.last_alarms));
  answer.circuits.forEach((circuit, index) => row(rows[index], circuit));
  if (alarms !== answer.alarms) {
    if (alarms !== null && answer.alarms > alarms && last) say(`Alarm: ${last.told}`);
    alarmList(list, answer.last_alarms, answer.alarms);
    alarms = answer.alarms;
  }
  main.dataset.ready = "yes";
}

/** What one circuit did so far, beside the reference. */
function row(host, circuit) {
  const { usual, probe } = circuit;
  const fact = (words, now, was) => h("span", {}, `${words} `, h("b", {}, now), ` (usual ${was})`);
  const way = (name, words) => h("span", {}, `${words} `, h("b", {}, `${number(probe.after[name])} nats`), ` (was ${number(probe.before[name])})`);
  fill(host,
    fact("places in 1,000 tokens", number(circuit.per_thousand, 2), number(usual.per_thousand, 2)),
    fact("alone the same answer", percent(circuit.agrees), percent(usual.agrees)),
    fact("of the logit difference", percent(circuit.carries), percent(usual.carries)),
    probe ? [way("alone", "fixed prompts: alone"), way("without", "without it")] : null);
}

async function follow() {
  let failing = false;
  for (;;) {
    try {
      const answer = await get(["watch"], { since: looks.at(-1)?.number ?? 0 });
      if (looks.length && answer.looks < looks.at(-1).number) {
        looks = []; // another server, which begins at nought
        page = alarms = null;
        continue;
      }
      looks = [...looks, ...answer.looks_after].slice(-KEPT);
      show(answer);
      failing = false;
    } catch (error) {
      if (!page) fill(main, h("div.failed", {}, h("h1", {}, "This cannot be shown"), h("p", {}, error.message)));
      else if (!failing) fill(page.standing, h("span.lost", {}, error.message));
      if (!error.kind) console.error(error);
      failing = true;
    }
    await new Promise((done) => setTimeout(done, document.hidden ? 5 * PAUSE : PAUSE));
  }
}

follow();

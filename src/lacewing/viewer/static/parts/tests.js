/** The tests of a verification: the verdict in words, and every test with its numbers. */

import { h, s } from "../dom.js";
import { csv } from "../save.js";
import { read, update } from "../state.js";
import { count, number, percent } from "../words.js";

const GROUPS = {
  sufficient: "Is the circuit enough?",
  necessary: "Is it needed?",
  complement: "Does it work whatever the rest does?",
  interchange: "Do its values decide the answer?",
  agree: "Does it say what the whole model says?",
  natural: "Is it quiet where the task is not?",
  attention: "Do its heads look where the model’s look?",
  control: "Would pruning find a circuit for anything?",
  stability: "Is the same circuit found again?",
  features: "Are its nodes on or off?",
};
const WIDE = 150;

/** The tests of a verification as rows; of an older one, its two tests. */
export function rows(verification) {
  if (Array.isArray(verification?.tests)) return verification.tests.filter((t) => t && typeof t.name === "string");
  const old = (name, at_most) => {
    const test = verification?.[name];
    if (!test) return null;
    const [low, high] = test.interval ?? [null, null];
    const control = at_most ? test.random?.lowest : test.random?.highest;
    return { name, value: test.loss, low, high, n: verification.pairs, unit: "nats", threshold: test.threshold, at_most, control, control_name: `${at_most ? "best" : "worst"} of ${test.random?.count} random circuits`, passed: test.verdict, meaning: test.reason };
  };
  return [old("sufficient", true), old("necessary", false)].filter(Boolean);
}

/** A verdict in a few words, and its look: holds (the whole suite alone), fails, or neither. */
export function spoken(verdict, most = 2) {
  if (!verdict) return { words: "not verified", look: "" };
  const [short, result = short] = verdict.includes("short tests") ? verdict.split("; ") : [null, verdict];
  const [word, names = ""] = result.split(": ");
  const list = names.split(", ").filter(Boolean);
  const look = { holds: ".holds", fails: ".fails", unresolved: ".open" }[word] ?? "";
  return { words: short ?? (list.length > most ? `${word}: ${list.length} tests` : verdict), look };
}

/** How far a circuit is shown to be one, from 0: holds, short tests, not verified, unresolved, fails. */
export function standing(verdict) {
  return [".holds", "", null, ".open", ".fails"].indexOf(verdict ? spoken(verdict).look : null);
}

/** The verdict as a mark; all of it as a hint. */
export function mark(verdict, tests = null) {
  const { words, look } = spoken(verdict);
  const counted = tests && verdict === "holds" && tests > 2 ? `${words}, ${tests} tests` : words;
  return h(`span.verdict${look}`, { title: verdict }, counted);
}

/** The line on a circuit's page: the verdict, which opens its tests; they may stand in the address. */
export function judged(circuit) {
  const list = rows(circuit.verification);
  if (!list.length) return h("p.judged", {}, mark(circuit.verdict));
  const passed = list.filter((t) => t.passed === true).length;
  const whole = Array.isArray(circuit.verification.tests);
  const all = passed === list.length ? `passed all ${passed} tests` : `passed ${passed} of ${list.length} tests`;
  const words = whole ? all : `${passed} of ${list.length} short tests`;
  const open = () => show(circuit);
  if (read().query.tests && !document.querySelector("dialog")) queueMicrotask(open);
  const { look } = spoken(circuit.verdict);
  return h("p.judged", {}, h("button.quiet", { type: "button", id: "tests", title: circuit.verdict, on: { click: open } }, h(`span.verdict${look}`, {}, words), h("span.more", {}, "See them")));
}

function show(circuit) {
  const box = h("dialog.wide", { "aria-labelledby": "tests-title" });
  const close = h("button", { type: "button", on: { click: () => box.close() } }, "Close");
  box.append(h("div.cardhead", {}, h("h2", { id: "tests-title" }, "Tests of this circuit"), close), table(circuit));
  box.addEventListener("close", () => {
    box.remove();
    update({ tests: "" });
  });
  addEventListener("hashchange", () => box.close(), { once: true });
  document.body.append(box);
  update({ tests: "1" });
  box.showModal();
}

/** All tests of a circuit, what was left out, and under what they were measured. */
export function table(circuit) {
  const { verification } = circuit;
  const list = rows(verification);
  const groups = d3.group(list, (test) => test.name.split(".")[0]);
  const cells = list.map((t) => [t.name, said(t.passed), t.value ?? "", t.low ?? "", t.high ?? "", t.unit ?? "", t.n ?? "", t.at_most ? "at most" : "at least", t.threshold ?? "", t.control ?? "", t.control_name ?? "", t.meaning ?? ""]);
  const head = ["test", "result", "value", "low", "high", "unit", "n", "side", "threshold", "control", "control is", "meaning"];
  const left = Array.isArray(verification.left_out) ? verification.left_out : [];
  return h("div.tests", {},
    h("p.row", {}, h(`span.verdict${spoken(circuit.verdict).look}`, {}, counted(list)), h("span.soft", {}, `${verification.pairs ?? circuit.pairs} pairs of test prompts, seed ${verification.seed ?? circuit.seed}; ${circuit.model_name}, ${circuit.ablation} ablation.`)),
    h("p.legend", {}, h("span.key.value", {}, "value and 95 % interval"), h("span.key.limit", {}, "mark it has to reach"), h("span.key.control", {}, "control")),
    [...groups].map(([name, tests]) => h("section", {}, h("h3", {}, GROUPS[name] ?? name), h("ul", {}, tests.map(one)))),
    left.length ? h("section", {}, h("h3", {}, "Left out"), h("ul.left", {}, left.map((l) => h("li", {}, h("b", {}, l.name), ` ${l.reason}`)))) : null,
    h("p.row", {}, h("button.quiet", { type: "button", on: { click: () => csv(`${circuit.id}-tests`, head, cells) } }, "Save as CSV")));
}

/** How many passed, failed, and are unresolved. */
function counted(list) {
  const words = ["passed", "failed", "unresolved"].map((word) => [list.filter((t) => said(t.passed) === word).length, word]);
  return words.filter(([n]) => n).map((pair) => pair.join(" ")).join(", ");
}

function said(passed) {
  return passed === true ? "passed" : passed === false ? "failed" : "unresolved";
}

function one(test) {
  const look = test.passed === true ? "good" : test.passed === false ? "bad" : "weak";
  const interval = test.low == null || test.high == null ? "" : ` (${shown(test.low, test)} to ${shown(test.high, test)})`;
  const control = test.control == null ? "" : `; ${test.control_name || "control"}: ${shown(test.control, test)}`;
  return h("li", {},
    h(`span.result.${look}`, {}, said(test.passed)),
    h("div.words", {}, h("b", {}, test.name), " ", h("span.value", {}, `${value(test)}${unit(test)}${interval}`),
      h("span.soft", {}, `, must be at ${test.at_most ? "most" : "least"} ${shown(test.threshold, test)}${control}${test.n ? `; n ${count(test.n)}` : ""}`),
      h("p.soft", {}, test.meaning)),
    strip(test));
}

/** A value that is not a number was never reached, or could not be measured. */
function value(test) {
  if (test.value != null) return shown(test.value, test);
  return test.passed == null ? "not measured" : "never reached";
}

function shown(amount, { unit = "" }) {
  if (amount == null) return "–";
  if (unit.startsWith("share")) return percent(amount, 1);
  return number(amount, Math.abs(amount) >= 100 ? 0 : Math.abs(amount) >= 10 ? 1 : 3);
}

function unit({ unit = "", value: amount }) {
  return amount == null || unit.startsWith("share") || !unit ? "" : ` ${unit}`;
}

/** Value, interval, mark and control on one line from zero. */
function strip(test) {
  const ends = [test.value, test.high, test.low, test.threshold, test.control, 0].filter(Number.isFinite);
  const x = d3.scaleLinear([Math.min(...ends), Math.max(...ends) * 1.04 || 1], [5, WIDE - 5]).clamp(true);
  const colour = test.passed === true ? "good" : test.passed === false ? "bad" : "weak";
  const at = (amount) => x(amount).toFixed(1);
  const reached = x(test.threshold);
  const [from, to] = test.at_most ? [5, reached] : [reached, WIDE - 5];
  return s("svg", { class: "strip", viewBox: `0 0 ${WIDE} 20`, width: WIDE, height: 20, "aria-hidden": "true" },
    s("rect", { x: from, y: 3, width: Math.max(to - from, 0), height: 14, fill: "var(--wash)" }),
    s("line", { x1: 5, x2: WIDE - 5, y1: 10, y2: 10, stroke: "var(--faint)" }),
    test.control == null ? null : s("circle", { cx: at(test.control), cy: 10, r: 3.5, fill: "var(--paper)", stroke: "var(--soft)", "stroke-width": 1.5 }),
    test.low == null || test.high == null ? null : s("line", { x1: at(test.low), x2: at(test.high), y1: 10, y2: 10, stroke: `var(--${colour})`, "stroke-width": 3 }),
    test.threshold == null ? null : s("line", { x1: at(test.threshold), x2: at(test.threshold), y1: 2, y2: 18, stroke: "var(--ink)", "stroke-width": 1.5 }),
    test.value == null ? null : s("circle", { cx: at(test.value), cy: 10, r: 4, fill: `var(--${colour})` }));
}

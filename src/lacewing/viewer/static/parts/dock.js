/** The bar at the bottom, always in view: loss, accuracy, the answer, undo, saving. */

import { readOnly } from "../api.js";
import { fill, h, refill, say } from "../dom.js";
import { number, percent, shares, standing, token } from "../words.js";
import { keeper } from "./keep.js";

const ABLATIONS = [
  ["mean", "its average"],
  ["zero", "zero"],
  ["resample", "another prompt's"],
];

const TOGETHER = 76;
/** Pixels that "target 0.15" and "guessing" need between their marks. */

/** Fill the dock for a session. */
export function dock(host, session) {
  const state = h("div.state");
  const scale = h("div.scale");
  const answer = h("div.answer");
  const tools = h("div.tools");
  const side = h("div.saving");
  fill(host, state, scale, answer, tools, side);
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", "loss, answer and changes");
  const show = () => {
    meter(state, session);
    ruler(scale, session);
    answers(answer, session);
    buttons(tools, session);
  };
  const measured = new ResizeObserver(() => ruler(scale, session));
  measured.observe(scale);
  session.stop.signal.addEventListener("abort", () => measured.disconnect());
  session.on("live", show);
  session.on("cut", show);
  session.on("prompt", show);
  if (!readOnly) keeper(side, session);
  addEventListener("keydown", (event) => shortcut(event, session), { signal: session.stop.signal });
  show();
}

function shortcut(event, session) {
  const typing = event.target.closest?.("input:not([type=range]),textarea,select");
  if (typing || !(event.ctrlKey || event.metaKey)) return;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  key === "y" || event.shiftKey ? session.cut.redo() : session.cut.undo();
}

/** The loss in large, in words, and against what it was. */
function meter(host, session) {
  const { live, circuit } = session;
  const { answer, error, busy } = live;
  host.classList.toggle("busy", busy);
  if (error) return fill(host, h("p.error", { role: "alert" }, error));
  if (!answer) return fill(host, h("p.soft", {}, "Asking the model…"));
  const { word, tone } = standing(answer.loss, circuit.target_loss);
  const interval = answer.interval ? ` 95 % interval ${answer.interval.map((v) => number(v)).join(" to ")}.` : "";
  const about = `Loss on ${answer.pairs} pairs of test prompts, in nats; 0 is certain and right, 0.693 is guessing.${interval}`;
  say(`${word}. Loss ${number(answer.loss)} nats${answer.accuracy === null ? "" : `, ${percent(answer.accuracy)} right`}.`);
  return fill(
    host,
    h("div.big", { title: about }, h(`span.dot.${tone}`), h("b", { id: "loss" }, number(answer.loss)), h("small", {}, "loss, nats")),
    h("div.word", {}, h(`span.${tone}`, { id: "standing" }, word), answer.accuracy === null ? null : h("small", {}, ` ${percent(answer.accuracy)} right`)),
  );
}

/** Where the loss lies between the full model's and guessing. */
function ruler(host, { live, circuit }) {
  const { answer } = live;
  if (!answer) return fill(host);
  const most = Math.max(1, answer.loss * 1.08);
  const left = (value) => `${(100 * Math.min(value / most, 1)).toFixed(2)}%`;
  const { tone } = standing(answer.loss, circuit.target_loss);
  const tick = (value, words, extra = "") =>
    value === null || value === undefined ? null : h(`span.tick${extra}`, { style: { left: left(value) } }, h("i"), h("em", {}, words));
  const target = circuit.target_loss;
  const words = `target ${number(target, 2)}`;
  // Far above both, the two marks stand too close for a word under each.
  const near = ((Math.LN2 - target) / most) * host.clientWidth < TOGETHER;
  host.setAttribute("role", "img");
  host.setAttribute("aria-label", `loss ${number(answer.loss)}, target ${number(circuit.target_loss, 2)}, guessing 0.693`);
  return fill(
    host,
    h("div.meter", {},
      h(`span.fill.${tone}`, { style: { width: left(answer.loss) } }),
      answer.interval ? h("span.interval", { style: { left: left(answer.interval[0]), width: `calc(${left(answer.interval[1])} - ${left(answer.interval[0])})` } }) : null,
    ),
    near ? null : tick(target, words),
    near ? tick(target, `${words}, guessing`, ".both") : null,
    tick(Math.LN2, near ? "" : "guessing"),
  );
}

/** The two answers to the chosen prompt, with their chances. */
function answers(host, { live }) {
  const chosen = live.answer?.chosen;
  const side = chosen?.edited ?? chosen?.circuit;
  if (!side) return fill(host);
  const right = chosen.answer;
  const parts = shares(side.answers);
  return fill(
    host,
    side.answers.map((a, i) => {
      const share = parts[i];
      return h("div.choice", { title: `${percent(a.p, 1)} of all tokens; ${percent(share, 1)} of the two answers` },
        h("span.tokenchip", {}, token(a.text)),
        h("span.meter", {}, h(`span.fill.${a.token === right ? "good" : "bad"}`, { style: { width: `${(100 * share).toFixed(1)}%` } })),
        h("span.n", {}, percent(share)),
        a.token === right ? h("small", {}, "right") : h("small"),
      );
    }),
  );
}

function buttons(host, { cut, circuit }) {
  if (readOnly) return fill(host, h("small", {}, "Cutting needs the program: lacewing view"));
  const button = (key, words, title, able, call) =>
    h("button.quiet", { type: "button", title, disabled: !able, data: { key }, on: { click: call } }, words);
  const now = cut.now.ablation || circuit.ablation;
  const select = h("select", { id: "ablation", data: { key: "ablation" }, title: "What takes the place of what is switched off", on: { change: (e) => cut.ablate(e.target.value === circuit.ablation ? "" : e.target.value) } },
    ABLATIONS.map(([value, words]) => h("option", { value, selected: value === now }, words)));
  select.value = now;
  return refill(
    host,
    h("span.edits", { id: "edits" }, cut.empty ? "nothing switched off" : `${cut.size} changed`),
    button("undo", "Undo", "Ctrl Z", cut.past.length, () => cut.undo()),
    button("redo", "Redo", "Ctrl Shift Z", cut.future.length, () => cut.redo()),
    button("reset", "All on", "Switch everything on again", !cut.empty, () => cut.reset()),
    h("label.off", {}, "replace by ", select),
  );
}

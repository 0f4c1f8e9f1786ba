/** What the circuit does with what is off, beside the circuit as it is and the whole model. */

import { h, refill } from "../dom.js";
import { number, percent, signed, token } from "../words.js";

const SIDES = [["full", "whole model"], ["circuit", "circuit"], ["edited", "as switched"]];

/** Fill the box; the pairs stand in it. */
export function now(host, asking) {
  const show = () => {
    const { answer, progress, wrong, overview, pair, member } = asking;
    const select = h("select", { id: "pair", data: { key: "pair" }, on: { change: (event) => asking.look(...chosen(event.target.value)) } },
      overview.prompts.flatMap((prompt, i) => ["clean", "corrupted"].map((one) => h("option", { value: `${i} ${one}` }, `${i + 1} ${one === "clean" ? "a" : "b"}  ${prompt[one].slice(-60)}`))));
    select.value = `${pair} ${member}`;
    refill(host,
      h("div.row", {}, h("label", { for: "pair" }, "Prompt"), select,
        h("span.edits", {}, asking.size ? `${asking.size} changed` : "nothing is switched"),
        asking.size ? h("button.quiet", { type: "button", data: { key: "all on" }, on: { click: () => asking.reset() } }, "All as it was") : null,
        progress ? [h("span.soft", { role: "status" }, `measuring: ${progress.done} of ${progress.total || "…"} pairs`), h("button.quiet", { type: "button", data: { key: "stop" }, on: { click: () => asking.stop() } }, "Stop")] : null),
      wrong ? h("p.error", { role: "alert" }, wrong) : null,
      answer ? table(answer, Boolean(progress)) : null);
  };
  const off = ["cut", "answer"].map((name) => asking.on(name, show));
  show();
  return () => off.forEach((end) => end());
}

function chosen(text) {
  const [pair, member] = text.split(" ");
  return [Number(pair), member];
}

function table(answer, busy) {
  const { chosen } = answer;
  const line = ([key, words]) => h("tr", { data: { side: key } }, h("th", { scope: "row" }, words),
    h("td.n", { data: { loss: answer[key].loss } }, number(answer[key].loss)), h("td.n", {}, answer[key].interval.map((v) => number(v)).join(" to ")), h("td.n", {}, percent(answer[key].accuracy)),
    h("td.n", {}, signed(chosen[key].difference)), h("td", {}, chosen[key].top.slice(0, 4).map((t) => [h("span.tokenchip", {}, token(t.text), ` ${percent(t.p)}`), " "])));
  return h("div", { data: { busy: busy ? "yes" : "" } },
    h("pre.prompttext", {}, chosen.text),
    h("p.soft", {}, "Right: ", h("span.tokenchip", {}, token(chosen.answer)), " against ", h("span.tokenchip", {}, token(chosen.other)), `. Losses are over the first ${answer.pairs} of ${answer.of} test pairs; ${answer.nodes.toLocaleString("en-US")} nodes run.`),
    h("div.table", {}, h("table", {}, h("thead", {}, h("tr", {}, ["", "loss, nats", "95 % interval", "right", "right over wrong, nats", "says next"].map((words, i) => h(i > 0 && i < 5 ? "th.n" : "th", { scope: "col" }, words)))), h("tbody", {}, SIDES.map(line)))));
}

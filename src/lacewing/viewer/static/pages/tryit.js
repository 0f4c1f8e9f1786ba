/** Try it: any prompt, and what the full model, the circuit, and the model without it say to it. */

import { get, readOnly, send } from "../api.js";
import { fill, h, quietly } from "../dom.js";
import { csv } from "../save.js";
import { percent, shares, token } from "../words.js";

const SIDES = [
  ["full", "The whole model", "all of it"],
  ["circuit", "The circuit alone", "everything else replaced by its average"],
  ["edited", "The circuit as you cut it", "with what you switched off or set"],
  ["without", "The model without the circuit", "only the circuit’s nodes replaced"],
];

/** Show the prompt field and the answers side by side. */
export function show(main, session) {
  const box = h("textarea", { id: "text", rows: 5, maxlength: 4000, spellcheck: "false", disabled: readOnly });
  const pick = h("select", { id: "pick" }, h("option", { value: "" }, "a prompt of the task…"));
  const seen = h("div.tokens");
  const out = h("div.sides");
  const said = h("p.error", { role: "alert", hidden: true });
  let found = null;
  let turn = 0;
  fill(main,
    h("header.plain", {}, h("h1", {}, "Try it"), h("p.lead", {}, "Type code that stops where the answer should come. The columns say what each would write next.")),
    h("div.ask", {}, h("label", { for: "text" }, "Prompt"), box,
      h("div.row", {}, h("label", { for: "pick" }, "or take"), pick, h("button.quiet", { type: "button", on: { click: table } }, "Save as CSV"))),
    said, seen, out);

  async function ask() {
    const mine = ++turn;
    const { pair, member, text } = session.prompt;
    try {
      const asked = text === null ? await get(["circuits", session.id, "prompts", pair], { member }) : await send("POST", ["circuits", session.id, "try"], { text });
      if (mine !== turn) return;
      if (text === null) box.value = asked.text;
      found = asked;
      said.hidden = true;
    } catch (error) {
      if (mine !== turn) return;
      said.hidden = false;
      said.textContent = error.message;
    }
    render();
  }

  function render() {
    if (!found) return;
    fill(seen, h("h3", {}, `${found.tokens.length} tokens`, found.dropped ? `, ${found.dropped} dropped in front` : ""), h("p.strip", {}, found.tokens.map((t) => h("span.tokenchip", { title: `token ${t.id}` }, token(t.text, 40)))));
    fill(out, SIDES.map(([key, words, why]) => {
      const side = answerOf(key);
      return side ? column(words, why, side, found.answer) : null;
    }));
  }

  /** What one of the four says; the edited circuit only where something is cut. */
  function answerOf(key) {
    if (key !== "edited") return found[key];
    return session.cut.empty ? null : session.live.answer?.chosen?.edited;
  }

  function table() {
    if (!found) return;
    const rows = SIDES.flatMap(([key, words]) => (answerOf(key)?.top ?? []).map((t, i) => [words, i + 1, t.text, t.p]));
    csv(`${session.id}-answers`, ["model", "rank", "token", "probability"], rows);
  }

  const typed = quietly(250, () => box.value && session.ask({ text: box.value }));
  box.addEventListener("input", typed);
  pick.addEventListener("change", () => {
    const [pair, member] = pick.value.split(" ");
    if (member) session.ask({ pair: Number(pair), member });
  });
  get(["circuits", session.id, "prompts"]).then(({ pairs }) => {
    const last = (text) => text.split("\n").at(-1).trim().slice(-60);
    pick.append(...pairs.slice(0, 60).flatMap((p) => ["clean", "corrupted"].map((m) => h("option", { value: `${p.index} ${m}` }, `${last(p[m])} … ${token(p[`${m}_answer`])}`))));
  }, () => {});
  if (session.prompt.text !== null) box.value = session.prompt.text;
  ask();
  const off = [session.on("prompt", ask), session.on("live", render)];
  return () => off.forEach((stop) => stop());
}

function column(words, why, side, right) {
  const most = Math.max(...side.top.map((t) => t.p), 0.01);
  const parts = shares(side.answers);
  return h("section.side", {},
    h("h2", {}, words), h("p.soft", {}, why),
    side.answers.length ? h("div.two", { role: "img", "aria-label": side.answers.map((a, i) => `${a.text} ${percent(parts[i])}`).join(", ") },
      side.answers.map((a, i) => h(`span.share.s${i}${a.token === right ? ".right" : ""}`, { style: { "flex-grow": Math.max(parts[i], 0.001) }, title: `${percent(parts[i], 1)} of the two` }, h("span", {}, `${token(a.text)} ${percent(parts[i])}`)))) : null,
    h("ol.top", {}, side.top.map((t) => h("li", {}, h(`span.tokenchip${t.token === right ? ".right" : ""}`, {}, token(t.text)), h("span.meter", {}, h("span.fill", { style: { width: `${((100 * t.p) / most).toFixed(1)}%` } })), h("span.n", {}, percent(t.p, 1))))));
}

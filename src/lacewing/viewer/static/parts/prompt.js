/** The prompt whose answer is followed: its last lines, and which of its pair it is. */

import { get } from "../api.js";
import { h, refill } from "../dom.js";
import { token } from "../words.js";

/** Show the chosen prompt with the answers it may have. */
export function prompt(host, session) {
  let pairs = null;
  const show = () => refill(host, ...body());
  const off = [session.on("prompt", show), session.on("live", show)];
  get(["circuits", session.id, "prompts"]).then((answer) => ((pairs = answer.pairs), show()), () => {});

  function body() {
    const { pair, member, text } = session.prompt;
    const chosen = session.live.answer?.chosen;
    const written = text ?? chosen?.text ?? pairs?.[pair]?.[member] ?? "";
    const step = (by) => () => session.ask({ pair: (pair + by + pairs.length) % pairs.length, member });
    const swap = (which) => h("button.quiet", { type: "button", "aria-pressed": String(text === null && member === which), data: { key: which }, on: { click: () => session.ask({ pair, member: which }) } },
      pairs ? ["… ", h("span.tokenchip", {}, token(pairs[pair]?.[`${which}_answer`] ?? ""))] : which);
    return [
      h("pre.code", { tabindex: "0", "aria-label": "prompt" }, lines(written, pairs?.[pair], member, text), h("span.blank", {}, best(session))),
      h("div.row", {},
        h("small", {}, text === null ? `prompt ${pair + 1}${pairs ? ` of ${pairs.length}` : ""}, which ends with` : "your own prompt"),
        swap("clean"), swap("corrupted"),
        pairs ? h("button.quiet", { type: "button", "aria-label": "previous prompt", data: { key: "before" }, on: { click: step(-1) } }, "‹") : null,
        pairs ? h("button.quiet", { type: "button", "aria-label": "next prompt", data: { key: "after" }, on: { click: step(1) } }, "›") : null),
    ];
  }

  show();
  return () => off.forEach((stop) => stop());
}

/** The circuit's own answer, shown where it would be written. */
function best(session) {
  const chosen = session.live.answer?.chosen;
  const side = chosen?.edited ?? chosen?.circuit;
  if (!side) return "";
  const first = side.answers.reduce((a, b) => (b.logit > a.logit ? b : a));
  const right = chosen.answer === null || chosen.answer === undefined || first.token === chosen.answer;
  return h(right ? "ins" : "del", { title: "the answer of the two that the circuit finds likelier" }, token(first.text));
}

/** The last lines of a prompt; where the two of a pair differ, the text is marked. */
function lines(written, pair, member, typed) {
  const cut = written.split("\n").slice(-2).join("\n");
  if (typed !== null || !pair) return cut;
  const other = pair[member === "clean" ? "corrupted" : "clean"].split("\n").slice(-2).join("\n");
  if (other.length !== cut.length) return cut;
  const parts = [];
  let start = 0;
  for (let i = 0; i < cut.length; i++) {
    if (cut[i] === other[i]) continue;
    parts.push(cut.slice(start, i), h("mark", {}, cut[i]));
    start = i + 1;
  }
  return [...parts, cut.slice(start)];
}

/** What the model says now, with what is switched off; and what it goes on with. */

import { fill, h, refill } from "../dom.js";
import { over } from "./model.js";
import { number, percent, signed, token } from "../words.js";

/** Fill the box of a side. */
export function now(host, tracer, side) {
  const show = () => {
    if (!side.data) return fill(host);
    const { data, live } = side;
    const before = data.difference;
    const after = live?.now.difference ?? before;
    const list = (live?.now ?? data).top;
    const { size, empty } = tracer.cut;
    const turned = Math.sign(before) !== Math.sign(after);
    return refill(host,
      h("div.figures", { data: { busy: side.busy ? "yes" : "" } },
        h("span.big", {}, h("b", { data: { now: after.toFixed(3) } }, signed(after)), h("small", {}, "nats")),
        h("span.word", {}, over(data), empty || !live ? null : h("small", {}, ` was ${signed(before)}`), turned ? h("b.bad", {}, " turned") : null)),
      h("p.chips", {}, h("span.soft", {}, "next"), list.slice(0, 5).map((t) => h("span.tokenchip", {}, token(t.text), ` ${percent(t.p)}`))),
      h("div.row", {},
        h("button", { type: "button", data: { key: "go on" }, on: { click: () => tracer.goOn() } }, "Go on from here"),
        empty ? null : [h("span.edits", {}, `${size} changed`),
          h("button.quiet", { type: "button", data: { key: "undo" }, on: { click: () => tracer.cut.undo() } }, "Undo"),
          h("button.quiet", { type: "button", data: { key: "all on" }, on: { click: () => tracer.cut.reset() } }, "All on")]),
      side.wrong ? h("p.error", { role: "alert" }, side.wrong) : null,
      goes(live));
  };
  const off = ["traced", "live", "held"].map((name) => tracer.on(name, show));
  show();
  return () => off.forEach((stop) => stop());
}

function goes(live) {
  if (!live || live.now.text === null) return null;
  const same = live.before.text === live.now.text;
  return h("div.goes", {}, same ? null : h("div", {}, h("small", {}, "as it was"), h("pre.code", {}, live.before.text || "(ends here)")),
    h("div", {}, h("small", {}, same ? "it goes on" : "as changed"), h("pre.code", {}, live.now.text || "(ends here)")));
}

/** The logit difference after each part of the model, as bars, and as a table. */
export function lens(host, data) {
  if (!data.lens.length) return fill(host);
  const most = d3.max(data.lens, (part) => Math.abs(part.difference)) || 1;
  return fill(host,
    h("h2", {}, "The answer by layer"),
    h("p.soft", {}, over(data), ", in nats, if the model stopped after each part."),
    h("ol.lens", { tabindex: "0", "aria-label": "the difference after each part" }, data.lens.map((part) => h("li", {},
      h("span.soft", {}, part.after),
      h("span.axis", {}, h(`i.${part.difference > 0 ? "plus" : "minus"}`, { style: { width: `${(50 * Math.abs(part.difference)) / most}%` } })),
      h("span.n", {}, number(part.difference, 2))))));
}

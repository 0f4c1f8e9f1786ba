/** The chosen group: its heads, its strongest nodes, and of one node its value and its texts. */

import { poll } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { heat } from "../parts/heat.js";
import { count, kind, number, numbered, place, signed } from "../words.js";

/** Fill the panel. */
export function card(host, asking) {
  let stop = new AbortController();
  let rows = [];
  let total = 0;
  let ranked = false;
  let wrong = "";
  const body = h("div");
  const text = h("div.texts");
  fill(host, body, text);

  async function load(more = false) {
    const group = asking.chosen;
    if (!group) return show();
    try {
      const found = await asking.nodes(group, more ? rows.length : 0);
      if (group !== asking.chosen) return;
      rows = more ? [...rows, ...found.nodes] : found.nodes;
      [total, ranked, wrong] = [found.total, found.ranked, ""];
    } catch (error) {
      wrong = error.message;
    }
    show();
  }

  function show() {
    const group = asking.groups.get(asking.chosen);
    if (!group) return refill(body, h("h2", {}, "Choose a group"), h("p.soft", {}, "A number in the table stands for the kept nodes of one site. Choosing it lists them, and lets you switch them off together or one by one."), wrong ? h("p.error", { role: "alert" }, wrong) : null);
    const [key, head] = asking.chosen.split(":");
    const site = asking.groups.get(key);
    return refill(body,
      h("h2", {}, place(key), head === undefined ? "" : `, head ${head}`),
      h("p.soft", {}, asking.overview.latents ? `Nodes: ${count(asking.overview.latents[key] ?? 0)} latents, then the channels of what they miss` : kind(key), `. ${count(group.nodes)} kept`, group.rise === null ? "." : `; without all of them the loss changes by ${signed(group.rise, 3)} nats, to first order.`),
      h("div.row", {}, toggle(asking.chosen, "Switch the group off", "Switch it on again"), head === undefined ? null : h("button.quiet", { type: "button", data: { key: "site" }, on: { click: () => asking.choose(key) } }, "All heads")),
      site.heads?.length ? h("p.chips", {}, h("span.soft", {}, "heads "), site.heads.filter((one) => one.nodes).map((one) => h("button", { type: "button", "aria-pressed": String(one.name === asking.chosen), data: { key: one.name }, title: one.rise === null ? "" : `${signed(one.rise, 3)} nats without`, on: { click: () => asking.choose(one.name) } }, `${one.name.split(":")[1]}: ${count(one.nodes)}`))) : null,
      wrong ? h("p.error", { role: "alert" }, wrong) : null,
      h("h3", {}, ranked ? "Nodes, the strongest first" : "Nodes, by channel until their strength is measured"),
      h("div.table.nodes", {}, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "node"), h("th.n", { scope: "col" }, "nats without"), h("th", {}, ""))), h("tbody", {}, rows.map(line)))),
      rows.length < total ? h("button", { type: "button", data: { key: "more" }, on: { click: () => load(true) } }, `More (${count(rows.length)} of ${count(total)} shown)`) : null);
  }

  function toggle(name, off, on) {
    const now = asking.off.has(name);
    return h("button.switch", { type: "button", "aria-pressed": String(now), data: { key: `switch ${name}` }, on: { click: () => asking.toggle(name) } }, now ? on : off);
  }

  function line(row) {
    const chosen = row.node === asking.node;
    return h("tr", { "aria-current": chosen ? "true" : null },
      h("td.mono", {}, h("button.jump", { type: "button", data: { key: row.node }, on: { click: () => asking.choose(asking.chosen, row.node) } }, row.node), row.part === "channel" ? null : h("small.soft", {}, ` ${numbered(row)}`), row.meaning?.good ? h("span.tokenchip", {}, row.meaning.label) : null),
      h("td.n", {}, row.rise === null ? "–" : signed(row.rise, 4)), h("td", {}, toggle(row.node, "off", "on")));
  }

  function node() {
    stop.abort();
    stop = new AbortController();
    const { signal } = stop;
    const id = asking.node;
    if (!id) return fill(text);
    let over = "task";
    const said = h("div");
    const picks = h("span", { role: "group", "aria-label": "text" });
    const pick = (key, words) => h("button", { type: "button", "aria-pressed": String(over === key), data: { key: `over ${key}` }, on: { click: () => ((over = key), read()) } }, words);
    const slider = h("input", { type: "range", id: "held", min: -4, max: 4, step: 0.02, "aria-label": `value of ${id}` });
    const shown = h("output", { for: "held" });
    const free = h("button.quiet", { type: "button", on: { click: () => asking.steer(id, null) } }, "Let it run");
    const value = () => {
      slider.value = asking.held.get(id) ?? 0;
      shown.textContent = asking.held.has(id) ? `set to ${number(asking.held.get(id), 2)}` : "runs freely";
      free.disabled = !asking.held.has(id);
    };
    slider.addEventListener("change", () => asking.steer(id, Number(slider.value)));
    fill(text, h("h2", {}, id), h("div.steer", {}, h("div.row", {}, h("label", { for: "held" }, "Set its value"), shown, free), slider), h("div.row", {}, picks), said);
    const read = () => {
      refill(picks, pick("task", "Prompts"), " ", pick("natural", "Natural text"));
      fill(said, h("p.soft", { role: "status" }, "Reading…"));
      const wanted = over;
      const seen = (found) => {
        if (wanted !== over) return;
        if (found.state === "computing") return fill(said, h("p.soft", { role: "status" }, `Reading: ${found.done} of ${found.total || "…"} pieces of text`));
        const reach = Math.max(Math.abs(found.minimum), Math.abs(found.maximum), 1e-9);
        if (over === "task") [slider.min, slider.max, slider.step] = [-1.5 * reach, 1.5 * reach, reach / 100];
        value();
        return fill(said, h("p.soft", {}, `From ${number(found.minimum, 2)} to ${number(found.maximum, 2)}, mean ${number(found.mean, 3)}, at ${count(found.tokens)} tokens of the whole model.`),
          found.groups.filter((g) => g.examples.length && g.name !== "random").slice(0, 3).map((g) => h("section", {}, h("h3", {}, g.title), h("ul.examples", {}, once(g.examples).slice(0, 4).map((e) => heat(e, reach))))));
      };
      poll(() => asking.activations(id, wanted), (found) => found.state !== "computing" || wanted !== over, seen, signal, 700).catch((error) => signal.aborted || fill(said, h("p.error", { role: "alert" }, error.message)));
    };
    value();
    read();
    const off = asking.on("cut", value);
    return signal.addEventListener("abort", off);
  }

  let before = { group: "", node: "" };
  const chosen = () => {
    if (before.group !== asking.chosen) load();
    else show();
    if (before.node !== asking.node) node();
    before = { group: asking.chosen, node: asking.node };
  };
  const off = [asking.on("chosen", chosen), asking.on("cut", show), asking.on("measured", () => asking.overview.strengths.state === "ready" && load())];
  show();
  chosen();
  return () => {
    stop.abort();
    off.forEach((end) => end());
  };
}

/** The two prompts of a pair say the same before they part: one of them is enough. */
function once(examples) {
  const seen = new Set();
  return examples.filter((e) => {
    const key = `${e.source} ${e.pair} ${e.at} ${e.values[e.at]}`;
    return !seen.has(key) && seen.add(key);
  });
}

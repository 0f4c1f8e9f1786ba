/** The panel beside the grid: what carried the answer most, or everything about what is chosen. */

import { send } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { meaning } from "../parts/meaning.js";
import { address } from "../state.js";
import { kind, number, percent, place, signed, token } from "../words.js";
import { graph, label, name } from "./model.js";
import { texts } from "./texts.js";

const FIRST = 12;
const NEIGHBOURS = 12;

/** Fill the panel, and follow what is chosen. */
export function card(host, tracer) {
  const cards = new Map();
  let turn = 0;
  const show = () => {
    const { side, chosen } = tracer;
    turn += 1;
    if (!side?.data) return fill(host);
    if (side.whole?.measure !== tracer.measure) side.whole = Object.assign(graph(side.data, { shown: Infinity, by: "each", measure: tracer.measure }), { measure: tracer.measure });
    const found = side.whole;
    if (chosen === null) return first(host, tracer, found);
    if (chosen.startsWith("group:")) return group(chosen.slice(6).split("+"), found);
    const one = found.byId.get(chosen);
    if (one?.site === "answer") return first(host, tracer, found);
    if (one?.site === "token") return word(one, found);
    return node(chosen, one, found, turn);
  };

  function group(members, found) {
    const parts = members.map((id) => found.byId.get(id)).filter(Boolean);
    const own = tracer.groups.some((list) => list.join() === members.join());
    fill(host, head("A group of nodes", `${parts.length} nodes, ${signed(d3.sum(parts, (n) => n.effect))} nats together`, tracer),
      h("div.row", {}, toggle(tracer, members, "main"), own ? h("button", { type: "button", on: { click: () => (tracer.choose(null), tracer.ungroup(members)) } }, "Dissolve") : null),
      h("ul.links", {}, parts.map((one) => line(tracer, one, one.effect, found))));
  }

  function word(one, found) {
    fill(host, head("A token of the prompt", `token ${one.token + 1} of ${found.data.tokens.length}`, tracer),
      h("p", {}, h("span.tokenchip", {}, token(one.text, 40))),
      one.effect === null ? null : h("p.soft", {}, `Through its embedding come ${signed(one.effect)} of ${signed(found.data.difference)} nats.`),
      near("Goes to", one.out, "to", found));
  }

  function node(id, one, found, mine) {
    const [plain, at] = id.split("@");
    const key = plain.slice(0, plain.lastIndexOf("."));
    const more = h("div.more", {}, h("p.soft", { role: "status" }, "Looking…"));
    const steer = h("div");
    const switches = h("div.switches");
    const draw = () => refill(switches, h("div.row", {}, toggle(tracer, [id], "main"), at === undefined ? null : toggle(tracer, [plain], "everywhere")), steer);
    draw();
    const pinned = tracer.pins.includes(id);
    const { data } = found;
    fill(host, head(kind(key), id, tracer),
      h("p.row", {}, at === undefined ? "at every token" : ["at token ", h("span.tokenchip", {}, token(data.tokens[at] ?? "?"))],
        one ? h("button.quiet", { type: "button", id: "pin", data: { key: "pin" }, "aria-pressed": String(pinned), on: { click: () => (tracer.pin(id), show()) } }, pinned ? "Pinned" : "Pin") : null),
      meaning(one?.meaning), hint(one, data),
      one ? h("dl.facts", {}, fact("carries, nats", signed(one.carries)), one.interchange === undefined ? null : fact("with its value on the partner, nats less", signed(one.interchange)), fact("value", number(one.value)), fact("usual value", number(one.mean))) : h("p.soft", {}, "Not among the nodes that the trace keeps."),
      switches,
      one ? near("Comes from", one.into, "from", found, one.rest) : null,
      one ? near("Goes to", one.out, "to", found) : null,
      more, texts(tracer, tracer.side.model, plain));
    ask(id, plain, found, mine).then((answer) => {
      if (mine !== turn) return;
      fill(steer, slider(tracer, id, answer));
      fill(more, around(tracer, answer, found, one));
    }, (error) => mine === turn && fill(more, h("p.error", { role: "alert" }, error.message)));
  }

  async function ask(id, plain, found) {
    const { side } = tracer;
    const key = `${side.model} ${side.text} ${id} ${side.data.ids.answer} ${side.data.ids.rival}`;
    if (!cards.has(key)) cards.set(key, await send("POST", ["models", side.model, "near"], { text: side.text, ...side.data.ids, node: id }, tracer.stop.signal));
    return cards.get(key);
  }

  function near(words, list, end, found, rest = 0) {
    if (!list.length) return null;
    return h("details.near", { open: true }, h("summary", {}, `${words} (${list.length})`),
      h("ul.links", {}, list.slice(0, NEIGHBOURS).map((link) => line(tracer, link[end], link.weight, found)),
        Math.abs(rest) > 0.005 ? h("li", {}, h("span.soft", {}, "what is not shown, and biases"), h("span.n", {}, signed(rest))) : null));
  }

  const measured = () => side() && show();
  const side = () => tracer.side?.whole && tracer.side.whole.measure !== tracer.measure;
  const off = [tracer.on("traced", show), tracer.on("chosen", show), tracer.on("view", measured), tracer.on("held", () => held(host, tracer))];
  show();
  return () => off.forEach((stop) => stop());
}

/** What this trace alone says of a node that nobody has explained. */
function hint(one, data) {
  if (!one?.hint || one.meaning?.good) return null;
  const { from, towards } = one.hint;
  return h("div.hint", {}, h("p.soft", {}, "Not explained. By this trace alone:"),
    from.length ? h("p.chips", {}, h("span.soft", {}, "from"), from.map((part) => h("span.tokenchip", {}, token(data.tokens[part.token]), ` ${percent(part.share)}`))) : null,
    towards.length ? h("p.chips", {}, h("span.soft", {}, "towards"), towards.map((text) => h("span.tokenchip", {}, token(text)))) : null);
}

/** What stands in the panel first: the nodes and the tokens that carried most. */
function first(host, tracer, found) {
  const { data } = found;
  const nodes = found.items.filter((one) => one.site !== "token" && one.site !== "answer").slice(0, data.nodes.length);
  nodes.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  const most = Math.abs(nodes[0]?.effect ?? 1);
  const words = found.items.filter((one) => one.site === "token" && one.effect !== null);
  words.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  fill(host,
    h("h2", {}, tracer.measure ? "What the partner would take away most" : "What carried it most"),
    h("ol.matters", {}, nodes.slice(0, FIRST).map((one) => h("li", {},
      h("button.name", { type: "button", data: { key: `name ${one.id}` }, on: { click: () => tracer.choose(one.id) } }, title(one, found), h("span.meter", {}, h(`span.fill.${one.effect > 0 ? "plus" : "minus"}`, { style: { width: `${(100 * Math.abs(one.effect)) / most}%` } }))),
      toggle(tracer, [one.id])))),
    words.length ? h("h2.apart", {}, "The tokens it comes from") : null,
    words.length ? h("ul.links", {}, words.slice(0, 6).map((one) => line(tracer, one, one.effect, found))) : null);
}

function title(one, found) {
  return h("span.title", {}, h("span.what", {}, `${place(one.key)} ${one.channel ?? ""}`), one.label ? h("span.tokenchip", { title: label(one, 200) }, one.label) : null,
    h("small.at", {}, h("b", {}, signed(one.effect)), " at ", h("span.tokenchip", {}, token(found.data.tokens[one.token]))));
}

/** A node of a list: its name leads to it, and how much. */
function line(tracer, one, weight, found) {
  const words = one.text !== undefined ? [h("span.tokenchip", {}, token(one.text)), one.site === "token" ? "" : " answer"] : [h("span.what", {}, one.title ?? `${place(one.key)} ${one.channel}`), h("span.tokenchip", {}, token(found.data.tokens[one.token]))];
  return h("li", {}, h("button.jump", { type: "button", title: name(one, found.data), on: { click: () => tracer.choose(one.id) } }, words), h("span.n", {}, signed(weight)));
}

/** What was asked about the node itself: measured, around it, by the weights, its head, its circuits. */
function around(tracer, answer, found, one) {
  const other = (words, list, unit) => list.length
    ? h("details.near", { open: !one }, h("summary", {}, words), h("p.soft", {}, unit),
        h("ul.links", {}, list.map((n) => h("li", {},
          h("button.jump", { type: "button", on: { click: () => tracer.choose(`${n.node}@${n.token}`) } }, h("span.what", {}, n.node), h("span.tokenchip", {}, token(found.data.tokens[n.token]))), h("span.n", {}, signed(n.weight))))))
    : null;
  return [
    h("dl.facts", {}, fact("switched off here, measured: nats less", signed(answer.effect)), one ? null : [fact("value", number(answer.value)), fact("usual value", number(answer.mean))]),
    one ? null : meaning(answer.meaning),
    answer.looks.map((look) => h("p", {}, seen(tracer, look, found))),
    weights("Switched on by, of all tokens", answer.weights?.reads), weights("Pushes towards, of all tokens", answer.weights?.writes),
    other("What drives it, of all nodes", answer.drives, "In units of its value; nodes that hand on to each other are both named."),
    other("What it drives, of all nodes", answer.driven, "Nats that change through each when this one is switched off here."),
    answer.circuits.length ? h("p.row", {}, h("span.soft", {}, "In circuits"), answer.circuits.map((id) => h("a.code", { href: address(["circuit", id], { node: answer.node }) }, id))) : null,
    answer.circuits.length ? h("p", {}, h("a.button", { href: address(["circuit", answer.circuits[0], "text"], { node: answer.node }) }, "See it in text")) : null,
  ];
}

/** Where a head looks, in a sentence whose channels lead on. */
export function seen(tracer, look, found) {
  const chip = (at) => h("span.tokenchip", {}, token(found.data.tokens[at]));
  const channel = ([c, nats], i) => [i ? ", " : "", h("button.jump", { type: "button", on: { click: () => tracer.choose(`${look.layer}.attn_q.${c}@${look.query}`) } }, `channel ${c}`), ` ${signed(nats)}`];
  return [`Head ${look.layer}.${look.head} looks from `, chip(look.query), " at ", chip(look.key), ` (${percent(look.share)})`, look.products.length ? [", since its query and key meet in ", look.products.map(channel)] : null, "."];
}

function weights(words, found) {
  if (!found) return null;
  const chips = (list, sign) => (list?.length ? h("p.chips", {}, h(`span.sign.${sign}`, { title: sign === "plus" ? "more" : "less" }, sign === "plus" ? "+" : "−"), list.slice(0, 8).map((t) => h("span.tokenchip", { title: signed(t.weight) }, token(t.text)))) : null);
  return h("div", {}, h("h3", {}, words), chips(found.positive, "plus"), chips(found.negative, "minus"));
}

/** Switches nodes off and on; of a node at a token, the node at every token is another thing. */
export function toggle(tracer, ids, look = "") {
  const everywhere = look === "everywhere";
  const words = () => {
    const off = ids.every((id) => tracer.cut.isOff(id));
    return everywhere ? (off ? "On at all tokens" : "Off at all tokens") : off ? "Switch on" : "Switch off";
  };
  const button = h(`button.switch${look === "main" ? ".main" : ""}`, { type: "button", data: { key: `off ${ids.join("+")}`, ids: ids.join("+"), look }, "aria-pressed": String(ids.every((id) => tracer.cut.isOff(id))), "aria-label": `${words().toLowerCase()}: ${ids.length > 1 ? `${ids.length} nodes` : ids[0]}`, on: { click: () => tracer.cut.toggle(...ids) } }, words());
  return button;
}

/** The switches that stand there, in step with what is held. */
function held(host, tracer) {
  for (const button of host.querySelectorAll("button.switch")) {
    const focused = document.activeElement === button;
    const next = toggle(tracer, button.dataset.ids.split("+"), button.dataset.look);
    button.replaceWith(next);
    if (focused) next.focus();
  }
}

/** The slider that holds a node at a value. */
function slider(tracer, id, answer) {
  const reach = Math.max(Math.abs(answer.value), Math.abs(answer.mean), 0.1) * 3;
  const field = `set-${id}`;
  const said = h("output", { for: field });
  const range = h("input", { type: "range", id: field, min: -reach, max: reach, step: reach / 200, "aria-label": `value of ${id}` });
  const free = h("button.quiet", { type: "button", on: { click: () => (tracer.cut.steer(id, null), draw()) } }, "Let it run");
  const draw = () => {
    const value = tracer.cut.now.values[id];
    range.value = value ?? answer.value;
    said.textContent = value === undefined ? "runs freely" : `set to ${number(value, 2)}`;
    free.disabled = value === undefined;
  };
  range.addEventListener("input", () => (tracer.cut.steer(id, Number(range.value)), draw()));
  range.addEventListener("change", () => tracer.cut.settle());
  draw();
  return h("div.steer", {}, h("div.row", {}, h("label", { for: field }, "Set its value"), said, free), range);
}

function head(words, id, tracer) {
  return h("div.cardhead", {}, h("div", {}, h("h2", {}, words), h("small.code", {}, id)),
    h("button.quiet", { type: "button", "aria-label": "back to what carried it most", on: { click: () => tracer.choose(null) } }, "✕"));
}

function fact(words, value) {
  return [h("dt", {}, words), h("dd", {}, value)];
}

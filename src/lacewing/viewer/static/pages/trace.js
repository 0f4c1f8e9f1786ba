/** Trace: type a prompt, and see which nodes at which tokens carried the answer. */

import { get, readOnly } from "../api.js";
import { fill, h, quietly, refill, say } from "../dom.js";
import { address, go, read } from "../state.js";
import { count, number, percent, signed, token } from "../words.js";
import { card, seen } from "../trace/card.js";
import { grid } from "../trace/grid.js";
import { graph, name, over } from "../trace/model.js";
import { lens, now } from "../trace/now.js";
import { both, list } from "../trace/table.js";
import { Tracer, wanted } from "../trace/tracer.js";

const EXAMPLE = "    print('No reviews";
const GROUPS = [["", "nodes explained alike"], ["each", "each node at each token"], ["tokens", "a node over its tokens"], ["heads", "a head’s queries, keys, values"], ["alike", "nodes alike, by hints too"]];

/** Show the form, and what the address asks to be traced. */
export async function show(main, query, current) {
  if (readOnly) {
    fill(main, h("header.plain", {}, h("h1", {}, "Trace an answer"), h("p.lead", {}, "This copy is read-only and holds no model: run lacewing view to trace answers.")));
    return () => {};
  }
  const { models } = await get(["traceable"]);
  if (!current()) return () => {};
  const sides = wanted(read(), models);
  const tracer = new Tracer(query);
  const places = { form: h("form.ask"), work: h("div.tracework") };
  fill(main, h("header.plain", {}, h("h1", {}, "Trace an answer"), sides.length ? null : h("p.lead", {}, "Type a prompt that stops where the answer should come: which nodes at which tokens carried the answer against another?")), places.form, places.work);
  form(places.form, models, query);
  if (!sides.length) return () => tracer.close();
  document.title = `${token(query.text.split("\n").at(-1), 40)}: lacewing`;
  const leave = work(places.work, tracer, models, sides.length);
  tracer.start(sides);
  return () => {
    leave();
    tracer.close();
  };
}

/** What is to be traced: the prompt, the two answers, the model, and what to compare with. */
function form(host, models, query) {
  const chosen = models.some((m) => m.id === read().path[1]) ? read().path[1] : models[0]?.id;
  const choices = (empty) => [empty ? h("option", { value: "" }, empty) : null, ...models.map((m) => h("option", { value: m.id }, m.name))];
  const model = h("select", { id: "model" }, choices(null));
  model.value = chosen;
  const text = h("textarea", { id: "prompt", rows: Math.min(Math.max((query.text ?? "\n\n").split("\n").length, 2), 6), maxlength: 4000, spellcheck: "false", placeholder: EXAMPLE });
  text.value = query.text ?? "";
  const end = (id, words) => h("input", { type: "text", id, value: query[id] ?? "", placeholder: words, maxlength: 200, autocomplete: "off", spellcheck: "false", size: 10 });
  const [answer, rival] = [end("answer", "the likeliest"), end("rival", "the next")];
  const vs = h("textarea", { id: "vs", rows: 2, maxlength: 4000, spellcheck: "false", placeholder: "the same prompt" });
  vs.value = query.vs ?? "";
  const other = h("select", { id: "with" }, choices("the same model"));
  other.value = query.with ?? "";
  const partner = h("textarea", { id: "partner", rows: 2, maxlength: 4000, spellcheck: "false", placeholder: "as many tokens as the prompt" });
  partner.value = query.partner ?? "";
  const seek = h("input", { type: "checkbox", id: "seek", checked: query.seek === "1" });
  const wrong = h("p.error", { role: "alert", hidden: true });
  const submit = (event) => {
    event?.preventDefault();
    wrong.hidden = text.value !== "";
    wrong.textContent = "Type a prompt first.";
    if (!text.value) return text.focus();
    const next = { text: text.value, answer: answer.value, rival: rival.value, vs: vs.value, with: other.value, partner: partner.value, seek: seek.checked && !partner.value ? "1" : "" };
    const to = address(["trace", model.value], next);
    return to === location.hash ? dispatchEvent(new PopStateEvent("popstate")) : go(["trace", model.value], next);
  };
  host.addEventListener("submit", submit);
  text.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && submit(event));
  fill(host,
    h("label", { for: "prompt" }, "Prompt"), text,
    h("div.row", {},
      h("label", { for: "model" }, "Model"), model,
      h("label", { for: "answer" }, "Answer"), answer,
      h("label", { for: "rival" }, "instead of"), rival,
      h("button.main", { type: "submit" }, "Trace")),
    h("details", { open: Boolean(query.vs || query.with) }, h("summary", {}, "Compare with another prompt or model"),
      h("div.versus", {}, h("div", {}, h("label", { for: "vs" }, "Other prompt"), vs), h("div", {}, h("label", { for: "with" }, "Other model"), other))),
    h("details", { open: Boolean(query.partner || query.seek) }, h("summary", {}, "Exchange nodes with a partner prompt"),
      h("div.versus", {}, h("div", {}, h("label", { for: "partner" }, "Partner prompt"), partner),
        h("p.row", {}, seek, h("label", { for: "seek" }, "Find one: the likely change of one token that turns the answer most")))),
    wrong);
}

function work(host, tracer, models, many) {
  const frames = d3.range(many).map(() => h("section.stage"));
  const side = h("aside.panel", { "aria-label": "details" });
  const tools = h("div.tools");
  const below = { both: h("section.sidebyside"), looks: h("section"), lens: h("section"), all: h("details.all") };
  fill(host, tools, h(`div.work${many > 1 ? ".abreast" : ""}`, {}, h("div.left", {}, h("div.frames", {}, frames), below.both, h("div.below", {}, below.lens, below.looks)), side), below.all);
  const leave = [card(side, tracer), ...frames.map((frame, at) => stage(frame, tracer, models, at))];
  const find = search(tracer);
  const ready = () => {
    fill(tools, tracer.sides.some((one) => one.data) ? [find, limits(tracer), groups(tracer), measures(tracer)] : null);
    both(below.both, tracer);
    told();
  };
  const told = () => {
    const { data } = tracer.side ?? {};
    if (!data || below.of === data) return;
    below.of = data;
    lens(below.lens, data);
    reasons(below.looks, tracer, data);
    below.stop?.();
    below.stop = list(below.all, tracer, tracer.side);
    say(`traced: ${data.nodes.length} nodes`);
  };
  leave.push(tracer.on("traced", ready), tracer.on("chosen", told), () => below.stop?.());
  const pinning = () => fill(tools.querySelector("#pins") ?? h("span"), pins(tracer));
  leave.push(tracer.on("view", pinning));
  addEventListener("keydown", (event) => shortcut(event, tracer.cut), { signal: tracer.stop.signal });
  return () => leave.forEach((stop) => stop());
}

/** Ctrl Z undoes a switch, with Shift it is done again; in a field it is the field's. */
function shortcut(event, cut) {
  const typing = event.target.closest?.("input:not([type=range]),textarea,select");
  if (typing || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  event.preventDefault();
  event.shiftKey ? cut.redo() : cut.undo();
}

/** One side: what it says, and its grid. */
function stage(host, tracer, models, at) {
  const said = h("div.said");
  const frame = h("div.grid");
  const tip = h("div.tip", { hidden: true });
  const box = h("div.now", { "aria-label": "the answer now", role: "group" });
  fill(host, said, box, h("div.gridframe", {}, frame, tip));
  let stopNow = () => {};
  let found = null;
  const draw = () => {
    const side = tracer.sides[at];
    if (!side?.data) return;
    const chosen = at === tracer.at || tracer.sides[0].model === side.model ? tracer.chosen : null;
    const { off, values } = tracer.cut.now;
    found = graph(side.data, { shown: tracer.shown, pins: tracer.pins, chosen, held: [...off, ...Object.keys(values)], by: tracer.by, groups: tracer.groups, measure: tracer.measure });
    side.found = found;
    const matching = tracer.find ? new Set(found.items.filter((one) => matches(one, tracer.find, side.data))) : null;
    grid(frame, found, { chosen, pins: tracer.pins, off: new Set(off), values, matching, room: host.clientWidth }, {
      choose: (id) => tracer.choose(id, at),
      toggle: (one) => one.site !== "token" && one.site !== "answer" && tracer.cut.toggle(...(one.members ?? [one.id])),
      pin: (one) => one.site !== "token" && one.site !== "answer" && !one.members && tracer.pin(one.id),
      hover: (one, x, y) => hint(tip, frame, one, x, y, side.data),
      find: () => document.getElementById("find")?.focus(),
    });
  };
  const show = () => {
    const side = tracer.sides[at];
    if (!side) return;
    stopNow();
    stopNow = now(box, tracer, side);
    refill(said, head(side, models, tracer));
    draw();
  };
  const watch = new ResizeObserver(quietly(60, draw));
  watch.observe(host);
  const off = [tracer.on("traced", show), ...["chosen", "view", "held"].map((event) => tracer.on(event, draw))];
  show();
  return () => {
    watch.disconnect();
    stopNow();
    off.forEach((stop) => stop());
  };
}

/** What was traced and how well, in two sentences; or how far it is; or what was wrong. */
function head(side, models, tracer) {
  const called = models.find((m) => m.id === side.model)?.name ?? side.model;
  const title = h("h2", {}, h("span.code", {}, called), tracer.sides.length > 1 ? h("span.tokenchip", {}, token(side.text.split("\n").at(-1), 40)) : null);
  if (side.error) return [title, h("p.error", { role: "alert" }, side.error)];
  if (!side.data) {
    const { done = 0, total = 1, note = "" } = side.progress ?? {};
    const waits = side.state === "waiting";
    return [title, h("p.soft", { role: "status" }, waits ? "Waiting for the other side" : `${note || "Waiting its turn"}…`),
      h("div.row", {}, h("progress", { max: total || 1, value: waits ? 0 : done, "aria-label": "trace" }), h("button.quiet", { type: "button", id: "cancel", data: { key: "cancel" }, on: { click: () => tracer.cancel() } }, "Cancel"))];
  }
  const { data } = side;
  const ours = data.completeness !== undefined;
  return [title, h("p.lead", {}, h("b", {}, over(data), ` by ${number(data.difference, 2)} nats`), ` (${percent(data.chance, 1)} of all tokens). `,
    ours
      ? `${count(data.kept)} of ${count(data.live)} nodes at tokens carry ${percent(data.completeness)} of it, exactly, with norms and attention held.`
      : `The ${count(data.kept)} largest of ${count(data.live)} nodes at tokens; an effect is what switching the node off should take away, by attribution.`),
    data.partner ? h("p.lead.partner", {}, data.partner.found ? "Found partner: " : "Partner: ",
      data.partner.changed.slice(0, 6).map((at, i) => [i ? ", " : "", h("span.tokenchip", {}, token(data.tokens[at])), " is ", h("span.tokenchip", {}, token(data.partner.tokens[at]))]),
      data.partner.changed.length > 6 ? ` and ${data.partner.changed.length - 6} more` : data.partner.changed.length ? "" : "the same prompt", `; there the difference is ${signed(data.partner.difference)} nats.`) : null];
}

function hint(tip, frame, one, x, y, data) {
  tip.hidden = !one;
  if (!one) return;
  fill(tip, h("b", {}, name(one, data)), one.label ? h("span.tokenchip", {}, one.label) : null, one.effect === null || one.effect === undefined ? null : h("span", {}, `${signed(one.effect)} nats`));
  const scroll = frame.querySelector(".gridscroll");
  const left = scroll.offsetLeft + x - scroll.scrollLeft;
  tip.style.left = `${Math.max(Math.min(left + 12, frame.clientWidth - tip.offsetWidth - 6), 4)}px`;
  tip.style.top = `${y > 60 ? y - tip.offsetHeight - 10 : y + 16}px`;
}

function matches(one, words, data) {
  return `${one.id} ${one.label ?? ""} ${one.text ?? ""} ${name(one, data)} ${one.meaning?.good ? `${one.meaning.text} ${one.meaning.predicate}` : ""} ${(one.members ?? []).join(" ")}`.toLowerCase().includes(words);
}

/** Find nodes of the trace; or any node of the model, by its name. */
function search(tracer) {
  const field = h("input", { type: "search", id: "find", placeholder: "node, token or meaning", autocomplete: "off", spellcheck: "false", "aria-label": "Find" });
  const said = h("small", { id: "found", role: "status" });
  const look = quietly(100, () => {
    tracer.find = field.value.trim().toLowerCase();
    tracer.look();
    tell();
  });
  const tell = () => {
    const { found } = tracer.side ?? {};
    const some = tracer.find && found ? found.items.filter((one) => matches(one, tracer.find, found.data)) : [];
    said.textContent = tracer.find ? `${some.length} found` : "";
  };
  field.value = tracer.find;
  tracer.on("traced", tell);
  field.addEventListener("input", look);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const words = field.value.trim();
    const { found } = tracer.side;
    const any = /^(\d+\.[a-z_]+|resid_final)\.\d+(@\d+)?$/.test(words) ? words : null;
    const some = found.items.filter((one) => matches(one, words.toLowerCase(), found.data));
    if (words) tracer.choose(some[0]?.id ?? any ?? tracer.chosen);
  });
  return h("div.find", {}, field, said);
}

function limits(tracer) {
  const most = Math.max(...tracer.sides.map((one) => one.data?.nodes.length ?? 1));
  const said = h("output", { for: "limit" });
  const slider = h("input", { type: "range", id: "limit", min: 1, max: most, value: Math.min(tracer.shown, most), "aria-label": "nodes drawn" });
  const tell = () => (said.textContent = `${Math.min(tracer.shown, most)} of ${most}`);
  slider.addEventListener("input", () => ((tracer.shown = Number(slider.value)), tell(), tracer.look()));
  tell();
  return h("div.limits", {}, h("label", { for: "limit" }, "Nodes"), slider, said);
}

function groups(tracer) {
  const pick = h("select", { id: "by", "aria-label": "group" }, GROUPS.map(([key, words]) => h("option", { value: key }, words)));
  pick.value = tracer.by;
  pick.addEventListener("change", () => ((tracer.by = pick.value), tracer.look()));
  return h("div.row", {}, h("label", { for: "by" }, "Draw"), pick, h("span", { id: "pins" }, pins(tracer)));
}

/** What a node's size says, where there is a partner prompt. */
function measures(tracer) {
  if (!tracer.sides.some((one) => one.data?.partner)) return null;
  const pick = h("select", { id: "measure" }, [["", "what it carries"], ["partner", "what its value on the partner takes away"]].map(([key, words]) => h("option", { value: key }, words)));
  pick.value = tracer.measure;
  pick.addEventListener("change", () => ((tracer.measure = pick.value), tracer.look()));
  return h("div.row", {}, h("label", { for: "measure" }, "Size"), pick);
}

function pins(tracer) {
  const { pins: pinned } = tracer;
  if (!pinned.length) return null;
  return [h("small", {}, `${pinned.length} pinned`), " ", pinned.length > 1 ? h("button", { type: "button", on: { click: () => tracer.group() } }, "Group them") : null,
    h("button.quiet", { type: "button", on: { click: () => ((tracer.pins = []), tracer.look()) } }, "Unpin")];
}

/** Where the heads looked that carried most, and why. */
function reasons(host, tracer, data) {
  if (!data.looks.length) return fill(host);
  return refill(host, h("h2", {}, "Where its heads looked"), h("ul.looklist", {}, data.looks.map((look) => h("li", {}, seen(tracer, look, { data })))));
}

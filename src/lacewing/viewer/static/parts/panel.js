/** The panel beside the graph: what matters most, or everything about what is chosen. */

import { get, readOnly } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { count, kind, signed, token } from "../words.js";
import { across } from "./across.js";
import { meaning } from "./meaning.js";
import { edgesAt, matters, toggle } from "./matters.js";
import { nodeText } from "./names.js";
import { notes } from "./notes.js";
import { steer } from "./steer.js";
import { address, read } from "../state.js";

/** Fill the panel, and follow what is chosen. */
export function panel(host, session) {
  let leave = [];
  let turn = 0;
  const show = () => {
    leave.forEach((stop) => stop());
    leave = [];
    turn += 1;
    const id = session.chosen;
    const link = id === null ? undefined : session.graph.edgeIndex.get(id);
    const node = id === null ? undefined : session.graph.byId.get(id);
    host.scrollTop = 0;
    if (link !== undefined) edge(link, id);
    else if (node?.text !== undefined) word(node);
    else if (node) one(node, turn);
    else if (id?.startsWith("supernode:")) group(id);
    else {
      fill(host, h("div"), notesBox("circuit"));
      leave.push(matters(host.firstChild, session));
    }
  };

  function group(id) {
    const found = session.notes.supernodes.find((one) => `supernode:${one.id}` === id);
    if (!found) return session.choose(null);
    const off = () => found.members.every((member) => session.cut.isOff(member));
    const line = h("div.row");
    const draw = () => refill(line, readOnly ? null : h("button.main", { type: "button", data: { key: "all" }, "aria-pressed": String(off()), on: { click: () => session.cut.toggle(...found.members) } }, off() ? "Switch all on" : "Switch all off"));
    fill(host, head("A group of nodes", found.name, session), line,
      h("ul.links", {}, found.members.map((member) => session.graph.byId.get(member)).filter(Boolean).map((node) => h("li", {}, jump(session, node), h("small.code", {}, node.id)))),
      notesBox(`supernode:${found.name}`));
    draw();
    leave.push(session.on("cut", draw));
    return null;
  }

  function edge(link, id) {
    const { nodes, links } = session.graph;
    const [from, to] = [nodes[links.source[link]], nodes[links.destination[link]]];
    const own = h("div.switches");
    fill(host,
      head("An edge", id, session),
      h("p", {}, jump(session, from), h("span.arrow", {}, "→"), jump(session, to)),
      h("dl.facts", {}, fact("weight", signed(links.weight[link], 3)), session.effect(id) === undefined ? null : fact("switched off, the loss changes by", signed(session.effect(id), 3)), slack(session.circuit.edges.slack?.[link])),
      own, notesBox(id));
    leave.push(follow(own, id));
  }

  function word(node) {
    const { links, around } = session.graph;
    const side = node.site === "token" ? "out" : "into";
    const end = side === "out" ? links.destination : links.source;
    const list = [...around[side][node.index]].sort((a, b) => Math.abs(links.weight[b]) - Math.abs(links.weight[a]));
    fill(host, head(node.site === "token" ? "A token of the prompts" : "An answer", node.id, session),
      h("p", {}, h("span.tokenchip", {}, token(node.text))),
      h("p.soft", {}, node.site === "token" ? "One of the tokens in which the two prompts of a pair differ. Its embedding writes to these channels." : "Read off these channels of the final stream."),
      h("ul.links", {}, list.slice(0, 30).map((i) => h("li", {}, jump(session, session.graph.nodes[end[i]]), h("span.n", {}, signed(links.weight[i]))))));
  }

  function one(node, mine) {
    const own = h("div.switches");
    const dense = h("div.across");
    const words = h("div.tokens", {}, h("p.soft", {}, "…"));
    const facts = h("dl.facts");
    fill(host,
      head(kind(node.key, node.part), node.id, session),
      h("p.row", {}, nodeText(node)),
      meaning(node.meaning),
      own, words, facts, dense,
      neighbours(node, "into", "Comes from"), neighbours(node, "out", "Goes to"),
      h("p.row", {}, h("a.button", { href: address(["circuit", session.id, "text"], { ...read().query, node: node.id }) }, "See it in text"),
        node.head === null || node.head === undefined ? null : h("a.button", { href: address(["circuit", session.id, "text"], { ...read().query, node: node.id, head: `${node.layer}.${node.head}` }) }, `Attention of head ${node.head}`)),
      notesBox(node.id));
    leave.push(follow(own, node.id), steer(own, session, node), across(dense, session, node));
    const show = (detail) => mine === turn && described(words, facts, node, detail);
    show(null);
    get(["circuits", session.id, "nodes", node.id]).then(show, (error) => mine === turn && fill(words, h("p.soft", {}, error.message)));
  }

  function described(words, facts, node, detail) {
    const effect = detail?.effect?.change ?? session.effect(node.id);
    fill(facts,
      effect === undefined ? null : fact("switched off, the loss changes by", signed(effect, 3)),
      slack(node.slack), node.bias === null || node.bias === undefined ? null : fact(node.part === "latent" ? "bias of its encoder" : "bias", signed(node.bias, 3)),
      detail?.mean === undefined ? null : fact("usual value", signed(detail.mean, 3)));
    if (!detail) return;
    fill(words,
      tokens("Switched on by, of all tokens", detail.reads), tokens("Pushes towards, of all tokens", detail.writes),
      latent(detail.latent));
  }

  /** The switch, kept in step with the cut. */
  function follow(own, id) {
    const line = h("div.row");
    own.prepend(line);
    const show = () => refill(line, readOnly ? null : toggle(session, id, "main"));
    show();
    return session.on("cut", show);
  }

  function notesBox(id) {
    const box = h("div.notes");
    leave.push(notes(box, session, id));
    return box;
  }

  function neighbours(node, side, words) {
    const list = edgesAt(session.graph, node, side);
    if (!list.length) return null;
    const end = side === "into" ? session.graph.links.source : session.graph.links.destination;
    return h("details.near", { open: list.length < 9 },
      h("summary", {}, `${words} (${list.length})`),
      h("ul.links", {}, list.slice(0, 40).map(({ link, id, weight }) => h("li", {},
        jump(session, session.graph.nodes[end[link]]),
        h("button.quiet.weight", { type: "button", title: `Look at the edge ${id}`, on: { click: () => session.choose(id) } }, signed(weight))))));
  }

  const off = [session.on("chosen", show), session.on("graph", show)];
  show();
  return () => [...leave, ...off].forEach((stop) => stop());
}

function head(words, id, session) {
  return h("div.cardhead", {},
    h("div", {}, h("h2", {}, words), h("small.code", {}, id)),
    h("button.quiet", { type: "button", "aria-label": "back to what matters most", on: { click: () => session.choose(null) } }, "✕"));
}

function fact(words, value) {
  return [h("dt", {}, words), h("dd", {}, value)];
}

function slack(value) {
  return value === null || value === undefined ? null : fact("certificate slack: off, it is above the target by", signed(value, 3));
}

/** Tokens as chips: those it likes, then those it dislikes. */
function tokens(words, found) {
  if (!found) return null;
  const chips = (list, sign) => list?.length ? h("p.chips", {}, h(`span.sign.${sign}`, { title: sign === "plus" ? "more" : "less" }, sign === "plus" ? "+" : "−"),
    list.slice(0, 8).map((t) => h("span.tokenchip", { title: signed(t.weight) }, token(t.text)))) : null;
  return [h("h3", {}, words), chips(found.positive, "plus"), chips(found.negative, "minus")];
}

/** The largest channels of a latent's rows; of a missed channel, what it is. */
function latent(found) {
  if (!found) return null;
  if (!found.encoder) return h("p.soft", {}, `What this channel has beyond what the ${count(found.latents)} latents of its site say.`);
  const row = (words, { site, channels }) => [h("h3", {}, `${words}, largest channels of ${site}`), h("p.chips", {}, channels.map((c) => h("span.tokenchip", { title: signed(c.weight, 4) }, `${c.channel} ${signed(c.weight)}`)))];
  return [row("Encoder", found.encoder), row("Decoder", found.decoder), h("p.soft", {}, `One of ${count(found.latents)} latents of its site (${found.kind}). No weight joins two latents, so it has no neighbours.`)];
}

/** A node as a link that chooses it. */
export function jump(session, node) {
  return h("button.jump", { type: "button", on: { click: () => session.choose(node.id) } }, nodeText(node));
}


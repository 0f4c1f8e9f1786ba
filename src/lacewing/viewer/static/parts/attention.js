/** Where a kept head looks: in the whole model and in the circuit. */

import { get, readOnly, send } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { buttons, csv, standalone } from "../save.js";
import { read, update } from "../state.js";
import { onTheme } from "../theme.js";
import { percent, token } from "../words.js";
import { piece } from "./heat.js";

/** Show the attention of the head in the address, or of the first kept one. */
export function attention(host, session) {
  const heads = session.circuit.heads_kept;
  if (!heads.length) {
    fill(host, h("p.soft", {}, session.circuit.latents ? "Its nodes are latents: look at heads in a circuit of the model under them." : "This circuit keeps no head."));
    return () => {};
  }
  const asked = read().query.head;
  let head = heads.some((k) => k.head === asked) ? asked : heads[0].head;
  let from = null;
  let turn = 0;
  const tools = h("div");
  const body = h("div");
  fill(host, h("h2", {}, "Where a head looks"), tools, body);

  function choose() {
    const select = h("select", { id: "head", data: { key: "head" }, on: { change: (e) => ((head = e.target.value), update({ head }), load()) } },
      heads.map((k) => h("option", { value: k.head }, `layer ${k.head.replace(".", ", head ")} (${k.q} query, ${k.k} key, ${k.v} value channels)`)));
    select.value = head;
    refill(tools, h("div.row", {}, h("label", { for: "head" }, "Head"), select));
  }

  async function load() {
    const mine = ++turn;
    choose();
    const { pair, member, text } = session.prompt;
    try {
      const found = text === null || readOnly ? await get(["circuits", session.id, "attention"], { head, pair, member }) : await send("POST", ["circuits", session.id, "attention"], { head, text });
      if (mine !== turn) return;
      const last = found.tokens.length - 1;
      const asked = read().query.from;
      from = asked === undefined ? last : Math.min(Math.max(Number(asked) || 0, 0), last);
      show(found);
    } catch (error) {
      if (mine === turn) fill(body, h("p.error", { role: "alert" }, error.message));
    }
  }

  function show(found) {
    const pick = h("input", { type: "range", id: "from", min: 0, max: found.tokens.length - 1, value: from, data: { key: "from" } });
    pick.addEventListener("input", () => ((from = Number(pick.value)), update({ from: from === found.tokens.length - 1 ? "" : from }), lines()));
    const strips = h("div");
    const lines = () => fill(strips, h("p.soft", {}, "Read from ", h("span.tokenchip", {}, token(found.tokens[from])), from === found.tokens.length - 1 ? ", the last token: here the answer is decided." : `, token ${from + 1}.`),
      h("div.looks", {},
        strip("Whole model", found.tokens, found.full[from], found.full_sink?.[from]),
        strip("Circuit", found.tokens, found.circuit[from], found.circuit_sink?.[from])));
    lines();
    const figure = () => picture(found, head);
    const drawn = figure();
    const image = h("img", {
      alt: `attention of head ${head}: rows read, columns are read from; left the whole model, right the circuit`,
      src: `data:image/svg+xml,${encodeURIComponent(standalone(drawn.markup))}`,
    });
    const rows = () => found.tokens.flatMap((t, q) => found.full[q].map((w, k) => [q, k, t, found.tokens[k], w, found.circuit[q][k]]));
    fill(body, h("div.row", {}, h("label", { for: "from" }, "From token"), pick), strips,
      h("details", { open: true }, h("summary", {}, "All tokens at once"), h("div.table", { tabindex: "0", role: "group", "aria-label": "attention patterns" }, image),
        h("div.row", {}, buttons(() => `${session.id}-attention-${head}`, figure), h("button.quiet", { type: "button", on: { click: () => csv(`${session.id}-attention-${head}`, ["to", "from", "token", "token looked at", "whole model", "circuit"], rows()) } }, "Save as CSV"))));
  }

  const off = [session.on("prompt", load), onTheme(load)];
  load();
  return () => off.forEach((stop) => stop());
}

function strip(words, tokens, weights, sink) {
  return h("div.strip-line", {}, h("b", {}, words),
    h("pre.heat", {}, tokens.slice(0, weights.length).map((t, i) => piece(t, weights[i], Math.max(...weights, 1e-6)))),
    h("small", {}, top(tokens, weights), sink == null ? "" : `; on nothing (its sink) ${percent(sink)}`));
}

function top(tokens, weights) {
  const best = d3.greatestIndex(weights);
  return `most on ${token(tokens[best])}: ${percent(weights[best])}`;
}

/** Both patterns as a figure: rows read, columns are read from. */
function picture(found, head) {
  const count = found.tokens.length;
  const cell = Math.max(Math.min(420 / count, 18), 5);
  const side = cell * count;
  const named = cell >= 8;
  const [left, topRoom, gap] = named ? [90, 84, 120] : [2, 30, 40];
  const width = left + 2 * side + gap + 10;
  const height = topRoom + side + 24;
  const escape = (t) => token(t, 9).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]).replace(/[\u0000-\u001f\ufffd]/g, "?");
  const half = (pattern, x0, words) => {
    const cells = pattern.flatMap((row, q) => row.map((w, k) => (w < 0.004 ? "" : `<rect x="${(x0 + k * cell).toFixed(1)}" y="${(topRoom + q * cell).toFixed(1)}" width="${cell.toFixed(1)}" height="${cell.toFixed(1)}" fill="var(--plus)" opacity="${Math.min(0.08 + 0.92 * w, 1).toFixed(2)}"/>`)));
    const names = !named ? [] : found.tokens.flatMap((t, i) => {
      const at = topRoom + i * cell + cell / 2 + 3;
      const x = x0 + i * cell + cell / 2 + 3;
      return [`<text x="${x0 - 5}" y="${at.toFixed(1)}" text-anchor="end">${escape(t)}</text>`, `<text transform="translate(${x.toFixed(1)} ${topRoom - 6}) rotate(-60)">${escape(t)}</text>`];
    });
    return `<text x="${x0}" y="16" class="t">${words}</text><rect x="${x0}" y="${topRoom}" width="${side}" height="${side}" fill="none" stroke="var(--faint)"/>${cells.join("")}${names.join("")}`;
  };
  const style = "text{font:9.5px ui-monospace,'DejaVu Sans Mono',monospace;fill:var(--soft)}.t{font:600 13px system-ui,'DejaVu Sans',sans-serif;fill:var(--ink)}";
  const markup = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"><title>attention of head ${head}</title><style>${style}</style><rect width="100%" height="100%" fill="var(--paper)"/>${half(found.full, left, "Whole model")}${half(found.circuit, left + side + gap, "Circuit")}</svg>`;
  return { markup, width, height };
}

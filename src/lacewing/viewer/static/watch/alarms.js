/** Alarms with their cause: what moved, since when, which parts and texts are behind it. */

import { h, refill } from "../dom.js";
import { count, many, percent, token } from "../words.js";

const BY = { text: "seen by running text", probe: "seen by the fixed prompts" };

/** Show alarms, the newest first. */
export function alarmList(host, alarms, total) {
  const more = total > alarms.length ? h("p.soft", {}, `The last ${count(alarms.length)} of ${count(total)}.`) : null;
  if (!alarms.length) return refill(host, h("p.soft", {}, "None so far."));
  return refill(host, more, h("ol.alarms", {}, [...alarms].reverse().map(one)));
}

function one(alarm) {
  const what = alarm.cause === "model" ? "The model has changed" : "The text is another";
  const signals = alarm.signals.map(([words, share]) => `${words} (${percent(share)})`);
  return h(`li.${alarm.cause === "model" ? "model" : "text"}`, {},
    h("h3", {}, `${what}: ${alarm.circuit ?? "the text alone"}`),
    h("p.soft", {}, `At token ${count(alarm.at)}, since about token ${count(alarm.since)}; ${BY[alarm.seen_by]}; `, h("time", { datetime: alarm.time }, clock(alarm.time))),
    signals.length ? h("p", {}, "What moved: ", signals.join("; "), ".") : null,
    alarm.parts.length ? h("p", {}, "First of all: ", alarm.parts.map((part) => [h("span.tokenchip", {}, part), " "])) : null,
    h("p", {}, `${alarm.probe[0]?.toUpperCase() ?? ""}${alarm.probe.slice(1)}.`),
    alarm.texts.length ? h("details", { data: { key: `texts-${alarm.number}` } }, h("summary", {}, `${many(alarm.texts.length, "text")} that ${alarm.texts.length === 1 ? "shows" : "show"} it`), alarm.texts.map(text)) : null);
}

/** A text up to the place, whose last signs are what the answer comes after. */
function text(content) {
  const end = content.match(/\S*\s*$/)?.[0] ?? "";
  return h("pre", {}, content.slice(0, content.length - end.length), h("mark", {}, end.trim() ? end : token(end)));
}

function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : date.toLocaleString();
}

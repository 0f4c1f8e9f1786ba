/** What a node means, as `lacewing explain` found it: a sentence, its predicate, how sure that is. */

import { h } from "../dom.js";
import { number } from "../words.js";

/** Whether any node of a circuit is explained. */
export function explained(circuit) {
  return circuit.nodes.some((node) => node.meaning);
}

/** The scores in a line: "F1 0.93 [0.90, 0.95], unigram 0.97; supported by interventions". */
export function scores(said) {
  if (said.f1 === null) return "";
  const [low, high] = said.interval ?? [null, null];
  const ends = low === null ? "" : ` [${number(low, 2)}, ${number(high, 2)}]`;
  const control = said.control === null ? "" : `, ${said.control_name || "best control"} ${number(said.control, 2)}`;
  const tested = { supported: "; supported by interventions", refuted: "; refuted by interventions", unresolved: "; interventions do not decide" };
  return `F1 ${number(said.f1, 2)}${ends}${control}${tested[said.verdict] ?? ""}`;
}

/** For the panel: everything, or that there is no good explanation. */
export function meaning(said) {
  if (!said) return null;
  if (!said.good) return h("p.soft.meaning", {}, "No good explanation was found", said.why_not ? `: ${said.why_not}.` : ".");
  return h("blockquote.meaning", {}, said.text,
    said.predicate ? h("code", {}, said.predicate) : null,
    h("small", {}, scores(said)),
    said.opposite ? h("details", {}, h("summary", {}, "The other side"), h("code", {}, said.opposite)) : null);
}

/** For the box at the pointer: the sentence and its scores. */
export function brief(said) {
  if (!said?.good) return null;
  return h("span.meaning", {}, said.text, h("small", {}, scores(said)));
}

/** What a search by meaning looks through. */
export function spoken(node) {
  const said = node.meaning;
  return said?.good ? `${said.text} ${said.predicate} ${said.label}` : "";
}

/** Plain words for tokens, numbers and the places in a model. */

const SIGNS = { "\n": "↵", "\t": "⇥", "\r": "␍" };
const MINUS = "−";

/** A token's text with its spaces and line ends made visible. */
export function token(text, longest = 18) {
  let shown = text.replace(/[\n\t\r]/g, (sign) => SIGNS[sign]);
  const spaces = shown.match(/^ +/);
  if (spaces) {
    const count = spaces[0].length;
    shown = (count > 3 ? `␣×${count} ` : "␣".repeat(count)) + shown.slice(count);
  }
  if (shown.endsWith(" ") && shown.trim()) shown = `${shown.slice(0, -1)}␣`;
  return shown.length > longest ? `${shown.slice(0, longest - 1)}…` : shown;
}

/** A number with a true minus sign and a fixed count of digits. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return value.toFixed(digits).replace("-", MINUS);
}

/** A number with its sign always shown. */
export function signed(value, digits = 2) {
  return (value > 0 ? "+" : "") + number(value, digits);
}

/** 7488 as 7,488. */
export function count(value) {
  if (value === null || value === undefined) return "–";
  return Math.round(value).toLocaleString("en-US");
}

/** "1 node", "2 nodes". */
export function many(value, word) {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** A share as a percentage. */
export function percent(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  if (value > 0.995 && value < 1 && !digits) return "> 99 %";
  if (value > 0 && value < 0.005 && !digits) return "< 1 %";
  return `${(100 * value).toFixed(digits)} %`;
}

/** How some answers share their chance. From logits: among all tokens they may have none to speak of. */
export function shares(answers) {
  const most = Math.max(...answers.map((a) => a.logit));
  const odds = answers.map((a) => Math.exp(a.logit - most));
  const total = odds.reduce((sum, value) => sum + value, 0);
  return odds.map((value) => value / total);
}

const PLACES = {
  attn_in: ["attention reads", "A channel that attention reads"],
  attn_q: ["query", "A query channel: what a head looks for"],
  attn_k: ["key", "A key channel: what a head finds a token by"],
  attn_v: ["value", "A value channel: what a head carries over"],
  attn_out: ["attention writes", "A channel that attention writes"],
  mlp_in: ["MLP reads", "A channel that the MLP reads"],
  mlp_neuron: ["neurons", "A neuron of the MLP"],
  mlp_out: ["MLP writes", "A channel that the MLP writes"],
  resid_final: ["final stream", "A channel the answer is read from"],
  token: ["tokens in", "A token of the prompt"],
  answer: ["answers", "An answer the task chooses between"],
  group: ["group", "A group of nodes"],
};

/** "0.attn_v" -> {layer: 0, name: "attn_v"}; resid_final has no layer. */
export function site(key) {
  const [layer, name] = key.includes(".") ? key.split(".") : [null, key];
  return { layer: layer === null ? null : Number(layer), name };
}

/** A short name of a site for people: "value, layer 0". */
export function place(key) {
  const { layer, name } = site(key);
  const word = (PLACES[name] ?? [name])[0];
  return layer === null ? word : `${word}, layer ${layer}`;
}

/** What kind of thing a node of this site is, as a sentence's beginning. */
export function kind(key, part = "channel") {
  if (part === "latent") return `A latent, ${place(key)}`;
  if (part === "error") return `A channel of what the latents miss, ${place(key)}`;
  return (PLACES[site(key).name] ?? [, "A node"])[1];
}

/** A node's number with what it counts: "channel 5", "latent 17", "missed channel 3". */
export function numbered(node) {
  const words = { latent: "latent", error: "missed channel" };
  return `${words[node.part] ?? "channel"} ${node.number ?? node.channel}`;
}

/** The head of a task's description, without its examples. */
export function title(description, task) {
  const head = (description || "").split(/:\s|`/)[0].trim().replace(/[.:,]$/, "");
  return head || task.replaceAll("_", " ");
}

/** Where a loss stands between knowing and guessing. */
export function standing(loss, target) {
  if (loss <= target * 1.15) return { word: "works", tone: "good" };
  if (loss < 0.5) return { word: "unsure", tone: "weak" };
  if (loss < Math.LN2) return { word: "close to guessing", tone: "bad" };
  return { word: "broken: worse than guessing", tone: "bad" };
}

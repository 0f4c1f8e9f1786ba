/** The circuit as files for other tools; links that the server answers with a download. */

import { at, readOnly } from "../api.js";
import { h } from "../dom.js";

const FILES = [
  ["graph.json", "Attribution graph of this prompt (circuit-tracer, Neuronpedia)"],
  ["wiring.json", "The wiring as such a graph, without positions"],
  ["circuit.dot", "Graphviz"],
  ["circuit.mmd", "Mermaid"],
  ["edges.csv", "All connections as a table"],
  ["nodes.csv", "All nodes as a table"],
];

/** The menu of exports. */
export function exporting(session) {
  if (readOnly) return null;
  const link = ([file, words]) => {
    const made = h("a", { download: `${session.id}.${file}` }, words);
    const here = () => {
      const { pair, member } = session.prompt;
      made.href = at(["circuits", session.id, "export", file], file === "graph.json" ? { pair, member } : {});
    };
    here();
    made.addEventListener("click", here);
    return h("li", {}, made);
  };
  return h("details.groups.upward", {}, h("summary.button", {}, "Export"), h("div.menu", {}, h("ul", {}, FILES.map(link))));
}

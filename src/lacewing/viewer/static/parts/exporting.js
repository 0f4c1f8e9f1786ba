/** The circuit as files for other tools; links that the server answers with a download, and files of a copy. */

import { at, copied, readOnly } from "../api.js";
import { h } from "../dom.js";
import { menu } from "./menu.js";

const FILES = [
  ["graph.json", "Attribution graph of this prompt (circuit-tracer, Neuronpedia)"],
  ["wiring.json", "The wiring as such a graph, without positions"],
  ["circuit.dot", "Graphviz"],
  ["circuit.mmd", "Mermaid"],
  ["edges.csv", "All edges as a table"],
  ["nodes.csv", "All nodes as a table"],
];

/** The menu of exports. */
export function exporting(session) {
  const all = session.circuit.latents ? FILES.filter(([file]) => file !== "graph.json" && file !== "edges.csv") : FILES;
  const files = readOnly ? all.filter(([file]) => copied.includes(`${session.id}.${file}`)) : all;
  const link = ([file, words]) => {
    const made = h("a", { download: `${session.id}.${file}` }, words);
    const here = () => {
      const { pair, member } = session.prompt;
      made.href = readOnly ? `export/${session.id}.${file}` : at(["circuits", session.id, "export", file], file === "graph.json" ? { pair, member } : {});
    };
    here();
    made.addEventListener("click", here);
    return h("li", {}, made);
  };
  return menu("Export", h("div.menu", {}, h("ul", {}, files.map(link))), "upward");
}

/** The page: the bar on top, and which part is shown for an address. */

import { readOnly } from "./api.js";
import { dock } from "./parts/dock.js";
import { fill, h } from "./dom.js";
import * as circuitPage from "./pages/circuit.js";
import * as comparePage from "./pages/compare.js";
import * as groupsPage from "./pages/groups.js";
import * as homePage from "./pages/home.js";
import * as textPage from "./pages/text.js";
import * as tracePage from "./pages/trace.js";
import * as tryPage from "./pages/tryit.js";
import { open } from "./session.js";
import { address, onAddress, read } from "./state.js";
import { button as themeButton } from "./theme.js";
import { title } from "./words.js";

const TABS = [
  ["", "Circuit", circuitPage],
  ["text", "Text", textPage],
  ["try", "Try it", tryPage],
];

const PAGES = { compare: comparePage, trace: tracePage, groups: groupsPage };

const top = document.getElementById("top");
const main = document.getElementById("main");
const foot = document.getElementById("dock");
let session = null;
let shown = "";
let leave = () => {};
let turn = 0;

async function route({ path, query }) {
  const here = path.join("/");
  if (here === shown && session) return session.follow(query);
  const mine = ++turn;
  leave();
  leave = () => {};
  shown = here;
  main.removeAttribute("data-ready");
  try {
    const [part, id, tab = ""] = path;
    if (part === "circuit" && id) await circuit(id, tab, query, mine);
    else {
      close();
      bar([]);
      main.className = part in PAGES ? part : "home";
      const page = PAGES[part] ?? homePage;
      leave = (await page.show(main, query, () => mine === turn, id)) ?? leave;
    }
  } catch (error) {
    if (mine === turn) failed(error);
  }
  if (mine === turn) main.dataset.ready = "yes";
}

async function circuit(id, tab, query, mine) {
  if (session?.id !== id) {
    close();
    fill(main, h("p.wait", {}, "Opening the circuit"));
    const opened = await open(id);
    if (mine !== turn) return opened.close();
    session = opened;
    session.start();
    dock(foot, session);
    foot.hidden = false;
  } else {
    session.follow(query);
  }
  const [, , page] = TABS.find(([name]) => name === tab) ?? TABS[0];
  bar(TABS.map(([name, words]) => ({ name, words, here: name === tab })));
  main.className = `circuit-part ${tab || "graph"}`;
  document.title = `${title(session.circuit.description, session.circuit.task)}: lacewing`;
  leave = (await page.show(main, session, () => mine === turn)) ?? leave;
}

function close() {
  session?.close();
  session = null;
  foot.hidden = true;
  fill(foot);
  document.title = "lacewing";
}

/** The bar: home, the parts of the circuit that is open, comparing, light or dark. */
function bar(tabs) {
  const link = ({ name, words, here }) =>
    h("a", {
      href: address(["circuit", session.id, ...(name ? [name] : [])], kept()),
      "aria-current": here ? "page" : null,
      on: { click: (event) => (event.currentTarget.href = address(["circuit", session.id, ...(name ? [name] : [])], kept())) },
    }, words);
  const compare = session ? { left: session.id } : {};
  const other = (path, words, query) => h("a", { href: address(path, query), "aria-current": read().path[0] === path[0] ? "page" : null }, words);
  fill(
    top,
    h("a.brand", { href: "#/" }, h("img", { src: "static/icon.svg", alt: "", width: 22, height: 22 }), "lacewing"),
    h("nav", { "aria-label": "parts" },
      session ? null : h("a", { href: "#/", "aria-current": read().path.length ? null : "page" }, "Home"),
      tabs.map(link),
      readOnly ? null : other(["trace", ...(session ? [session.circuit.model] : [])], "Trace", {}),
      other(["compare"], "Compare", compare),
    ),
    readOnly ? h("span.copy", { title: "Nothing can be changed here" }, "read-only copy") : null,
    themeButton(),
  );
}

/** What of the address goes along from one part of a circuit to another. */
function kept() {
  const { node, off, set, ablation, pair, member, text } = read().query;
  return { node, off, set, ablation, pair, member, text };
}

function failed(error) {
  fill(
    main,
    h("div.failed", {}, h("h1", {}, "This cannot be shown"), h("p", {}, error.message), h("p", {}, h("a", { href: "#/" }, "Back to all circuits"))),
  );
  if (!error.kind) console.error(error);
}

onAddress(route);
route(read());

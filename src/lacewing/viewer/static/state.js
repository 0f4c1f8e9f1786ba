/**
 * The state of the page, all of it in the address after the #:
 *
 *     #/circuit/quote/text?node=0.attn_v.210&off=0.attn_out:210->88
 *
 * What is the start value stands nowhere, so that addresses stay short.
 */

const listeners = new Set();

/** What the address says: {path: [part, ...], query: {key: text}}. */
export function read(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return {
    path: path.split("/").filter(Boolean).map(decodeURIComponent),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** The address of a place. Values that are empty are left out. */
export function address(path, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const words = kept.map(([key, value]) => `${key}=${escape(String(value))}`).join("&");
  return `#/${path.map(encodeURIComponent).join("/")}${words ? `?${words}` : ""}`;
}

function escape(text) {
  return encodeURIComponent(text).replaceAll("%3A", ":").replaceAll("%2C", ",");
}

/** Go to another place; Back returns. */
export function go(path, query = {}) {
  location.hash = address(path, query);
}

/**
 * Change some of the query where we are.
 *
 * @param {object} changes Values by key; "" or null removes.
 * @param {boolean} [step] Whether Back should undo this.
 */
export function update(changes, step = false) {
  const here = read();
  const next = address(here.path, { ...here.query, ...changes });
  if (next === location.hash) return;
  history[step ? "pushState" : "replaceState"](null, "", next);
}

/** Call back when Back, Forward or a link changes the address. */
export function onAddress(call) {
  listeners.add(call);
  return () => listeners.delete(call);
}

let told = location.href;

/** Both events come for one step through the history; one call is enough. */
function changed(event) {
  if (event.type === "hashchange" && told === location.href) return;
  told = location.href;
  listeners.forEach((call) => call(read()));
}

addEventListener("popstate", changed);
addEventListener("hashchange", changed);

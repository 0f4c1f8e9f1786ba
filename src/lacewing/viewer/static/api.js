/**
 * All that the page asks of the server, and of a read-only copy in its stead.
 *
 * A copy made by `lacewing view --export` has its answers in scripts beside it, because browsers
 * let no page opened from disk fetch a file.
 */

const copy = globalThis.LACEWING;

/** Whether this is a read-only copy without a server. */
export const readOnly = Boolean(copy?.readOnly);

/** Names of the exported files that lie in such a copy. */
export const copied = copy?.exports ?? [];

/** An answer that is an error, with its one line for people. */
export class Refused extends Error {
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** The address of an answer: parts are escaped, parameters keep their order. */
export function at(parts, parameters = {}) {
  const path = ["api", ...parts].map((part) => encodeURIComponent(part)).join("/");
  const words = Object.entries(parameters).map(([k, v]) => `${k}=${encodeURIComponent(v)}`);
  return words.length ? `${path}?${words.join("&")}` : path;
}

/** Read an answer. */
export async function get(parts, parameters = {}, signal = undefined) {
  const url = at(parts, parameters);
  return readOnly ? fromCopy(url) : fromServer(url, { signal });
}

/** Ask for something, or change something: POST, PUT or DELETE. */
export async function send(method, parts, body = {}, signal = undefined) {
  if (readOnly) throw new Refused(405, "read_only", "This copy is read-only: run lacewing view.");
  const headers = { "Content-Type": "application/json" };
  const text = JSON.stringify(body);
  // A note that is typed as the page closes still arrives; browsers allow this for small bodies.
  const keepalive = method === "PUT" && text.length < 20_000;
  return fromServer(at(parts), { method, headers, body: text, signal, keepalive });
}

const PATIENCE = 4;
/** How often a server that is busy is asked again; what it refused it has not begun. */

async function fromServer(url, options, tries = PATIENCE) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "The server does not answer: is lacewing still running?");
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  if (answer.status === 503 && tries > 1) {
    await new Promise((done) => setTimeout(done, 700));
    return fromServer(url, options, tries - 1);
  }
  const said = body?.error ?? {};
  throw new Refused(answer.status, said.kind ?? "error", said.message ?? `error ${answer.status}`);
}

const waiting = new Map();

async function fromCopy(url) {
  const { answers, files } = copy;
  if (!(url in answers) && url in files) {
    if (!waiting.has(url)) waiting.set(url, script(files[url]));
    await waiting.get(url);
  }
  if (url in answers) return answers[url];
  throw new Refused(404, "not_in_copy", "Not in this read-only copy: run lacewing view for it.");
}

function script(source) {
  return new Promise((done, failed) => {
    const element = document.createElement("script");
    element.src = source;
    element.onload = done;
    element.onerror = () => failed(new Refused(404, "not_in_copy", `${source} is missing`));
    document.head.append(element);
  });
}

/** Call again and again until an answer says it is complete; stops when the signal does. */
export async function poll(ask, complete, seen, signal, pause = 1000) {
  for (;;) {
    if (signal?.aborted) return;
    const answer = await ask();
    if (signal?.aborted) return;
    seen(answer);
    if (complete(answer)) return;
    await new Promise((done) => setTimeout(done, pause));
  }
}

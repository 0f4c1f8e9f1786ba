/** Saving the edited circuit as a new one, and verifying it with progress shown. */

import { get, poll, send } from "../api.js";
import { fill, h } from "../dom.js";
import { address } from "../state.js";
import { table } from "./tests.js";

/** The button that opens the saving dialog. */
export function keeper(host, session) {
  const button = h("button", { type: "button", on: { click: () => dialog(session) } }, "Save and verify…");
  const show = () => {
    // A saved circuit is a set of nodes and edges: a steered value cannot be part of it.
    button.textContent = session.cut.now.off.length ? "Save and verify…" : "Verify…";
  };
  session.on("cut", show);
  show();
  fill(host, button);
}

function dialog(session) {
  const box = h("dialog", { "aria-labelledby": "keep-title" });
  const edited = session.cut.now.off.length > 0;
  const steered = Object.keys(session.cut.now.values).length > 0;
  const name = h("input", { type: "text", id: "keep-name", value: suggestion(session), pattern: "[A-Za-z0-9_\\-]{1,64}", maxlength: 64, required: true });
  const tests = h("select", { id: "keep-tests" },
    h("option", { value: "two" }, "is it sufficient and necessary (seconds)"),
    h("option", { value: "all" }, "everything that lacewing verify asks (minutes)"));
  const said = h("div.progress", { role: "status" });
  const act = h("button.main", { type: "submit" }, edited ? "Save, then verify" : "Verify this circuit");
  const form = h("form", { method: "dialog" },
    h("h2", { id: "keep-title" }, edited ? "Save as a new circuit" : "Verify this circuit"),
    edited
      ? h("p", {}, h("label", { for: "keep-name" }, "Name"), name)
      : h("p.soft", {}, "Measures the circuit alone, the model without it, and random circuits of the same size as controls."),
    h("p", {}, h("label", { for: "keep-tests" }, "Tests"), tests),
    edited && steered ? h("p.soft", {}, "Values that were set are not part of a circuit; only what is switched off is saved.") : null,
    said,
    h("div.row", {}, act, h("button", { type: "button", on: { click: () => box.close() } }, "Close")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    act.disabled = true;
    try {
      const id = edited ? await saved(session, name.value.trim()) : session.id;
      await verified(id, { all: tests.value === "all" }, said, session);
    } catch (error) {
      fill(said, h("p.error", { role: "alert" }, error.message));
      act.disabled = false;
    }
  });
  box.append(form);
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

function suggestion(session) {
  return `${session.id.replace(/[^A-Za-z0-9_-]/g, "-").slice(0, 50)}-edited`;
}

async function saved(session, name) {
  const edits = session.cut.edits().filter((edit) => !("value" in edit));
  const body = { name, edits };
  if (session.cut.now.ablation) body.ablation = session.cut.now.ablation;
  return (await send("POST", ["circuits", session.id, "save"], body)).id;
}

/** Start a verification and show how far it is. */
async function verified(id, tests, host, session) {
  const job = await send("POST", ["circuits", id, "verify"], tests);
  const bar = h("progress", { max: 100, value: 0, "aria-label": "verification" });
  const note = h("small");
  const cancel = h("button.quiet", { type: "button", on: { click: () => send("POST", ["jobs", job.id, "cancel"]).catch(() => {}) } }, "Cancel");
  fill(host, bar, h("div.row", {}, note, cancel));
  let last = job;
  const over = (state) => state === "done" || state === "failed" || state === "cancelled";
  await poll(() => get(["jobs", job.id]), (answer) => over(answer.state), (answer) => {
    last = answer;
    bar.value = answer.total ? (100 * answer.done) / answer.total : 0;
    note.textContent = answer.note || answer.state;
  }, session.stop.signal);
  if (last.state !== "done") throw new Error(last.error ?? `verification was ${last.state}`);
  const circuit = await get(["circuits", id]);
  host.closest("dialog").classList.add("wide");
  fill(host,
    h("div", { id: "kept" }, table(circuit)),
    id === session.id ? null : h("p", {}, h("a", { href: address(["circuit", id]) }, `Open ${id}`)));
  if (id === session.id) {
    session.circuit = { ...session.circuit, verification: circuit.verification, verdict: circuit.verdict };
    session.tell("verified");
  }
}

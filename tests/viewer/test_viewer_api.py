"""The answers of a real server, against what the package says when it is asked directly."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.model.hooks import record
from lacewing.viewer import sample, texts
from lacewing.viewer.answers import CircuitAnswer, NodeDetail
from lacewing.viewer.attention import attend
from lacewing.viewer.effects import effect
from lacewing.viewer.jobs import Jobs
from lacewing.viewer.state import Viewer
from lacewing.viewer.turns import BusyError, Turns, Work

BASE = "/api/circuits/circuits-planted"


def poll(client: Any, url: str) -> Any:
    """Ask until it is computed."""
    for _ in range(600):
        answer = client.get(url)
        assert 200 == answer.status_code, answer.text
        if answer.json()["state"] != "computing":
            return answer.json()
        time.sleep(0.1)
    raise AssertionError(f"{url} was not computed in a minute")


def test_home(live: Any) -> None:
    """Runs, builtin models and circuits, each circuit with its model and sizes."""
    with live.client() as client:
        home = client.get("/api/home").json()
    assert {"micro", "busy", "builtin-taught-sparse", "builtin-taught-dense"} <= {
        m["id"] for m in home["models"]
    }
    rows = {row["id"]: row for row in home["circuits"]}
    planted = rows["circuits-planted"]
    assert ("micro", 15, 8, None) == tuple(planted[k] for k in ("model", "nodes", "edges", "error"))
    assert 0.02 == planted["loss"]
    assert [] == home["broken"]


def test_circuit(live: Any, made: Path) -> None:
    """A circuit's nodes, edges with weights, rows, heads and residual links."""
    circuit = Circuit.load(made / "circuits" / "planted")
    with live.client() as client:
        answer = client.get(BASE).json()
    CircuitAnswer.model_validate(answer)
    names = [n["id"] for n in answer["nodes"]]
    assert circuit.node_names() == names
    edges = answer["edges"]
    ends = {
        (names[s], names[d]): w
        for s, d, w in zip(edges["source"], edges["destination"], edges["weight"], strict=True)
    }
    assert pytest.approx(12.0) == ends["0.attn_in.5", "0.attn_v.16"]
    assert circuit.n_edges == len(ends)
    assert [{"head": "0.0", "q": 1, "k": 1, "v": 1}, {"head": "0.1", "q": 0, "k": 0, "v": 1}] == (
        answer["heads_kept"]
    )
    joined = {(names[a], names[b]) for a, b in answer["residual"]}
    assert {
        ("0.attn_out.4", "resid_final.4"),
        ("0.attn_out.6", "0.mlp_in.6"),
        ("0.mlp_out.7", "resid_final.7"),
    } == joined
    rows = {n["id"]: n["row"] for n in answer["nodes"]}
    assert [1, 2, 2, 3, 4, 5, 6, 7] == [
        rows[n]
        for n in (
            *("0.attn_in.1", "0.attn_q.0", "0.attn_v.16", "0.attn_out.4"),
            *("0.mlp_in.6", "0.mlp_neuron.0", "0.mlp_out.7", "resid_final.7"),
        )
    ]


def test_node(live: Any) -> None:
    """The value channel of path A reads X against Y, and raises P against Q."""
    with live.client() as client:
        node = client.get(f"{BASE}/nodes/0.attn_v.0").json()
        final = client.get(f"{BASE}/nodes/resid_final.4").json()
        stranger = client.get(f"{BASE}/nodes/0.attn_v.40").json()
    NodeDetail.model_validate(node)
    assert ("X", "Y") == tuple(node["reads"][k][0]["text"] for k in ("positive", "negative"))
    assert ("P", "Q") == tuple(node["writes"][k][0]["text"] for k in ("positive", "negative"))
    assert [("0.attn_in.1", 1.0)] == [(i["node"], i["weight"]) for i in node["inputs"]]
    assert [("0.attn_out.4", 1.0)] == [(o["node"], o["weight"]) for o in node["outputs"]]
    assert node["effect"]["change"] > 0.03
    assert "P" == final["writes"]["positive"][0]["text"]
    assert (False, None) == (stranger["kept"], stranger["effect"])


def test_effects(live: Any, opened: Viewer) -> None:
    """The effect of every node and edge, each equal to the circuit measured without it."""
    with live.client() as client:
        found = poll(client, f"{BASE}/effects")
    session = opened.session("circuits-planted")
    assert set(session.circuit.node_names()) == set(found["nodes"])
    assert session.circuit.n_edges == len(found["edges"])
    node = "0.mlp_neuron.0"
    expected = effect(session, node)
    assert expected is not None
    assert pytest.approx(expected.change, abs=1e-5) == found["nodes"][node]
    # Path A's only edge out of its query: without it the head no longer looks at X and Y.
    assert found["edges"]["0.attn_q:3->0"] > 0.03


def test_activations(live: Any, opened: Viewer) -> None:
    """Values of a node on the task's prompts, token by token, and the examples chosen for them."""
    with live.client() as client:
        found = poll(client, f"{BASE}/activations/0.attn_v.0?text=task")
    session = opened.session("circuits-planted")
    with session.turns.person(), record(session.model.network, ["0.attn_v"]) as seen:
        session.model.network(session.prompts.tokens)
    values = seen["0.attn_v"][..., 0]
    groups = {g["name"]: g["examples"] for g in found["groups"]}
    assert {"top", "bottom", "q90", "q50", "random"} == groups.keys()
    for example in groups["top"]:
        row = 2 * example["pair"] + (example["member"] == "corrupted")
        expected = values[row, : len(example["values"])].tolist()
        assert pytest.approx(expected, abs=5e-3) == example["values"]
        assert max(example["values"]) == example["values"][example["at"]]
    assert {"clean"} == {e["member"] for e in groups["top"]}  # X is positive, Y negative
    assert {"corrupted"} == {e["member"] for e in groups["bottom"]}
    bars = found["histogram"]
    assert found["tokens"] == sum(bars["counts"]) + bars["zeros"]
    assert round(found["active"] * found["tokens"]) == sum(bars["counts"])


def test_histogram() -> None:
    """No bin holds both signs, zeros stand apart, and every value is in one bin."""
    bars = texts.histogram(np.array([-1.0, -0.99, 0.0, 0.0, 0.01, 2.9, 3.0], dtype=np.float32))
    assert (5, 2) == (sum(bars["counts"]), bars["zeros"])
    assert 0.0 in bars["edges"]
    middle = bars["edges"].index(0.0)
    assert (2, 3) == (sum(bars["counts"][:middle]), sum(bars["counts"][middle:]))
    assert (2, 2) == (bars["counts"][0], bars["counts"][-1])
    assert {"edges": [], "counts": [], "zeros": 4} == texts.histogram(np.zeros(4))
    assert [1] == [n for n in texts.histogram(np.array([-0.25]))["counts"] if n]


def test_natural_text(folder: Path, text: Path) -> None:
    """Natural text comes from the corpus named at the start, as windows of the model's context."""
    read = sample.read(str(text), 12)
    model = Viewer(folder).session("circuits-planted").model
    sequences = texts.of_documents(model, read)
    assert 12 == len(read)
    assert len(sequences.about) == len(sequences.tokens) > 6  # the shortest ends are left out
    assert model.network.config.context == sequences.tokens.shape[1]
    assert all(about["source"].endswith(".py") for about in sequences.about)
    again = sample.read(str(text), 12)
    assert read == again
    values = texts.values(model, ["0.attn_in.1"], sequences, Turns(), Work(lambda work: None))
    found = texts.answer("0.attn_in.1", "natural", values[0], sequences, model)
    assert found["groups"][0]["examples"] == [] or found["maximum"] > 0


def test_attention(live: Any, opened: Viewer) -> None:
    """A head's pattern is a distribution over what came before; in the circuit it looks at X."""
    with live.client() as client:
        found = client.get(f"{BASE}/attention?head=0.0&pair=0&member=clean").json()
        typed = client.post(f"{BASE}/attention", json={"head": "0.0", "text": "Xab="}).json()
        missing = client.get(f"{BASE}/attention?head=7.0&pair=0&member=clean")
    for name in ("full", "circuit"):
        for q, row in enumerate(found[name]):
            assert q + 1 == len(row)
            assert pytest.approx(1, abs=1e-2) == sum(row)
    assert 0 == int(np.argmax(found["circuit"][-1]))
    assert (["X", "a", "b", "="], 422) == (typed["tokens"], missing.status_code)


def test_sink(opened: Viewer) -> None:
    """With a sink, the weights and its share add up to one, and mix values as the model does."""
    session = opened.session("circuits-random")
    network, row = session.model.network, session.prompts.tokens[:1, :8]
    keys = [f"1.attn_{kind}" for kind in "qkv"]
    block = network.blocks[1]
    with session.turns.person(), torch.inference_mode(), record(network, keys) as seen:
        network(row)
        q, k, v = (seen[key][0] for key in keys)
        mixed = block._attend(*(t[None] for t in (q, k, v)))[0]
        weights, sink = attend(block, q, k, 2)
    assert sink is not None
    assert torch.allclose(torch.ones(8), weights.sum(1) + sink, atol=1e-5)
    assert torch.allclose(mixed[:, 8:12], weights @ v[:, 8:12], atol=1e-5)


def test_try(live: Any) -> None:
    """A typed prompt, answered three ways: the circuit knows, and without it nobody does."""
    with live.client() as client:
        answer = client.post(f"{BASE}/try", json={"text": "Xqwertz="}).json()
        long = client.post(f"{BASE}/try", json={"text": "X" * 100}).json()
    likely = {
        name: {t["text"]: t["p"] for t in answer[name]["answers"]}
        for name in ("full", "circuit", "without")
    }
    for name in ("full", "circuit"):
        assert likely[name]["P"] > 10 * likely[name]["Q"]
    assert likely["without"]["P"] < 2 * likely["without"]["Q"]
    assert (16, 84) == (len(long["tokens"]), long["dropped"])


def test_ask(live: Any, opened: Viewer) -> None:
    """Cutting moves loss and accuracy; the unedited circuit and the full model stand beside it."""
    session = opened.session("circuits-planted")
    with session.turns.person():
        masks = masks_of(session.model.network, session.circuit.nodes)
        alone = float(ablated_loss(session.model, session.prompts, masks).mean())
        full = float(ablated_loss(session.model, session.prompts, None).mean())
    body = {"edits": [{"off": "0.attn_v.0"}, {"cut": "0.attn_v:5->16"}], "pair": 1}
    with live.client() as client:
        asked = client.post(f"{BASE}/ask", json=body).json()
        nothing = client.post(f"{BASE}/ask", json={}).json()
    assert pytest.approx(alone, abs=1e-5) == nothing["loss"] == asked["unedited"]["loss"]
    assert pytest.approx(np.log(2), abs=0.1) == asked["loss"]  # both paths are cut: a guess
    if asked["full"]["accuracy"] is not None:  # measured in the background
        assert pytest.approx(full, abs=1e-5) == asked["full"]["loss"]
    low, high = asked["interval"]
    assert low <= asked["loss"] <= high
    assert (14, None) == (asked["nodes"], nothing["chosen"])
    assert {"full", "circuit", "without", "edited"} <= asked["chosen"].keys()
    assert asked["chosen"]["edited"]["loss"] > asked["chosen"]["circuit"]["loss"]


def test_steer(live: Any) -> None:
    """Held at the other letter's value, both paths say the other answer."""
    with live.client() as client:
        found = poll(client, f"{BASE}/activations/0.attn_v.0?text=task")
        bottom = found["minimum"]
        edits = [{"node": "0.attn_v.0", "value": bottom}, {"off": "0.attn_v.16"}]
        body = {"edits": edits, "text": "Xqwertz="}
        asked = client.post(f"{BASE}/ask", json=body).json()
    answers = {t["text"]: t["p"] for t in asked["chosen"]["edited"]["answers"]}
    assert answers["Q"] > answers["P"]


def test_save_and_verify(folder: Path, here: Any) -> None:
    """An edited circuit is saved with its own loss, and verified by a job that ends."""
    with here(folder) as server, server.client() as client:
        body = {"name": "without_b", "edits": [{"off": "0.attn_v.16"}]}
        saved = client.post(f"{BASE}/save", json=body)
        again = client.post(f"{BASE}/save", json=body)
        held = {"name": "held", "edits": [{"node": "0.attn_v.0", "value": 1.0}]}
        refused = client.post(f"{BASE}/save", json=held)
        id = saved.json()["id"]
        job = client.post(f"/api/circuits/{id}/verify", json={}).json()
        for _ in range(1200):
            job = client.get(f"/api/jobs/{job['id']}").json()
            if job["state"] not in ("waiting", "running"):
                break
            time.sleep(0.1)
        shown = client.get(f"/api/circuits/{id}").json()
    assert (201, 409, 422) == (saved.status_code, again.status_code, refused.status_code)
    assert ("done", 100) == (job["state"], job["done"]), job
    assert shown["verdict"]
    circuit = Circuit.load(folder / "circuits" / "without_b")
    before = Circuit.load(folder / "circuits" / "planted")
    assert before.n_nodes - 1 == circuit.n_nodes
    assert circuit.losses["circuit"] > before.losses["circuit"]
    assert (
        pytest.approx(circuit.losses["circuit"], abs=1e-5)
        == (shown["verification"]["sufficient"]["loss"])
    )


def test_which_tests_are_run(folder: Path, here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short ones unless all are asked for; nothing else is an answer."""
    asked: list[list[str]] = []
    add = Jobs.add

    def noted(self: Jobs, kind: Any, subject: str, arguments: Any, then: Any) -> Any:
        asked.append(list(arguments))
        return add(self, kind, subject, arguments, then)

    monkeypatch.setattr(Jobs, "add", noted)
    with here(folder) as server, server.client() as client:
        for body in ({}, {"all": True}):
            job = client.post(f"{BASE}/verify", json=body).json()
            client.post(f"/api/jobs/{job['id']}/cancel", json={})
        assert 422 == client.post(f"{BASE}/verify", json={"all": "some"}).status_code
    assert ["--quick" in arguments for arguments in asked] == [True, False]
    assert all("verify" == arguments[0] for arguments in asked)


def test_cancelled_job(live: Any) -> None:
    """A job is cancelled whether it waits or runs; a job like it is not queued twice."""
    with live.client() as client:
        first, second, other = (
            client.post(f"/api/circuits/{id}/verify", json={}).json()
            for id in ("circuits-random", "circuits-random", "circuits-path_a")
        )
        assert first["id"] == second["id"]
        for job in (other, first):
            done = client.post(f"/api/jobs/{job['id']}/cancel", json={}).json()
            assert done["state"] in ("cancelled", "done")
        assert 404 == client.get("/api/jobs/99999").status_code


def test_compare(live: Any) -> None:
    """Path A lies within the planted circuit; circuits of two models share no names."""
    left, right = "circuits-planted", "circuits-path_a"
    with live.client() as client:
        same = client.get(f"/api/compare?left={left}&right={right}").json()
        other = client.get(f"/api/compare?left={left}&right=circuits-random").json()
    assert [] == same["nodes"]["right"] == same["edges"]["right"]
    assert (8, 7) == (len(same["nodes"]["shared"]), len(same["nodes"]["left"]))
    assert pytest.approx(8 / 15, abs=1e-5) == same["jaccard"]["nodes"]
    assert (False, None, None) == tuple(other[k] for k in ("same_model", "nodes", "jaccard"))


def test_proposal(live: Any) -> None:
    """The head of path A, and the channels that pass a number on, are proposed as groups."""
    with live.client() as client:
        found = client.get(f"{BASE}/proposal").json()["supernodes"]
    groups = {tuple(group["members"]) for group in found}
    assert ("0.attn_q.0", "0.attn_k.0", "0.attn_v.0") in groups
    assert ("0.attn_out.6", "0.mlp_in.6") in groups


def test_nobody_waits_for_ever() -> None:
    """Who cannot have a turn in time is told so."""
    turns = Turns()
    with turns.person(), pytest.raises(BusyError), turns.person(seconds=0.01):
        pass
    with turns.person(seconds=0.01):
        pass

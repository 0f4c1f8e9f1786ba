"""Circuits of open models over HTTP, against the package asked directly."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import latent
from opened import GPT2, served

from lacewing.ablation.attribution import node_rises
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.errors import DataError, MismatchError
from lacewing.model.hooks import ablate, record
from lacewing.model.store import Model
from lacewing.sae import folder as autoencoders
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.scoring import two_answer_loss
from lacewing.viewer import home, opened
from lacewing.viewer.answers import AskGroups, Edit
from lacewing.viewer.opening import Opening
from lacewing.viewer.state import Viewer
from lacewing.viewer.tracing import Tracing
from lacewing.viewer.turns import BusyError

ID = "circuits-closing"
Made = tuple[Path, Model, Circuit]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A served folder, its model and its circuit; read only."""
    return served(tmp_path_factory.mktemp("open"))


@pytest.fixture(scope="module")
def prompts(made: Made) -> Prompts:
    """The pairs that questions are asked of."""
    _, model, circuit = made
    return encode(circuit.pairs[: opened.PAIRS], model.tokenizer, model.network.config.context)


@pytest.fixture(scope="module")
def opening(made: Made) -> Iterator[Opening]:
    """The folder, opened without a server."""
    viewer = Viewer(made[0])
    tracing = Tracing(viewer)
    one = Opening(viewer, tracing)
    until(lambda: one.overview(ID), lambda found: found["state"] != "opening")
    yield one
    for part in (viewer, tracing, one):
        part.close()


def until(ask: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
    """Ask again and again, as the page does."""
    for _ in range(2400):
        try:
            if done(found := ask()):
                return found
        except BusyError:
            pass
        time.sleep(0.05)
    raise AssertionError("no answer in two minutes")


def asked(opening: Opening, *edits: Edit, **more: Any) -> Any:
    """What the circuit does with edits, once it is measured."""
    ask = AskGroups(edits=list(edits), **more)
    return until(lambda: opening.ask(ID, ask), lambda found: found["state"] == "ready")


def test_home_says_that_it_opens(made: Made, opening: Opening) -> None:
    """The row has no error, and leads to groups."""
    (row,) = home.home(opening.viewer)["circuits"]
    assert (row["error"], row["grouped"]) == (None, True)
    assert row["nodes"] == made[2].n_nodes


def test_groups_add_up(made: Made, opening: Opening, prompts: Prompts) -> None:
    """Heads add up to sites, sites to the circuit; strengths are those of attribution."""
    _, model, circuit = made
    ready = until(lambda: opening.overview(ID), lambda f: f["strengths"]["state"] != "computing")
    assert ready["strengths"]["state"] == "ready"
    assert sum(group["nodes"] for group in ready["groups"]) == circuit.n_nodes
    rises = node_rises(
        model.network,
        masks_of(model.network, circuit.nodes),
        model.means,
        prompts.first(opened.RANKED),
    )
    for group in ready["groups"]:
        kept = circuit.nodes[group["name"]]
        assert len(kept) == group["nodes"]
        expected = float(rises[group["name"]].numpy()[kept].sum())
        assert group["rise"] == pytest.approx(expected, abs=2e-5)
        if group["heads"]:
            assert sum(head["nodes"] for head in group["heads"]) == group["nodes"]
    listed = opening.nodes(ID, "1.mlp_neuron", 0)
    assert listed["total"] == len(circuit.nodes["1.mlp_neuron"])
    sizes = [abs(row["rise"]) for row in listed["nodes"]]
    assert sizes == sorted(sizes, reverse=True)
    head = opening.nodes(ID, "0.attn_q:1", 0)
    size = model.network.config.d_head
    channels = {int(row["node"].rpartition(".")[2]) // size for row in head["nodes"]}
    assert channels == {1}


def test_switches_are_measured(made: Made, opening: Opening, prompts: Prompts) -> None:
    """A head and a node off, another held: the loss is that of hooks set by hand."""
    _, model, circuit = made
    plain = asked(opening)
    masks = masks_of(model.network, circuit.nodes)
    calibration = circuit.calibration
    before = float(ablated_loss(model, prompts, masks, calibration=calibration).mean())
    assert plain["circuit"]["loss"] == pytest.approx(before, abs=1e-4)
    assert plain["edited"] == plain["circuit"]
    full = float(ablated_loss(model, prompts, None).mean())
    assert plain["full"]["loss"] == pytest.approx(full, abs=1e-4)

    size = model.network.config.d_head
    neuron = int(circuit.nodes["1.mlp_neuron"][0])
    off, held = Edit(off="1.attn_v:0"), Edit(node=f"1.mlp_neuron.{neuron}", value=3.0)
    found = asked(opening, off, held)
    values = {key: mean.clone() for key, mean in model.means.items()}
    masks["1.attn_v"][:size] = False
    masks["1.mlp_neuron"][neuron], values["1.mlp_neuron"][neuron] = False, 3.0
    hooks = {
        key: (lambda value, key=key: torch.where(masks[key], value, values[key])) for key in masks
    }
    with torch.no_grad(), ablate(model.network, hooks):
        logits = model.network(prompts.tokens, at=prompts.last)
    expected = float(two_answer_loss(logits, prompts).mean())
    assert found["edited"]["loss"] == pytest.approx(expected, abs=1e-4)
    assert abs(expected - before) > 1e-3
    gone = int((circuit.nodes["1.attn_v"] < size).sum()) + 1
    assert found["nodes"] == circuit.n_nodes - gone
    row = logits[2 * 3 + 1]
    chosen = asked(opening, off, held, pair=3, member="corrupted")["chosen"]
    difference = float(row[prompts.answer[7]] - row[prompts.other[7]])
    assert chosen["edited"]["difference"] == pytest.approx(difference, abs=1e-3)
    assert chosen["text"] == circuit.pairs[3].corrupted


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit(cut="0.attn_q:1->2"), "no edges to cut"),
        (Edit(), "one of off"),
        (Edit(off="0.mlp_neuron.99999"), "is no node"),
        (Edit(off="0.attn_q:99"), "has no head 99"),
        (Edit(off="0.mlp_in:1"), "has no head 1"),
        (Edit(off="../../etc"), "is no group"),
        (Edit(off="7.mlp_in"), "is no group"),
    ],
)
def test_refused(opening: Opening, edit: Edit, said: str) -> None:
    """Whatever names nothing of this model is refused in a line, before anything runs."""
    with pytest.raises(DataError, match=said):
        opening.ask(ID, AskGroups(edits=[edit]))
    with pytest.raises(DataError, match="no pair 16"):
        opening.ask(ID, AskGroups(pair=16))


def test_activations(made: Made, opening: Opening, prompts: Prompts) -> None:
    """A node's values in the prompts are what a hook records."""
    _, model, circuit = made
    channel = int(circuit.nodes["0.mlp_neuron"][5])
    name = f"0.mlp_neuron.{channel}"
    found = until(
        lambda: opening.activations(ID, name, "task"), lambda f: f["state"] != "computing"
    )
    with torch.no_grad(), record(model.network, ["0.mlp_neuron"]) as seen:
        model.network(prompts.tokens)
    real = torch.arange(prompts.tokens.shape[1])[None] <= prompts.last[:, None]
    values = seen["0.mlp_neuron"][..., channel][real]
    assert found["maximum"] == pytest.approx(float(values.max()), abs=0.01)
    assert found["minimum"] == pytest.approx(float(values.min()), abs=0.01)
    assert found["tokens"] == len(values)


def test_stopped(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is stopped nothing more of a question runs; the same one begins anew."""
    asked(opening)  # what switches are compared with is measured once
    began, go, runs, real = threading.Event(), threading.Event(), [0], opened.ablated_logits

    def slow(*given: Any) -> torch.Tensor:
        runs[0] += 1
        began.set()
        assert go.wait(30)
        return real(*given)

    monkeypatch.setattr(opened, "ablated_logits", slow)
    ask = AskGroups(edits=[Edit(off="0.mlp_neuron")])
    assert opening.ask(ID, ask)["state"] == "computing"
    assert began.wait(30)
    opening.stop(ID, ask)
    go.set()
    time.sleep(0.5)
    assert runs[0] == 1
    again = asked(opening, Edit(off="0.mlp_neuron"))
    assert again["edited"]["loss"] > 0
    assert runs[0] == 1 + opened.PAIRS // opened.PIECE


def test_only_models_that_are_served(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path in a circuit's file opens no folder elsewhere, unless the model was named."""
    root, model, circuit = made
    circuit.save(tmp_path / "alone")
    viewer, loads = Viewer(tmp_path), list[str]()
    tracing = Tracing(viewer)
    monkeypatch.setattr(tracing, "opened", lambda source: loads.append(source))
    opening = Opening(viewer, tracing)
    with pytest.raises(MismatchError, match="start `lacewing view --model hf:FOLDER`"):
        opening.overview("alone")
    assert loads == []
    (row,) = home.home(viewer)["circuits"]
    assert "is not served" in row["error"]
    assert not row["grouped"]
    viewer.models = (f"hf:{root / 'models' / 'gpt2'}",)
    (row,) = home.home(viewer)["circuits"]
    assert (row["error"], row["grouped"]) == (None, True)
    for part in (viewer, tracing, opening):
        part.close()
    assert np.isfinite(model.validation_loss)


def test_http(made: Made, here: Any) -> None:
    """The routes: an overview, an answer, and errors of one line with their kinds."""
    with here(made[0]) as live, live.client() as client:
        ready = until(
            lambda: client.get(f"/api/groups/{ID}").json(), lambda f: f["state"] != "opening"
        )
        assert ready["layers"] == 2
        body = {"edits": [{"off": "resid_final"}]}
        done = until(
            lambda: client.post(f"/api/groups/{ID}/ask", json=body).json(),
            lambda found: found["state"] == "ready",
        )
        assert done["edited"]["accuracy"] == 0.5  # every prompt gets the same answer
        nodes = client.get(f"/api/groups/{ID}/nodes", params={"group": "resid_final"}).json()
        assert nodes["total"] == len(made[2].nodes["resid_final"])
        assert client.get("/api/groups/nothing").status_code == 404
        assert client.get("/api/groups/builtin-taught-tiny-indent_for").status_code in (404, 409)
        wrong = client.post(f"/api/groups/{ID}/ask", json={"edits": [{"off": "9.attn_in"}]})
        assert wrong.status_code == 422
        assert "\n" not in wrong.json()["error"]["message"]
        other = client.post(
            f"/api/groups/{ID}/ask", json=body, headers={"origin": "http://elsewhere"}
        )
        assert other.status_code == 403
        drawn = client.get(f"/api/circuits/{ID}")
        assert drawn.status_code == 409
        assert "shown in groups" in drawn.json()["error"]["message"]


def test_a_circuit_that_fits_no_more(made: Made, tmp_path: Path) -> None:
    """Another model under the same name is told, not shown."""
    root = Path(shutil.copytree(made[0], tmp_path / "work"))
    config = root / "models" / "gpt2" / "config.json"
    config.write_text(
        config.read_text().replace('"layer_norm_epsilon": 1e-05', '"layer_norm_epsilon": 2e-05')
    )
    viewer = Viewer(root)
    tracing = Tracing(viewer)
    opening = Opening(viewer, tracing)
    with pytest.raises(MismatchError, match="belongs to model"):
        until(lambda: opening.overview(ID), lambda found: found["state"] != "opening")
    for part in (viewer, tracing, opening):
        part.close()


def test_latents_of_an_open_model(tmp_path: Path) -> None:
    """A circuit of them opens in groups too: no heads, nodes told apart, off and held."""
    place = shutil.copytree(GPT2, tmp_path / "models" / "gpt2")
    root, model, circuit = latent.served(tmp_path, f"hf:{place}", ("0.attn_v", "1.mlp_out"))
    viewer = Viewer(root)
    tracing = Tracing(viewer)
    one = Opening(viewer, tracing)
    name = "circuits-latents"
    try:
        (row,) = home.home(viewer)["circuits"]
        assert (row["error"], row["grouped"]) == (None, True)
        found = until(lambda: one.overview(name), lambda f: f["state"] != "opening")
        assert found["edges"] is None
        assert set(found["latents"]) == {"0.attn_v", "1.mlp_out"}
        kept = {group["name"]: group["nodes"] for group in found["groups"] if group["nodes"]}
        assert kept == {key: len(nodes) for key, nodes in circuit.nodes.items() if len(nodes)}
        assert not any(group["heads"] for group in found["groups"])
        with pytest.raises(DataError, match="has no head 0"):
            one.nodes(name, "0.attn_v:0", 0)
        nodes = one.nodes(name, "1.mlp_out", 0)["nodes"]
        told = {row["node"]: (row["part"], row["number"]) for row in nodes}
        missed = int(circuit.nodes["1.mlp_out"][-1])
        count = found["latents"]["1.mlp_out"]
        assert told[f"1.mlp_out.{missed}"] == ("error", missed - count)
        asked = AskGroups(edits=[Edit(off="0.attn_v"), Edit(node=nodes[0]["node"], value=2.0)])
        done = until(lambda: one.ask(name, asked), lambda f: f["state"] == "ready")
        few = encode(circuit.pairs[: opened.PAIRS], model.tokenizer, model.network.config.context)
        masks = masks_of(model.network, circuit.nodes)
        before = float(ablated_loss(model, few, masks).mean())
        assert done["circuit"]["loss"] == pytest.approx(before, abs=1e-4)
        assert abs(done["edited"]["loss"] - before) > 1e-4
        with pytest.raises(MismatchError, match="shown in groups, not drawn"):
            viewer.session(name)
        below = tracing.opened(f"hf:{place}")
        assert one.session(name).model.network.inner is below.network  # type: ignore[attr-defined]
        old = autoencoders.read(root / "saes", below)
        shutil.rmtree(root / "saes")
        means = {key: mean + 1 for key, mean in old.means.items()}
        autoencoders.save(root / "saes", below, old.saes, means, corpus="x")
        viewer.library.changed()
        with pytest.raises(MismatchError, match="belongs to model"):  # not what they were before
            until(lambda: one.overview(name), lambda f: f["state"] != "opening")
        shutil.rmtree(place)
        viewer.library.changed()
        (row,) = home.home(viewer)["circuits"]
        assert "the model of its latents" in row["error"]
        assert "--model hf:FOLDER" in row["error"]
    finally:
        for part in (viewer, tracing, one):
            part.close()

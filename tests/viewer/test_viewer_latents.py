"""Circuits of latents in the viewer, against the package asked directly."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from latent import SITES, served

import micro
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.cli import app
from lacewing.errors import DataError, MismatchError
from lacewing.model.hooks import ablate, record
from lacewing.model.store import Model, load
from lacewing.sae import folder as saved
from lacewing.statistics import pair_means
from lacewing.tasks.scoring import two_answer_loss
from lacewing.viewer import across, exports, home, replies
from lacewing.viewer.answers import Ask, Edit
from lacewing.viewer.copies import export
from lacewing.viewer.exports.rules import problems
from lacewing.viewer.state import Viewer

ID = "circuits-latents"
Made = tuple[Path, Model, Circuit]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A served folder, the model with its latents, and the circuit; read only."""
    return served(tmp_path_factory.mktemp("latents"))


@pytest.fixture(scope="module")
def viewer(made: Made) -> Iterator[Viewer]:
    """The folder, opened without a server."""
    one = Viewer(made[0], corpus=str(made[0] / "text"))
    yield one
    one.close()


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(made[0], tmp_path / "work"))


def row(root: Path) -> dict[str, Any]:
    """The circuit's row on the first page, whose error is what opening it says."""
    viewer = Viewer(root)
    try:
        (found,) = home.home(viewer)["circuits"]
        with pytest.raises(MismatchError) as refused:
            viewer.session(found["id"])
        assert found["error"] == str(refused.value)
        return dict(found)
    finally:
        viewer.close()


def ready(ask: Any) -> Any:
    """Ask again and again, as the page does."""
    for _ in range(600):
        answer = json.loads(ask())
        if answer["state"] != "computing":
            return answer
        time.sleep(0.05)
    raise AssertionError("not ready in half a minute")


def test_home_lists_it(viewer: Viewer, made: Made) -> None:
    """As any circuit: with its model, its size, and no error."""
    found = home.home(viewer)
    (listed,) = found["circuits"]
    assert (listed["error"], listed["grouped"]) == (None, False)
    assert listed["model_name"] == "dense + latents in saes"
    assert (listed["nodes"], listed["edges"]) == (made[2].n_nodes, None)
    assert found["broken"] == []
    assert "saes" not in {model["id"] for model in found["models"]}


def test_it_is_drawn(viewer: Viewer, made: Made) -> None:
    """Every latent at its site, with what it reads and writes along its own rows."""
    _, _, circuit = made
    answer = json.loads(replies.circuit_json(viewer, ID))
    assert answer["latents"] == dict.fromkeys(SITES, 384)
    assert answer["model"] == "dense"  # what a trace is asked of
    assert answer["model_nodes"] == sum(map(len, made[1].means.values())) == 3 * (384 + 128)
    assert {site["key"] for site in answer["sites"]} == set(SITES)
    assert answer["edges"]["source"] == answer["residual"] == answer["heads_kept"] == []
    nodes = {node["id"]: node for node in answer["nodes"]}
    assert len(nodes) == circuit.n_nodes
    assert nodes["resid_final.388"]["part"] == "error"
    assert nodes["resid_final.388"]["number"] == 4
    saes = saved.read(made[0] / "saes", load(made[0] / "dense"))
    first, _, last = saes.saes
    below = viewer.model(viewer.run("dense")).ours
    index = {node["id"]: i for i, node in enumerate(answer["nodes"])}
    token = answer["contrast"][0]["token"]
    columns = zip(*answer["embed"].values(), strict=True)
    weights = {node: weight for number, node, weight in columns if number == 0}
    kept = int(circuit.nodes["0.attn_in"][0])
    expected = float(first.encoder[kept] @ below.wte.weight[token])
    assert weights[index[f"0.attn_in.{kept}"]] == pytest.approx(expected, abs=1e-4)
    out = below.lm_head.weight * below.ln_f.weight
    kept = int(circuit.nodes["resid_final"][0])
    columns = zip(*answer["unembed"].values(), strict=True)
    pushed = {(node, number): weight for node, number, weight in columns}
    expected = float(out[circuit.answers[1]] @ last.decoder[kept])
    assert pushed[index[f"resid_final.{kept}"], 1] == pytest.approx(expected, abs=1e-4)


def test_the_panel_of_a_latent(viewer: Viewer, made: Made) -> None:
    """Its logits are those of its decoder's row, beside the largest channels of both rows."""
    _, _, circuit = made
    below = viewer.model(viewer.run("dense")).ours
    sae = saved.read(made[0] / "saes", load(made[0] / "dense")).saes[1]
    kept = int(circuit.nodes["0.mlp_out"][0])
    found = json.loads(replies.node_json(viewer, ID, f"0.mlp_out.{kept}"))
    logits = (below.lm_head.weight * below.ln_f.weight) @ sae.decoder[kept]
    best = found["writes"]["positive"][0]
    assert best["token"] == int(logits.argmax())
    assert best["weight"] == pytest.approx(float(logits.max()), abs=1e-4)
    assert found["reads"] is None  # it reads what an MLP writes, no token
    assert found["bias"] == pytest.approx(float(sae.encoder_bias[kept]))
    told = found["latent"]
    assert (told["latents"], told["kind"]) == (384, "topk")
    for name, weights in (("encoder", sae.encoder[kept]), ("decoder", sae.decoder[kept])):
        assert told[name]["site"] == "0.mlp_out"
        largest = told[name]["channels"][0]
        assert largest["channel"] == int(weights.abs().argmax())
        assert largest["weight"] == pytest.approx(float(weights[largest["channel"]]), abs=1e-4)
    missed = json.loads(replies.node_json(viewer, ID, "0.mlp_out.391"))
    assert (missed["part"], missed["number"], missed["bias"]) == ("error", 7, None)
    assert missed["latent"]["encoder"] is missed["latent"]["decoder"] is None
    assert found["effect"]["pairs"] == len(circuit.pairs)


@pytest.mark.parametrize("ablation", ["mean", "zero", "resample"])
def test_a_latent_off_and_one_held(viewer: Viewer, made: Made, ablation: str) -> None:
    """The loss is that of hooks set by hand on the latents; so is the chosen prompt's answer."""
    _, model, circuit = made
    session = viewer.session(ID)
    one, other = (int(circuit.nodes["0.mlp_out"][i]) for i in (0, 1))
    edits = [Edit(off=f"0.mlp_out.{one}"), Edit(node=f"0.mlp_out.{other}", value=4.0)]
    found = session.ask(Ask(edits=edits, ablation=ablation, pair=1, member="corrupted"))
    masks = masks_of(model.network, circuit.nodes)
    plain = ablated_loss(model, session.prompts, masks, ablation)
    assert found.unedited.loss == pytest.approx(float(plain.mean()), abs=1e-4)
    assert found.nodes == circuit.n_nodes - 1
    if ablation != "resample":
        values = {
            key: torch.zeros_like(mean) if ablation == "zero" else mean.clone()
            for key, mean in model.means.items()
        }
        masks["0.mlp_out"][[one, other]] = False
        values["0.mlp_out"][other] = 4.0
        hooks = {
            key: (lambda value, key=key: torch.where(masks[key], value, values[key]))
            for key in masks
        }
        with torch.no_grad(), ablate(model.network, hooks):
            logits = model.network(session.prompts.tokens, at=session.prompts.last)
        losses = two_answer_loss(logits, session.prompts)
        assert found.loss == pytest.approx(float(pair_means(losses).mean()), abs=1e-4)
        assert found.chosen is not None
        assert found.chosen.edited is not None
        assert found.chosen.edited.loss == pytest.approx(float(losses[3]), abs=1e-4)
    assert abs((found.loss or 0) - float(plain.mean())) > 1e-3


def test_a_typed_prompt(viewer: Viewer, made: Made) -> None:
    """The whole model, the circuit and the rest answer; the whole is the model itself."""
    found = viewer.session(ID).answer_text("Xabcdefghi=")
    below = viewer.model(viewer.run("dense"))
    tokens = torch.tensor([below.tokenizer.encode("Xabcdefghi=")])
    chances = below.network(tokens)[0, -1].softmax(0)
    assert found.full.top[0].p == pytest.approx(float(chances.max()), abs=1e-4)
    assert len({found.full.top[0].p, found.circuit.top[0].p, found.without.top[0].p}) == 3


def test_effects_and_texts(viewer: Viewer, made: Made) -> None:
    """What each latent is worth, one by one; and where it acts, over prompts and natural text."""
    _, model, circuit = made
    effects = ready(lambda: replies.effects_json(viewer, ID))
    assert effects["edges"] == {}
    assert len(effects["nodes"]) == circuit.n_nodes
    name = max(effects["nodes"], key=effects["nodes"].__getitem__)
    session = viewer.session(ID)
    alone = session.ask(Ask(edits=[Edit(off=name)])).loss or 0
    whole = session.ask(Ask()).loss or 0
    assert effects["nodes"][name] == pytest.approx(alone - whole, abs=1e-4)
    with record(model.network, ["0.mlp_out"]) as seen:
        model.network(session.prompts.tokens)
    kept = int(circuit.nodes["0.mlp_out"][0])
    for text in ("task", "natural"):
        said = ready(
            lambda text=text: replies.activations_json(viewer, ID, f"0.mlp_out.{kept}", text)
        )
        assert said["groups"][0]["examples"]
        if text == "task":
            most = float(seen["0.mlp_out"][..., kept].max())
            assert said["maximum"] == pytest.approx(most, rel=2e-3)


def test_what_cannot_be_done_says_so(viewer: Viewer) -> None:
    """In one line each: an edge, a head, a graph along channels; no bridge is offered."""
    session = viewer.session(ID)
    with pytest.raises(DataError, match="no weight joins two latents"):
        session.ask(Ask(edits=[Edit(cut="0.attn_q:1->2")]))
    with pytest.raises(DataError, match="look at heads in a circuit of the model under them"):
        replies.attention_json(viewer, ID, "0.0", 0, "clean")
    with pytest.raises(DataError, match=r"save wiring\.json"):
        exports.make(session, "graph.json", 0, "clean")
    with pytest.raises(DataError, match=r"0\.mlp_out has 512 nodes"):
        session.ask(Ask(edits=[Edit(off="0.mlp_out.512")]))
    with pytest.raises(DataError, match=r"0\.attn_q has 0 nodes"):
        session.ask(Ask(edits=[Edit(off="0.attn_q.0")]))
    assert across.listed(viewer, ID) == {"bridges": []}
    assert json.loads(replies.proposal_json(viewer, ID)) == {"supernodes": []}


def test_its_files(viewer: Viewer, made: Made) -> None:
    """Those that say nothing of channels are there; the wiring keeps the readers' rules."""
    session = viewer.session(ID)
    made_of = {
        name: exports.make(session, name, 0, "clean").decode()
        for name in exports.KINDS
        if name != "graph.json"
    }
    wiring = json.loads(made_of["wiring.json"])
    assert problems(wiring) == []
    read = made[2].nodes["0.attn_in"].tolist()  # latents beyond the count of channels too
    assert any(micro.WIDTH <= number < 384 for number in read)
    embedded = {link["target"] for link in wiring["links"] if link["source"] == "E_0_0"}
    assert embedded == {f"1_{number}_0" for number in read}
    assert len(made_of["nodes.csv"].splitlines()) == made[2].n_nodes + 1
    assert made_of["edges.csv"].splitlines() == ["edge,source,destination,weight"]
    assert made_of["circuit.svg"].count("<circle") == made[2].n_nodes
    for name in ("circuit.dot", "circuit.mmd"):
        assert f"0.mlp_out.{made[2].nodes['0.mlp_out'][0]}" in made_of[name]


def test_no_program(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """`lacewing program` refuses it in one line that says why, and writes nothing."""
    folder = made[0] / "circuits" / "latents"
    with pytest.raises(SystemExit):
        app.main(["program", "--circuit", str(folder)])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "a program of a circuit is there for nodes that weights join" in line
    assert not list(folder.glob("*.py"))


def test_an_edited_circuit_is_saved(copied: Path) -> None:
    """Beside the old one, of the same latents; it opens again, with the loss it had."""
    viewer = Viewer(copied)
    try:
        circuit = viewer.session(ID).circuit
        name = circuit.node_names()[0]
        viewer.session(ID).measured_circuit([Edit(off=name)], None).save(copied / "less")
        viewer.library.changed()
        again = viewer.session("less")
        assert again.circuit.n_nodes == circuit.n_nodes - 1
        assert again.ask(Ask()).loss == pytest.approx(again.circuit.losses["circuit"], abs=1e-5)
        both = json.loads(replies.compare_json(viewer, ID, "less"))
        assert both["nodes"]["left"] == [name]
    finally:
        viewer.close()


def test_a_read_only_copy(made: Made, tmp_path: Path) -> None:
    """The page without a server has it too."""
    made_of = export(made[0], tmp_path / "copy", str(made[0] / "text"))
    assert made_of["answers"] > made[2].n_nodes
    assert "circuits-latents" in (tmp_path / "copy" / "data.js").read_text()
    assert (tmp_path / "copy" / "export" / f"{ID}.wiring.json").exists()
    assert not (tmp_path / "copy" / "export" / f"{ID}.graph.json").exists()


def test_autoencoders_that_are_gone(copied: Path) -> None:
    """One line names them; the rest of the page stands."""
    shutil.rmtree(copied / "saes")
    found = row(copied)
    assert "its autoencoders in saes are missing (there is no such folder)" in found["error"]
    assert found["nodes"]


def test_autoencoders_that_are_damaged(copied: Path) -> None:
    """They have a row of their own that says what is wrong with them."""
    (copied / "saes" / "sae.json").write_text("{")
    assert "missing (they cannot be read)" in row(copied)["error"]
    viewer = Viewer(copied)
    assert [part["folder"] for part in home.home(viewer)["broken"]] == ["saes"]
    viewer.close()


def test_autoencoders_elsewhere(copied: Path) -> None:
    """Outside of the served folder nothing is opened, nor told."""
    error = row(copied / "circuits")["error"]
    assert "are not under the served folder" in error
    assert "no such folder" not in error


def test_a_model_that_is_gone(copied: Path) -> None:
    """The model under the latents is named."""
    shutil.rmtree(copied / "dense")
    error = row(copied)["error"]
    assert "the model of its latents" in error
    assert "../dense" in error


def test_other_autoencoders(copied: Path, made: Made) -> None:
    """Trained anew in the same folder they are others: told when the circuit is opened."""
    model = load(made[0] / "dense")
    old = saved.read(copied / "saes", model)
    shutil.rmtree(copied / "saes")
    means = {key: mean + 1 for key, mean in old.means.items()}
    saved.save(copied / "saes", model, old.saes, means, corpus="x")
    viewer = Viewer(copied)
    with pytest.raises(MismatchError, match="belongs to model"):
        viewer.session(ID)
    viewer.close()


def test_a_job_loads_what_is_served(copied: Path, here: Any) -> None:
    """Where autoencoders name a model elsewhere, no other process opens it for them."""
    with here(copied) as live, live.client() as client:
        job = client.post(f"/api/circuits/{ID}/verify", json={})
        assert job.status_code == 202
        client.post(f"/api/jobs/{job.json()['id']}/cancel", json={})
    shutil.copytree(copied / "dense", copied.parent / "dense")
    elsewhere = load(copied.parent / "dense")
    old = saved.read(copied / "saes", elsewhere)
    shutil.rmtree(copied / "saes")
    saved.save(copied / "saes", elsewhere, old.saes, dict(old.means), corpus="x")
    with here(copied) as live, live.client() as client:
        refused = client.post(f"/api/circuits/{ID}/verify", json={})
        assert refused.status_code == 409
        assert "run lacewing verify in a terminal" in refused.json()["error"]["message"]

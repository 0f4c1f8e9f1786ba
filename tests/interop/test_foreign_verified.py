"""Circuits of each foreign format through `verify`: one that is there passes, a random one fails.

In prompts of up to 32 tokens `tests/model/gpt2` knows what stands under `except` and after `return`
by head 0.1 and MLP 0: of 16 pairs of one head and one MLP it alone passes the short test. The micro
model's circuit is planted. auto-circuit's edges are names that auto-circuit 1.0.1 wrote,
circuit-tracer's graph is one of 0.5.0's models dumped, less some nodes; EAP-IG, which is on no
index, as `Graph.to_json` of its repository writes it (src/eap/graph.py, commit 4fad6c6).
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import lacewing
import micro
from lacewing.ablation.masks import masks_of
from lacewing.ablation.modes import Running, interchanged, partners
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.parts import INSIDE
from lacewing.errors import ConfigError, MismatchError
from lacewing.interop.foreign import foreign_circuit
from lacewing.model.store import Model
from lacewing.programs.compile import compile_plan
from lacewing.programs.reference import Reference
from lacewing.verification.finding import NOT_SEARCHED
from lacewing.verification.random_circuits import random_nodes
from lacewing.verification.suite import parts_without
from lacewing.verification.verify import test_prompts as prompts_of
from lacewing.verification.verify import verify
from lacewing.viewer.edits import Changes, edited
from lacewing.watch.compare import compare_versions

HERE = Path(__file__).parent
TASK = "except_return"
CONFIG = PruneConfig(
    target_loss=0.5, max_tokens=32, train_pairs=48, validation_pairs=48, test_pairs=48
)
OURS = {"format": "lacewing-parts-1"}


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of GPT-2's layout, trained on real text."""
    place = tmp_path_factory.mktemp("open") / "gpt2"
    return lacewing.load(f"hf:{shutil.copytree(HERE.parent / 'model' / 'gpt2', place)}")


def lacewing_parts(layer: int, head: int, mlp: int) -> dict[str, Any]:
    """A list of a head and an MLP."""
    return OURS | {"heads": [f"{layer}.{head}"], "mlps": [mlp]}


def eap_ig(layer: int, head: int, mlp: int) -> dict[str, Any]:
    """A graph of the edges into a head and from it, through an MLP where that lies behind it."""
    names = [f"a{n}.h{h}" for n in range(2) for h in range(4)] + ["m0", "m1", "input", "logits"]
    own, last = f"a{layer}.h{head}", f"m{mlp}"
    kept = [f"input->{own}<{letter}>" for letter in "qkv"]
    kept += [f"{own}->{last if mlp >= layer else 'logits'}", f"{last}->logits"]
    every = [f"a{n}.h{h}->logits" for n in range(2) for h in range(4)] + ["input->logits", *kept]
    return {
        "cfg": {"n_layers": 2, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 64},
        "nodes": {n: {"in_graph": n in {own, last, "input", "logits"}} for n in names},
        "edges": {e: {"score": 0.1, "in_graph": e in kept} for e in every},
    }


def auto_circuit(layer: int, head: int, mlp: int) -> dict[str, Any]:
    """Of the edges that the tool wrote down those between the parts and the two ends."""
    written = json.loads((HERE / "auto_circuit_1.0.1.json").read_text())["edges"]
    mine = {f"A{layer}.{head}", f"MLP {mlp}", "Resid Start", "Resid End"}
    mine |= {f"A{layer}.{head}.{letter}" for letter in "QKV"}
    kept = [edge for edge in written if mine >= set(edge.split("->"))]
    assert len(kept) >= 6
    return {"edges": kept}


def circuit_tracer(layer: int, head: int, mlp: int) -> dict[str, Any]:
    """A graph without the features of the other layer; it names no head."""
    plain = json.loads((HERE / "circuit_tracer_0.5.0.json").read_text())
    others = {str(n) for n in range(2)} - {str(mlp)}
    return plain | {"nodes": [node for node in plain["nodes"] if node["layer"] not in others]}


def _written(place: Path, plain: Any) -> Path:
    file = place / "circuit.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    return file


@pytest.mark.parametrize("made", [lacewing_parts, eap_ig, auto_circuit, circuit_tracer])
def test_each_format_through_verify(gpt2: Model, tmp_path: Path, made: Any) -> None:
    """The circuit that is there is sufficient and necessary; one drawn at random is not."""
    dice = np.random.default_rng(0)
    other = int(dice.integers(1, 8))  # none of the circuit's: head 1 of layer 0 is left out
    drawn = (other // 4, other % 4 + (other == 1), 1)
    for where, holds in (((0, 1, 0), True), (drawn, False)):
        circuit = foreign_circuit(_written(tmp_path, made(*where)), gpt2, TASK, CONFIG)
        found = verify(gpt2, circuit, quick=True, random_circuits=4, quiet=True)
        assert (found.verdict == "2 of 2 short tests") is holds
        assert holds or "fails: " in found.verdict
        assert holds or found.sufficient.verdict is False


def test_what_is_not_claimed_runs_freely(gpt2: Model, tmp_path: Path) -> None:
    """Without a head that does nothing the model does its task; its partner's values carry nothing.

    With the reads, writes and final residual of its layer in the circuit all would be at one mean,
    or all the partner's, whatever the head.
    """
    file = _written(tmp_path, OURS | {"heads": ["0.2"]})
    circuit = foreign_circuit(file, gpt2, TASK, CONFIG)
    prompts = prompts_of(gpt2, circuit).first(12)
    removed = masks_of(gpt2.network, circuit.nodes, complement=True)
    full = ablated_logits(gpt2, prompts, None)
    without = ablated_logits(gpt2, prompts, removed)
    assert float(without.std(0).mean()) > 0.5 * float(full.std(0).mean())
    (carried,) = interchanged(prompts, partners(prompts), [Running(gpt2.network, removed)])
    theirs = full[partners(prompts)]
    assert float((carried - full).abs().mean()) < 0.5 * float((carried - theirs).abs().mean())


def test_controls_have_as_many_heads_and_mlps(gpt2: Model, tmp_path: Path) -> None:
    """No control is dead: each has another head and the other MLP, whole, and the same sites."""
    circuit = foreign_circuit(_written(tmp_path, lacewing_parts(0, 1, 0)), gpt2, TASK, CONFIG)
    for nodes in random_nodes(gpt2, circuit, 0, 8):
        assert nodes.keys() == circuit.nodes.keys()
        assert sum(map(len, nodes.values())) == circuit.n_nodes
        assert len(nodes["1.mlp_neuron"]) == 256
        assert not np.intersect1d(nodes["0.attn_v"], circuit.nodes["0.attn_v"]).size


def test_it_is_saved_with_what_it_claims(gpt2: Model, tmp_path: Path) -> None:
    """A folder opens as the same circuit; what needs reads and writes says that it cannot."""
    circuit = foreign_circuit(_written(tmp_path, auto_circuit(0, 1, 0)), gpt2, TASK, CONFIG)
    circuit.save(tmp_path / "saved")
    again = Circuit.load(tmp_path / "saved")
    again.check(gpt2)
    assert again.parts == circuit.parts
    assert again == circuit
    assert {key.partition(".")[2] for key in again.nodes} == set(INSIDE)
    with pytest.raises(MismatchError, match="cannot be combined"):
        circuit & again
    with pytest.raises(ConfigError, match="no program can be written"):
        lacewing.program(gpt2, circuit)
    whole = masks_of(gpt2.network, again.nodes)
    assert all(bool(whole[key].all()) for key in whole.keys() - again.nodes.keys())
    assert torch.equal(whole["0.attn_v"].nonzero()[:, 0], torch.arange(16, 32))


def test_the_suite_on_planted_parts(tmp_path: Path) -> None:
    """Heads 0.0 and 0.1 with neuron 0.0 compute the answer, and nothing else does."""
    model = lacewing.load(str(micro.write_run(micro.micro(), tmp_path / "run")))
    task = str(micro.write_pairs(tmp_path / "pairs.jsonl", count=320))
    corpus = str(micro.write_letters(tmp_path / "text"))
    config = PruneConfig(
        target_loss=0.1, max_tokens=16, train_pairs=48, validation_pairs=48, test_pairs=48
    )
    slow = ("complement", "agreement", "natural", "attention", "features")
    slow += ("rewrites", "baselines", "alternatives")
    parts = parts_without(slow, more=True)
    verdicts = []
    for heads, neuron in ((["0.0", "0.1"], "0.0"), (["0.5", "0.6"], "0.9")):
        file = _written(tmp_path, OURS | {"heads": heads, "neurons": [neuron]})
        circuit = foreign_circuit(file, model, task, config, corpus=corpus)
        found = verify(model, circuit, corpus=corpus, task=task, parts=parts, quiet=True)
        verdicts.append({test.name: test.passed for test in found.tests})
        reasons = {left.reason for left in found.left_out if left.name in ("control", "stability")}
        assert reasons == {NOT_SEARCHED}
    true, random = verdicts
    assert all(true.values())
    failing = {name for name, passed in random.items() if passed is False}
    modes = ("mean", "zero", "resample", "frozen")
    wanted = {f"{test}.{mode}" for test in ("sufficient", "necessary") for mode in modes}
    assert failing == wanted | {"interchange"}


def test_a_list_of_heads_in_a_model_of_ours(tmp_path: Path) -> None:
    """Saved, it is drawn, edited, attacked and compared; a program is refused in a line."""
    run = micro.write_run(micro.micro(), tmp_path / "run")
    model, task = lacewing.load(str(run)), str(micro.write_pairs(tmp_path / "pairs.jsonl"))
    file = _written(tmp_path, OURS | {"heads": ["0.0", "0.1"], "neurons": ["0.0"]})
    corpus = str(micro.write_letters(tmp_path / "text"))
    circuit = foreign_circuit(file, model, task, CONFIG, corpus=corpus)
    less = Changes(frozenset({"0.mlp_neuron.0"}), frozenset(), frozenset(), {})
    assert "0.mlp_neuron" in circuit._repr_html_()
    assert edited(circuit, model, less).n_nodes == circuit.n_nodes - 1
    assert Reference(model, circuit).answers(prompts_of(model, circuit)).shape[0]
    with pytest.raises(ConfigError, match="no program can be written for a circuit of another"):
        compile_plan(model, circuit)
    found = compare_versions(model, model, [circuit], random_circuits=4, quiet=True)
    assert found.survived

"""The planted circuit: every role is found, supported by interventions, and the listing runs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import micro
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.cli.app import main
from lacewing.data.corpus import Document
from lacewing.errors import ConfigError
from lacewing.explain import labels
from lacewing.explain.change import Change
from lacewing.explain.explain import Explained, explain
from lacewing.explain.library import Library
from lacewing.explain.parse import parse
from lacewing.explain.records import collect
from lacewing.explain.stage import Stage
from lacewing.explain.text import Text, text_of
from lacewing.explain.validate import replay
from lacewing.model.store import load
from lacewing.programs.names import spelled

ROLES = {
    "0.attn_in.1": 'tok[0] == "X"',
    "0.attn_in.2": 'tok[0] in {"X", "Y"}',
    "0.attn_in.3": 'tok[0] == "="',
    "0.attn_in.5": 'tok[0] == "X"',
    "0.attn_q.0": 'tok[0] == "="',
    "0.attn_k.0": 'tok[0] in {"X", "Y"}',
    "0.attn_v.0": 'tok[0] == "X"',
    "0.attn_v.16": 'tok[0] == "X"',
}
"""What the nodes before the mixing were planted to mean; Y is the other side of X."""


@pytest.fixture(scope="module")
def found(letters: Text) -> Explained:
    """The planted circuit, explained and tested."""
    model = micro.micro()
    circuit = micro.make(model, micro.PLANTED, pairs=tuple(micro._pairs(24, 9)))
    return explain(model, circuit, text=letters, pairs=24)


def test_roles(found: Explained, letters: Text) -> None:
    """Every planted meaning is found on one of the node's two sides."""
    by_name = {e.node: e for e in found.nodes}
    library = Library(letters)
    features = {name: feature for name, (_, feature) in letters.features.items()}
    for node, role in ROLES.items():
        truth = library.columns.truth(parse(role, features))
        said = (by_name[node].predicate, by_name[node].opposite)
        assert any((library.columns.truth(p) == truth).all() for p in said), (node, said)


def test_all_are_supported(found: Explained) -> None:
    """The verdict of every node of the planted circuit."""
    assert {n: c.verdict for n, c in found.causal.items() if c.verdict != "supported"} == {}
    assert found.share("supported") == 1.0


def test_the_listing_does_the_task(found: Explained) -> None:
    """Run as a program, with nothing computed from node to node, it answers as the circuit."""
    assert found.listing is not None
    assert len(found.listing.lines) == len(found.nodes)
    assert found.listing.scores["program_accuracy"] == 1.0


def test_groups(found: Explained) -> None:
    """Nodes that mean the same are one group."""
    homes = [set(group["nodes"]) for group in found.groups]
    assert any({"0.attn_in.1", "0.attn_v.0"} <= home for home in homes)


def test_a_log_replays(found: Explained, letters: Text) -> None:
    """Every step done again gives the same; a log that was changed is told from it."""
    model = found.model
    circuit = micro.make(model, micro.PLANTED, pairs=tuple(micro._pairs(24, 9)))
    library = Library(letters)
    stage = Stage.of(model, circuit, library, 24)
    node = "0.attn_in.1"
    log = json.loads(json.dumps(found.causal[node].as_json()["log"]))
    values = next(collect(model, letters, [node]))[1]
    assert replay(stage, library, log, values) == []
    log[0]["tests"][2]["effect"] = 0.123
    assert len(replay(stage, library, log, values)) == 1


def test_the_stage_is_the_calibrated_circuit(letters: Text) -> None:
    """The circuit's scale and bias are part of it; with nothing ablated the model has none."""
    model = micro.micro()
    tilt = Calibration(scale=2.0, bias={47: 3.0, 48: -3.0})
    circuit = micro.make(
        model, micro.PLANTED, pairs=tuple(micro._pairs(8, 9)), answers=(47, 48), calibration=tilt
    )
    stage = Stage.of(model, circuit, Library(letters), 8)
    plain = ablated_logits(model, stage.prompts, masks_of(model.network, circuit.nodes))
    assert torch.allclose(stage.logits(), calibrated(plain, tilt), atol=1e-4)
    whole = ablated_logits(model, stage.prompts, None)
    assert torch.allclose(stage.logits(base={}), whole, atol=1e-4)


def test_changes_in_a_compiled_circuit(documents: list[Document]) -> None:
    """With nodes set at some tokens it answers as hooks in the model do."""
    model = load("builtin:sparse")
    circuit = Circuit.load("builtin:sparse/single_double_quote")
    text = text_of(documents, model.tokenizer, 64, 20_000)
    stage = Stage.of(model, circuit, Library(text), 8)
    dice, names = np.random.default_rng(0), circuit.node_names()
    assert torch.allclose(stage.logits(), stage.logits(base=stage.base), atol=1e-3)
    for node in [names[i] for i in dice.permutation(len(names))[:12]] + [names[-1]]:
        where = stage.there & torch.from_numpy(dice.random(stage.there.shape) < 0.5)
        value = torch.from_numpy(dice.normal(0, 3, where.shape).astype(np.float32))
        changes = [Change(node, value, where), Change(names[0], 1.5, where)]
        assert torch.allclose(
            stage.logits(changes), stage.logits(changes, base=stage.base), atol=1e-3
        ), node


def test_a_wrong_claim_is_not_supported(letters: Text) -> None:
    """A distractor that the circuit does not need gets no support."""
    model = micro.micro()
    kept = micro.PLANTED | {"0.mlp_in": [6, 40], "resid_final": [4, 7, 90]}
    circuit = micro.make(model, kept, pairs=tuple(micro._pairs(24, 9)))
    found = explain(model, circuit, ["0.mlp_in.40", "resid_final.90"], text=letters, pairs=24)
    assert all(card.verdict != "supported" for card in found.causal.values())


def test_the_file_of_labels(found: Explained, tmp_path: Path) -> None:
    """It holds what --json prints; labels are short and of described nodes alone."""
    labels.save(tmp_path, found.as_json())
    back = labels.load(tmp_path)
    assert back["schema"] == labels.SCHEMA
    short = labels.labels(back)
    assert short["0.attn_in.3"] == '"="'
    assert all(len(label) <= labels.LONGEST for label in short.values())


def test_nothing_to_explain() -> None:
    """Neither a circuit nor nodes is one line."""
    with pytest.raises(ConfigError, match="say what to explain"):
        explain(micro.micro())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to explain"),
        (["--nodes", "0.mlp_neuron.1"], "needs the model"),
        (["--model", "builtin:taught-tiny", "--nodes", "0.mlp.1"], "is no node"),
        (
            ["--model", "builtin:taught-tiny", "--nodes", "0.attn_q.1", "--tokens", "0"],
            "at least 1",
        ),
    ],
)
def test_the_command_refuses(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mistakes of the user's are one line and exit code 2."""
    with pytest.raises(SystemExit, match="2"):
        main(["explain", *words])
    assert message in capsys.readouterr().err


def test_the_command(tmp_path: Path, letters: Text, capsys: pytest.CaptureFixture[str]) -> None:
    """`lacewing explain --circuit DIR --json` prints the shape that is promised."""
    model = micro.micro()
    run = micro.write_run(model, tmp_path / "run")
    folder = tmp_path / "quote"
    pairs = tuple(micro._pairs(12, 9))
    facts = {"model_source": str(run), "answers": (47, 48)}
    micro.make(model, micro.PATH_A, pairs=pairs, **facts).save(folder)
    corpus = tmp_path / "text"
    for document in np.unique(letters.document)[:60]:
        ids = letters.ids[letters.document == document]
        path = corpus / f"{document}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(letters.pieces[i] for i in ids))
    words = ["explain", "--circuit", str(folder), "--corpus", str(corpus), "--tokens", "20000"]
    main([*words, "--pairs", "8", "--records", str(tmp_path / "records"), "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"nodes", "supported", "explained", "seconds_per_node"} <= result.keys()
    keys = {"node", "explanation", "sentence", "f1", "pearson", "control", "verdict"}
    assert all(keys <= row.keys() for row in result["nodes"])
    assert (folder / labels.FILE).exists()
    assert (tmp_path / "records" / "index.json").exists()
    main(["program", "--circuit", str(folder)])
    written = (folder / "program.py").read_text(encoding="utf-8")
    names = {b: a for a, b in re.findall(r"(\w+) = .*  # (\d\.\w+\.\d+)", written)}
    spoken = labels.spoken(labels.load(folder))
    assert spoken
    assert all(spelled(words) in names[node] for node, words in spoken.items() if node in names)
    assert names.keys() & spoken.keys()

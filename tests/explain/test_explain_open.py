"""Nodes of a model that transformers runs: its first token is put there and left out again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import lacewing
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.cli.app import main
from lacewing.data.corpus import Corpus, Document
from lacewing.explain import calls
from lacewing.explain.explain import explain
from lacewing.explain.library import Library
from lacewing.explain.records import collect
from lacewing.explain.stage import Stage
from lacewing.explain.text import Text, text_of
from lacewing.model.hooks import record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.tasks.batch import prompts
from lacewing.tasks.registry import get

GPT2 = Path(__file__).parents[1] / "model" / "gpt2"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The small model of GPT-2's layout."""
    place = shutil.copytree(GPT2, tmp_path_factory.mktemp("open") / "gpt2")
    return lacewing.load(f"hf:{place}")


@pytest.fixture(scope="module")
def read(model: Model, documents: list[Document]) -> Text:
    """Some 12,000 tokens of made-up files."""
    return text_of(documents, model.tokenizer, calls.context(model), 12_000)


@pytest.fixture(scope="module")
def circuit(model: Model) -> Circuit:
    """Some channels of every site, on real prompts."""
    dice = np.random.default_rng(0)
    widths = site_widths(model.network.config)
    nodes = {k: np.sort(dice.permutation(w)[:24]).astype(np.int32) for k, w in widths.items()}
    reader = Corpus.parse(model.corpus)
    found = prompts(get("except_return"), reader, model.tokenizer, "test", 8, 32)
    return circuit_of(
        model.network,
        nodes,
        model_id=model.id,
        model_source=model.source,
        task="except_return",
        answers=tuple(sorted(set(found.answer.tolist()))),
        ablation="mean",
        config=PruneConfig(target_loss=0.4),
        losses={},
        pairs=found.pairs,
    )


def test_values_are_those_behind_the_first_token(model: Model, read: Text) -> None:
    """Windows run behind the token that says nothing; what is kept are the values of the rest."""
    (_, values), *_ = collect(model, read, ["1.mlp_neuron.3"])
    window = read.window == 5
    ids = [*model.tokenizer.encode(""), *read.ids[window].tolist()]
    assert len(ids) == window.sum() + 1
    with record(model.network, ["1.mlp_neuron"]) as seen:
        model.network(torch.tensor([ids]))
    true = seen["1.mlp_neuron"][0, 1:, 3].numpy()
    assert values["1.mlp_neuron.3"][window] == pytest.approx(true, abs=1e-4)


def test_the_stage_is_the_circuit(model: Model, read: Text, circuit: Circuit) -> None:
    """Alone on its prompts it says what ablation says, which spares the first token."""
    stage = Stage.of(model, circuit, Library(read), 8)
    masks = masks_of(model.network, circuit.nodes)
    assert torch.allclose(stage.logits(), ablated_logits(model, stage.prompts, masks), atol=1e-4)
    assert not stage.there[:, 0].any()


def test_explain_a_circuit(model: Model, read: Text, circuit: Circuit) -> None:
    """Nodes of every kind are explained and tested; the listing runs."""
    wanted = [circuit.node_names()[i] for i in (3, 30, 150, -2)]
    found = explain(model, circuit, wanted, text=read, pairs=8)
    assert [e.node for e in found.nodes] == wanted
    assert set(found.causal) == set(wanted)
    tested = [card for card in found.causal.values() if card.tests]
    assert tested
    assert all(card.log for card in tested)
    assert found.listing is not None


def test_the_command(
    model: Model, read: Text, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`lacewing explain --model hf:FOLDER --nodes ... --json`."""
    for document in np.unique(read.document):
        ids = read.ids[read.document == document]
        (tmp_path / f"{document}.py").write_text("".join(read.pieces[i] for i in ids))
    words = ["explain", "--model", model.source, "--nodes", "0.mlp_neuron.5", "1.attn_out.7"]
    main([*words, "--corpus", str(tmp_path), "--tokens", "9000", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["node"] for row in result["nodes"]] == ["0.mlp_neuron.5", "1.attn_out.7"]
    assert all(row["verdict"] is None for row in result["nodes"])
    assert result["listing"] is None

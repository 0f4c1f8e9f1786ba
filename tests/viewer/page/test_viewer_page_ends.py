"""What the page is told of a circuit's two ends, and of what is worth measuring first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lacewing.ablation.attribution import guessed_changes
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.circuit import Circuit
from lacewing.model.sites import parse_node
from lacewing.model.store import Model, load
from lacewing.tasks.batch import Prompts, encode
from lacewing.viewer.edits import name_of
from lacewing.viewer.ends import ends


@pytest.fixture(scope="module")
def opened(circuit_folder: Path) -> tuple[Model, Circuit, Prompts]:
    """The quote circuit with its model and prompts."""
    model, circuit = load("builtin:taught-sparse"), Circuit.load(circuit_folder / "quote")
    return model, circuit, encode(circuit.pairs, model.tokenizer, model.network.config.context)


def test_contrast_tokens(opened: tuple[Model, Circuit, Prompts]) -> None:
    """The tokens that differ are the two opening quotes, once in each of the eight pairs."""
    found = ends(*opened)["contrast"]
    assert {('("', 8), ("('", 8)} == {(t["text"], t["count"]) for t in found}


def test_weights_of_both_ends(opened: tuple[Model, Circuit, Prompts]) -> None:
    """Embedding and unembedding weights are those of the model, zeros left out."""
    model, circuit, _ = opened
    found, names = ends(*opened), circuit.node_names()
    embed = found["embed"]
    for token, node, weight in zip(embed["token"], embed["node"], embed["weight"], strict=True):
        channel = parse_node(names[node])[1]
        id = found["contrast"][token]["token"]
        assert pytest.approx(float(model.network.wte.weight[id, channel]), abs=1e-5) == weight
        assert weight != 0
    out = found["unembed"]
    gain = model.network.ln_f.weight
    for node, answer, weight in zip(out["node"], out["answer"], out["weight"], strict=True):
        key, channel = parse_node(names[node])
        assert key == "resid_final"
        row = model.network.lm_head.weight[circuit.answers[answer]] * gain
        assert pytest.approx(float(row[channel]), abs=1e-4) == weight


def test_about_and_counts(opened: tuple[Model, Circuit, Prompts]) -> None:
    """Every node has its one token, but for position channels; the whole model is counted."""
    model, circuit, _ = opened
    found = ends(*opened)
    silent = {n for n, t in zip(circuit.node_names(), found["about"], strict=True) if t is None}
    width = model.network.config.d_model
    reads = [n for n in circuit.node_names() if parse_node(n)[0].endswith("_in")]
    assert silent == {n for n in reads if parse_node(n)[1] >= width}
    matrices = [
        matrix
        for block in model.network.blocks
        for matrix in (block.c_attn, block.attn_proj, block.c_fc, block.mlp_proj)
    ]
    nonzero = sum(int(np.count_nonzero(m.weight.detach().numpy())) for m in matrices)
    assert nonzero == found["model_edges"]


def test_guess_finds_what_matters(opened: tuple[Model, Circuit, Prompts], measured: Any) -> None:
    """One backward pass puts the node and the edge whose ablation costs most far in front."""
    model, circuit, prompts = opened
    found = guessed_changes(model, circuit, prompts, ablation_values_of(model, "mean"))
    worth = {name_of(component): change for component, change in found.items()}
    assert circuit.n_nodes + circuit.n_edges == len(worth)
    best = sorted(worth, key=lambda name: -worth[name])
    assert measured.node in [name for name in best if "->" not in name][:20]
    assert measured.edge in [name for name in best if "->" in name][:15]
    assert all(torch.isfinite(torch.tensor(list(worth.values()))))

"""Circuits as tables and in one line."""

import builtins
import dataclasses
from typing import Any

import numpy as np
import pytest

import micro
from lacewing import tasks
from lacewing.circuit.certificate import Certificate
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import component_name, edge_list
from lacewing.data.corpus import Corpus
from lacewing.errors import ConfigError
from lacewing.model.store import Model

pandas = pytest.importorskip("pandas")


@pytest.fixture
def planted(model: Model) -> Circuit:
    """The planted circuit, with a certificate of made-up losses."""
    circuit = micro.make(model, micro.PLANTED)
    edges = {component_name(edge): 0.3 for edge in edge_list(circuit.edges)}
    nodes = {name: 0.1 + number for number, name in enumerate(circuit.node_names())}
    return dataclasses.replace(
        circuit, certificate=Certificate(micro.TARGET, 0.02, micro.PAIRS, nodes, edges)
    )


def test_a_row_per_node(planted: Circuit) -> None:
    """Name, layer, site, channel, degrees, and the loss without it."""
    frame = planted.to_frame()
    assert planted.node_names() == frame["node"].tolist()
    row = frame.set_index("node").loc["0.attn_v.16"]
    assert (0, "attn_v", 16, 1, 1) == tuple(row[:-1])
    assert frame["loss_without"].tolist() == pytest.approx(0.1 + np.arange(len(frame)))
    assert frame.set_index("node").loc["resid_final.4"].isna()["layer"]
    assert planted.n_edges == frame["edges_in"].sum() == frame["edges_out"].sum()


def test_a_row_per_edge(planted: Circuit) -> None:
    """Both ends, and the loss without it."""
    frame = planted.to_frame(edges=True)
    assert [component_name(edge) for edge in edge_list(planted.edges)] == frame["edge"].tolist()
    row = frame.set_index("edge").loc["0.attn_in-attn_v.5-16"]
    assert (0, "attn_in", 5, "attn_v", 16, 0.3) == tuple(row)


def test_without_a_certificate(model: Model) -> None:
    """What nobody measured is missing; an empty circuit has no rows."""
    assert micro.make(model, micro.PLANTED).to_frame()["loss_without"].isna().all()
    assert 0 == len(micro.make(model, {}).to_frame(edges=True))


def test_without_pandas(planted: Circuit, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the package."""
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match="pip install pandas"):
        planted.to_frame()


def test_one_line_each(planted: Circuit, model: Model) -> None:
    """What a prompt of Python shows is short, whatever is in it."""
    assert repr(planted) == (
        "Circuit('first_letter', 15 nodes, 8 edges, test loss 0.020 nats, mean ablation, model "
        "'micro 0')"
    )
    shown = [
        model,
        planted,
        micro.prompts(40, 0, model.tokenizer),
        Corpus.standard_library(),
        *(tasks.get(name) for name in tasks.names("everyday")),
    ]
    assert max(len(repr(value)) for value in shown) < 160
    assert "Task('single_double_quote', mixed, answers" in repr(tasks.get("single_double_quote"))
    assert repr(micro.prompts(2, 0, model.tokenizer)).startswith("Prompts(2 pairs, up to ")

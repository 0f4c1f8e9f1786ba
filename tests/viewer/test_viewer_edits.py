"""Edits: what an edited circuit does is what the masked model does, worked out the slow way."""

import dataclasses

import pytest
import torch

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import masks_of
from lacewing.ablation.prefixes import unique_prefixes
from lacewing.ablation.run import ablated_logits
from lacewing.errors import DataError
from lacewing.model.hooks import edit
from lacewing.model.store import Model
from lacewing.model.weights import writers
from lacewing.viewer.answers import Ask, Edit
from lacewing.viewer.edits import Changes, edge_name, edited, parse_edge, prepare
from lacewing.viewer.session import NO_CHANGES, Session
from lacewing.viewer.state import Viewer


@pytest.fixture(params=["planted", "path_a", "random"])
def session(opened: Viewer, request: pytest.FixtureRequest) -> Session:
    """Two circuits of the hand-made model, and one of the model with every feature."""
    return opened.session(f"circuits-{request.param}")


def slow(session: Session, masks: dict, fills: dict, model: Model | None = None) -> torch.Tensor:
    """Logits at the answers of a model whose sites are overwritten one by one."""
    network = (model or session.model).network
    hooks = {
        key: lambda value, mask=mask, fill=fills[key]: torch.where(mask, value, fill)
        for key, mask in masks.items()
    }
    with session.turns.person(), torch.inference_mode(), edit(network, hooks):
        return network(session.prompts.tokens, at=session.prompts.last)


def test_shared_beginnings(session: Session) -> None:
    """Running each beginning once gives the logits of running every prompt whole."""
    prepared = prepare(session.circuit, session.model, "mean", NO_CHANGES)
    live = CompiledCircuit(session.model.network, dict(prepared.masks), session.model.means)
    expected = ablated_logits(session.model, session.prompts, prepared.masks, "mean")
    pieces = unique_prefixes(session.model.network, session.prompts)
    found = torch.cat([live.logits(piece) for piece in pieces])
    assert torch.allclose(expected, found, atol=1e-5)
    assert sum(len(p.tokens) for p in pieces) < int((session.prompts.last + 1).sum())


def test_nothing_in_between(opened: Viewer) -> None:
    """A circuit whose neurons are all off still writes what they do at their means."""
    session = opened.session("circuits-planted")
    off = Changes.of([Edit(off="0.mlp_neuron.0")], session.model)
    circuit = edited(session.circuit, session.model, off)
    masks = masks_of(session.model.network, circuit.nodes)
    found = session._run(prepare(circuit, session.model, "mean", off), "mean")
    assert torch.allclose(slow(session, masks, dict(session.model.means)), found, atol=1e-5)


def test_node_off(session: Session) -> None:
    """A node that is off is at its mean."""
    node = session.circuit.node_names()[-1]
    circuit = edited(session.circuit, session.model, Changes.of([Edit(off=node)], session.model))
    masks = masks_of(session.model.network, circuit.nodes)
    right, wrong = session.prompts.answer[:, None], session.prompts.other[:, None]
    found = slow(session, masks, dict(session.model.means))
    loss = torch.nn.functional.softplus(found.gather(1, wrong) - found.gather(1, right)).mean()
    asked = session.ask(Ask(edits=[Edit(off=node)]))
    assert float(loss) == pytest.approx(asked.loss, abs=1e-5)
    assert session.circuit.n_nodes - 1 == asked.nodes


def test_node_held(session: Session) -> None:
    """A node that is held has its value at every token, as if a hook had set it."""
    node = session.circuit.node_names()[0]
    key, channel = node.rpartition(".")[::2]
    masks = masks_of(session.model.network, session.circuit.nodes)
    fills = {k: v.clone() for k, v in session.model.means.items()}
    masks[key][int(channel)], fills[key][int(channel)] = False, 1.25
    prepared = prepare(
        session.circuit,
        session.model,
        "mean",
        Changes.of([Edit(node=node, value=1.25)], session.model),
    )
    found = session._run(prepared, "mean")
    assert torch.allclose(slow(session, masks, fills), found, atol=1e-5)


@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_edge_cut(session: Session, ablation: str) -> None:
    """A cut edge leaves its weight times its source's fill, and nothing else changes."""
    family = next(f for f, pairs in session.circuit.edges.items() if len(pairs))
    s, d = session.circuit.edges[family][0].tolist()
    layer, _, sites = family.partition(".")
    source, written = sites.split("-")
    network = dataclasses.replace(session.model).network
    fills = (
        session.model.means
        if ablation == "mean"
        else {k: torch.zeros_like(v) for k, v in session.model.means.items()}
    )
    weight, bias = writers(network.blocks[int(layer)])[written]
    kept = float(weight[d, s]), float(bias[d])
    bias[d] += weight[d, s] * fills[f"{layer}.{source}"][s]
    weight[d, s] = 0
    try:
        expected = slow(session, masks_of(network, session.circuit.nodes), dict(fills))
    finally:
        weight[d, s], bias[d] = kept
    changes = Changes.of([Edit(cut=edge_name(family, s, d))], session.model)
    circuit = edited(session.circuit, session.model, changes)
    found = session._run(prepare(circuit, session.model, ablation, changes), ablation)
    assert torch.allclose(expected, found, atol=1e-5)
    assert session.circuit.n_edges - 1 == circuit.n_edges
    assert kept == (float(weight[d, s]), float(bias[d]))


def test_resample_held(session: Session) -> None:
    """Under resampling a held value is held too."""
    node = session.circuit.node_names()[-1]
    one, other = (
        session.ask(Ask(edits=[Edit(node=node, value=v)], ablation="resample")).loss
        for v in (0.5, 9.0)
    )
    assert one != other


def test_off_and_on_again(session: Session) -> None:
    """The last edit of a node counts, and an added node brings its weights along."""
    names = session.circuit.node_names()
    node = next(n for n in names if ".attn_v." in n)
    back = Changes.of([Edit(off=node), Edit(on=node)], session.model)
    assert session.circuit == edited(session.circuit, session.model, back)
    gone = edited(session.circuit, session.model, Changes.of([Edit(off=node)], session.model))
    again = edited(gone, session.model, Changes.of([Edit(on=node)], session.model))
    assert session.circuit == again


@pytest.mark.parametrize(
    "wrong",
    [
        Edit(),
        Edit(off="0.attn_in.1", on="0.attn_in.1"),
        Edit(node="0.attn_in.1"),
        Edit(value=1.0, off="0.attn_in.1"),
        Edit(off="0.attn_in.9999"),
        Edit(off="7.attn_in.1"),
        Edit(off="../../etc"),
        Edit(cut="0.attn_q:1->9999"),
        Edit(cut="0.attn_in:1->2"),
        Edit(cut="nonsense"),
    ],
)
def test_bad_edits(session: Session, wrong: Edit) -> None:
    """An edit that says nothing, too much, or names nothing, is refused."""
    with pytest.raises(DataError):
        Changes.of([wrong], session.model)


def test_edge_names(session: Session) -> None:
    """Every edge's name is read back as the edge."""
    for family, pairs in session.circuit.edges.items():
        for s, d in pairs.tolist():
            assert (family, s, d) == parse_edge(edge_name(family, s, d), session.model)

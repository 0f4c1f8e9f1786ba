"""One answer traced: sums that come out, effects that are those of the held pass, planted nodes."""

import json
from typing import Any

import pytest
import torch

import micro
from lacewing.cli.app import main
from lacewing.errors import ConfigError, DataError
from lacewing.model.config import ModelConfig
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.trace.graph import graph
from lacewing.trace.held import Held, hold
from lacewing.trace.trace import trace
from lacewing.trace.views import attention, lens
from test_docs import blocks

SIZE: dict[str, Any] = {
    "n_layer": 2,
    "d_model": 32,
    "d_head": 8,
    "d_mlp": 64,
    "vocab_size": 50,
    "context": 16,
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ours": {"sinks": True, "d_position": 8},
    "added positions": {"added_positions": True, "output_bias": True, "bigram": False},
    "gains": {"d_position": 8, "position_gains": True, "activation": "relu"},
    "cut stream": {"abs_topk_sites": ("resid_pre", "resid_mid", "resid_post", "attn_in")},
    "all live": {"abs_topk": None},
}
PROMPT = (7, 3, 19, 3, 44, 0, 12, 7, 9)


def random_held(kind: str, seed: int = 0) -> Held:
    """A pass of a network of random weights, with biases and gains that are not 0 and 1."""
    torch.manual_seed(seed)
    network = Transformer(ModelConfig(**SIZE | KINDS[kind])).eval().requires_grad_(False)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                parameter += torch.randn_like(parameter) * 0.3
            elif name != "bigram":
                parameter *= 6
        if network.output_bias is not None:
            network.output_bias += torch.randn(50)
    return hold(network, PROMPT)


@pytest.mark.parametrize("kind", KINDS)
def test_sources_add_up_to_the_difference(kind: str) -> None:
    """Embeddings, positions, biases and the bigram row are all there is."""
    held = random_held(kind)
    for answer, rival in ((4, 9), (30, 2)):
        _, sources = held.effects(answer, rival)
        assert abs(held.difference(answer, rival)) > 0.01
        assert sources.total == pytest.approx(held.difference(answer, rival), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_effect_is_what_its_node_takes_with_it(kind: str) -> None:
    """Without a node, the held pass gives as much less as its effect says."""
    held = random_held(kind)
    units, sources = held.effects(4, 9)
    everything = {key: torch.ones_like(value, dtype=torch.bool) for key, value in units.items()}
    for key in units:
        effect = units[key] * held.values[key]
        token, channel = divmod(int(effect.abs().argmax()), effect.shape[1])
        without = {name: mask.clone() for name, mask in everything.items()}
        without[key][token, channel] = False
        left = held.effects(4, 9, without)[1].total
        assert sources.total - left == pytest.approx(float(effect[token, channel]), abs=1e-6)


def test_units_of_the_final_residual() -> None:
    """A unit of the final residual is the gradient of the logit difference, its norm held."""
    held = random_held("ours")
    units, _ = held.effects(4, 9)
    weight = held.network.lm_head.weight
    row = (weight[4] - weight[9]).double()
    x = torch.tensor(held.values["resid_final"][-1].tolist(), dtype=torch.float64)
    x.requires_grad_()
    held_scale = torch.tensor(held.scales["ln_f"][-1].tolist(), dtype=torch.float64)
    (x * held_scale @ row).backward()
    assert x.grad is not None
    torch.testing.assert_close(units["resid_final"][-1], x.grad)


@pytest.mark.parametrize("kind", ["ours", "added positions", "all live"])
def test_edges_into_a_node_are_its_effect(kind: str) -> None:
    """With every node kept, what they give to each other, computed forwards, leaves no rest."""
    held = random_held(kind)
    means = {key: value.mean(0).float() for key, value in held.values.items()}
    model = Model(held.network, micro.tokenizer(), means, "0" * 16, "here", "text", 0.0, {})
    found = graph(model, held, 4, 9, share=1.0)
    assert found.explained == pytest.approx(found.difference, abs=1e-4)
    largest = found.nodes[0].effect
    for node in found.nodes:
        assert abs(node.rest) < 1e-5 * abs(largest)
    into = sum(weight for (_, target), weight in found.edges.items() if target == "answer")
    assert into == pytest.approx(found.difference, abs=1e-3)


def test_the_planted_nodes_carry_the_answer() -> None:
    """Both planted paths are found, at the tokens where they act, and little else is kept."""
    model = micro.micro()
    found = trace(model, "Xkfm=", "P", "Q")
    assert found.graph.difference > 2
    kept = {(n.key, n.channel, n.token) for n in found.graph.nodes}
    path = {("0.attn_in", 1, 0), ("0.attn_v", 0, 0), ("0.attn_out", 4, 4), ("resid_final", 4, 4)}
    path |= {("0.mlp_in", 6, 4), ("0.mlp_neuron", 0, 4), ("0.mlp_out", 7, 4)}
    assert path <= kept
    assert found.completeness >= 0.9
    assert (found.looks[0].layer, found.looks[0].query) == (0, 4)
    assert 0 in {look.key for look in found.looks if look.head == 0}
    (look,) = (look for look in found.looks if look.head == 0)
    assert look.products[0][0] == 0
    assert "X" == found.words[0]
    names = [name for name, _ in found.lens]
    assert ["embedding", "attention 0", "MLP 0"] == names
    assert found.lens[0][1] < found.lens[1][1]
    assert found.lens[-1][1] == pytest.approx(found.graph.difference, abs=1e-3)


def test_a_smaller_share_keeps_fewer() -> None:
    """From all to half of the difference."""
    held = random_held("ours")
    means = {key: value.mean(0).float() for key, value in held.values.items()}
    model = Model(held.network, micro.tokenizer(), means, "0" * 16, "here", "text", 0.0, {})
    few, many = (graph(model, held, 4, 9, share) for share in (0.5, 0.95))
    assert 0 < len(few.nodes) < len(many.nodes) < many.live
    for found, share in ((few, 0.5), (many, 0.95)):
        error = abs(found.explained - found.difference) / abs(found.difference)
        assert error <= 1 - share + 1e-3


def test_why_a_head_looks() -> None:
    """Products of queries and keys make the score that made the pattern."""
    held = random_held("plain")
    pattern, products = attention(held, 1, 2, 5)
    assert float(pattern.sum()) == pytest.approx(1.0)
    there = int(pattern.argmax())
    q, k = held.values["1.attn_q"][5, 16:24], held.values["1.attn_k"][there, 16:24]
    assert sum(nats for *_, nats in products) == pytest.approx(float(q @ k) / 8**0.5)
    assert lens(held, 4, 9)[-1][0] == "MLP 1"


def test_mistakes_are_one_line() -> None:
    """An empty prompt, a long one, an answer of several tokens, an answer against itself."""
    model = micro.micro()
    with pytest.raises(DataError, match="0 tokens"):
        trace(model, "")
    with pytest.raises(DataError, match="takes 1 to"):
        trace(model, "X" * 999)
    with pytest.raises(DataError, match="2 tokens"):
        trace(model, "Xkfm=", "PQ")
    with pytest.raises(ConfigError, match="another --rival"):
        trace(model, "Xkfm=", "P", "P")
    with pytest.raises(ConfigError, match="--share"):
        trace(model, "Xkfm=", "P", "Q", share=0.0)


def test_the_verb(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A table, what it explains, and JSON."""
    run = micro.write_run(micro.micro(), tmp_path / "run")
    main(["trace", "Xkfm=", "--model", str(run), "--json"])
    printed = capsys.readouterr().out
    assert "'P' against" in printed
    assert "nodes explain" in printed
    result = json.loads(printed.splitlines()[-1])
    assert abs(result["sources"]["total"] - result["difference"]) < 1e-4
    assert result["completeness"] >= 0.9
    assert result["nodes"][0]["node"].count(".") >= 1


def test_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of docs/trace.md runs as it stands, and explains what it is asked to."""
    (block,) = (b for b in blocks() if b.page == "docs/trace.md" and b.kind == "python")
    exec(compile(block.text, block.page, "exec"), {})
    difference, nodes, completeness = capsys.readouterr().out.split()
    assert float(difference) > 1
    assert int(nodes) < 1000
    assert float(completeness) >= 0.9

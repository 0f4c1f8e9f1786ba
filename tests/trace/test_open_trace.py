"""Answers of any model attributed: edges that add up, effects that are measured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import micro
from lacewing.cli.app import main
from lacewing.errors import ConfigError, DataError
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.store import Model
from lacewing.trace.attributed import RULES, ablated, attribute, check, held_rules
from lacewing.trace.held import hold
from lacewing.trace.open import open_trace
from lacewing.trace.partner import interchange
from lacewing.trace.trace import prompt_ids, trace
from lacewing.training.evaluate import site_means
from lacewing.viewer.exports.answer import answer_graph
from lacewing.viewer.exports.rules import problems


def tiny(kind: str) -> Model:
    """A small model of transformers of random weights, with its means over random text."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "llama":
        sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 6, "num_key_value_heads": 2}
        inner = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(vocab_size=258, max_position_embeddings=64, **sizes, **heads)
        )
    else:
        inner = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=258, n_positions=64, n_embd=24, n_layer=2, n_head=4)
        )
    with torch.no_grad():
        for name, weight in inner.named_parameters():
            if weight.ndim == 2 and "emb" not in name:
                weight *= 4
    network = HuggingFaceNetwork(inner)
    means = site_means(network, torch.randint(258, (40, 17)))
    return Model(network, micro.tokenizer(), means, "0" * 16, "here", "text", 0.0, {})


def ends(model: Model) -> tuple[int, int]:
    """P and Q."""
    p, q = (model.tokenizer.single(c) for c in "PQ")
    assert p is not None
    assert q is not None
    return p, q


def test_ours_by_both_ways() -> None:
    """Through the hooks of the protocol come the units of the exact walk, but for activations."""
    model = micro.micro()
    tokens = prompt_ids(model, "Xkfm=")
    exact, _ = hold(model.ours, tokens).effects(*ends(model))
    found = attribute(model, tokens, *ends(model), RULES)
    for key in ("resid_final", "0.mlp_out", "0.mlp_neuron"):
        torch.testing.assert_close(found.units[key].double(), exact[key], atol=1e-5, rtol=1e-4)
    logits = model.network(torch.tensor([tokens]))[0, -1]
    with held_rules(model.network, RULES):
        again = model.network(torch.tensor([tokens]))[0, -1]
    torch.testing.assert_close(logits, again)
    assert not any(model.network.hooks.values())


def test_planted_nodes_come_first() -> None:
    """And ablating them takes away about what was predicted."""
    model = micro.micro()
    tokens = prompt_ids(model, "Xkfm=")
    found = open_trace(model, tokens, *ends(model), nodes=12, checked=60)
    first = {(n.key, n.channel) for n in found.nodes}
    assert {("resid_final", 4), ("resid_final", 7), ("0.attn_v", 0), ("0.mlp_neuron", 0)} <= first
    assert len(found.check) == 2
    assert found.check[0].nodes == 60
    low, high = found.check[0].interval
    assert low <= found.check[0].correlation <= high
    measured = ablated(model, tokens, *ends(model), [("resid_final", 4), ("0.attn_v", 0)])
    effects = attribute(model, tokens, *ends(model)).effects
    assert float(measured[0]) == pytest.approx(float(effects["resid_final"][:, 4].sum()), rel=0.2)


def test_edges_are_what_their_targets_are_made_of() -> None:
    """What the final residual's kept nodes give to the answer is their effect."""
    model = micro.micro()
    found = open_trace(model, prompt_ids(model, "Xkfm="), *ends(model), nodes=12)
    effects = {f"{n.key}.{n.channel}@{n.token}": n.effect for n in found.nodes}
    into = {s: w for (s, t), w in found.edges.items() if t == "answer" and s.startswith("resid")}
    assert len(into) >= 2
    for source, weight in into.items():
        assert weight == pytest.approx(effects[source], rel=1e-4)
    path = ("0.attn_v.0@0", "0.attn_out.4@4"), ("0.attn_out.4@4", "resid_final.4@4")
    assert set(path) <= found.edges.keys()


def test_a_partner() -> None:
    """What differs between X and Y would go; a prompt of another length is refused."""
    model = micro.micro()
    found = trace(model, "Xkfm=", "P", "Q", partner="Ykfm=")
    assert found.interchange is not None
    by_name = {
        (n.key, n.channel, n.token): (n.effect, nats)
        for n, nats in zip(found.graph.nodes, found.interchange, strict=True)
    }
    effect, nats = by_name["0.attn_v", 0, 0]
    assert nats == pytest.approx(2 * effect, rel=0.1)  # X is the opposite of Y there
    assert found.as_json()["nodes"][0]["interchange"] == found.interchange[0]
    with pytest.raises(DataError, match="the partner prompt has 4 tokens"):
        trace(model, "Xkfm=", "P", "Q", partner="Ykf=")
    assert interchange(model, (), {}, (1,), None) is None


def test_the_graph_that_viewers_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every link joins nodes that are there; ids hold layer, feature and token."""
    model = micro.micro()
    run = micro.write_run(model, tmp_path / "run")
    words = ["trace", "Xkfm=", "--model", str(run), "--answer", "P", "--rival", "Q"]
    main([*words, "--graph", str(tmp_path / "graph.json")])
    capsys.readouterr()
    found: dict[str, Any] = json.loads((tmp_path / "graph.json").read_text())
    ids = [n["node_id"] for n in found["nodes"]]
    assert len(ids) == len(set(ids))
    assert {e for link in found["links"] for e in (link["source"], link["target"])} <= set(ids)
    (logit,) = (n for n in found["nodes"] if n["is_target_logit"])
    exact = trace(model, "Xkfm=", "P", "Q").graph
    sums = {logit["node_id"]: exact.difference}
    sums |= {n["node_id"]: n["sparse"]["effect"] for n in found["nodes"] if "sparse" in n}
    assert len(sums) == 1 + len(exact.nodes)
    for link in found["links"]:
        sums[link["target"]] -= link["weight"]
    assert max(map(abs, sums.values())) < 2e-6  # links into a node add up to its effect
    assert found["metadata"]["prompt_tokens"] == list("Xkfm=")
    first = model.tokenizer.single("X")
    assert f"E_{first}_0" in ids
    assert problems(found) == []


def test_a_graph_too_large_for_these_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest nodes stay; what the others gave is in the error nodes."""
    model = micro.busy(12)
    tokens = (3, 7, 5, 9, 4)
    plain = open_trace(model, tokens, 8, 6, nodes=40).as_json()
    monkeypatch.setattr("lacewing.viewer.exports.answer.MOST_NODES", 5)
    monkeypatch.setattr("lacewing.viewer.exports.answer.MOST_LINKS", 3)
    found = answer_graph(plain, model)
    effects = {n["node_id"]: n["sparse"]["effect"] for n in found["nodes"] if "sparse" in n}
    assert sorted(map(abs, effects.values())) == sorted(
        sorted((abs(n["effect"]) for n in plain["nodes"]), reverse=True)[:5]
    )
    sums = dict.fromkeys(effects, 0.0)
    for link in found["links"]:
        if link["target"] in sums:
            sums[link["target"]] += link["weight"]
    assert sums == pytest.approx(effects, abs=2e-6)
    kinds = {n["node_id"]: n["feature_type"] for n in found["nodes"]}
    direct = [link for link in found["links"] if "error" not in kinds[link["source"]]]
    assert (3, 35) == (len(direct), found["metadata"]["generation_settings"]["nodes_left_out"])
    assert problems(found) == []


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_models_of_others(kind: str) -> None:
    """Their logits stay, effects are predicted, the graph can be written."""
    model = tiny(kind)
    tokens = (1, 5, 9, 3, 17)
    before = model.network(torch.tensor([tokens]))[0, -1]
    with held_rules(model.network, RULES):
        after = model.network(torch.tensor([tokens]))[0, -1]
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
    found = open_trace(model, tokens, 4, 8, nodes=10, checked=40)
    assert found.check[0].correlation > 0.8
    assert all(n.token > 0 for n in found.nodes)
    (final,) = (w for (s, t), w in found.edges.items() if t == "answer" and s == first_final(found))
    assert final != 0
    graph = answer_graph(found.as_json(), model)
    assert graph["links"]
    assert problems(graph) == []
    with pytest.raises(ConfigError, match="another --rival"):
        open_trace(model, tokens, 4, 4)


def first_final(found: Any) -> str:
    """The name of the largest node of the final residual."""
    n = next(n for n in found.nodes if n.key == "resid_final")
    return f"{n.key}.{n.channel}@{n.token}"


def test_seen_by_check() -> None:
    """The same seed gives the same nodes, another gives others."""
    model = micro.micro()
    tokens = prompt_ids(model, "Xkfm=")
    one, same, other = (check(model, tokens, *ends(model), 30, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other

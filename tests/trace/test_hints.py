"""What a trace says of nodes nobody has explained: where it came from, what it pushes towards."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_open_trace import ends, tiny

import micro
from lacewing.cli.app import main
from lacewing.errors import DataError
from lacewing.explain import labels
from lacewing.model.hooks import edit
from lacewing.model.store import load
from lacewing.progress import progress, watched
from lacewing.trace.graph import TraceNode
from lacewing.trace.hints import Hint, came_from, grouped, hints, towards
from lacewing.trace.open import open_trace
from lacewing.trace.partner import find_partner, given_partner
from lacewing.trace.trace import prompt_ids, trace


def test_shares_are_what_came_through_the_embeddings() -> None:
    """Followed back through all nodes, they are the sums that the exact pass has by token."""
    model = micro.micro()
    found = trace(model, "Xkfm=", "P", "Q", share=1.0)
    shares = came_from(model, found.graph.nodes, found.graph.edges, 5)
    into = np.zeros(5)
    for (source, target), nats in found.graph.edges.items():
        if target != "answer":
            continue
        if source in shares:
            into += nats * shares[source]
        elif source.startswith("token@"):
            into[int(source[6:])] += nats
    expected = found.graph.sources.tokens.numpy().copy()
    expected[-1] += found.graph.sources.bigram
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(into, expected, atol=1e-4)


def test_the_planted_path_is_told() -> None:
    """What attention carries comes from the first letter, and speaks for its answer."""
    model = micro.micro()
    found = trace(model, "Xkfm=", "P", "Q")
    said = hints(model, found.graph.nodes, found.graph.edges, found.words)
    value = said["0.attn_v.0@0"]
    assert 0 == value.tokens[0][0]
    assert value.tokens[0][1] > 0.5
    assert "P" == said["resid_final.4@4"].towards[0]
    assert "from 'X'" in value.label(found.words)
    assert "" == Hint((), ()).label(found.words)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_models_of_others_bear_hints(kind: str) -> None:
    """Neurons and values push one way above their mean and another below it; queries push none."""
    model = tiny(kind)
    tokens = tuple(model.tokenizer.encode("Xkfm="))
    for key in ("1.mlp_neuron", "0.attn_v"):
        high, low = (float(model.means[key][3]) + by for by in (1, -1))
        (told,) = towards(model, [TraceNode(key, 3, 2, high, 1.0, 0.0)])
        (against,) = towards(model, [TraceNode(key, 3, 2, low, 1.0, 0.0)])
        assert len(told) == len(against) == 2
        assert not set(told) & set(against)
    assert [()] == towards(model, [TraceNode("0.attn_q", 1, 2, 1.0, 1.0, 0.0)])
    found = open_trace(model, tokens, *ends(model), nodes=10)
    said = hints(model, found.nodes, found.edges, found.words)
    assert said
    for node in found.nodes:
        if node.key == "0.attn_in" and (name := f"{node.key}.{node.channel}@{node.token}") in said:
            assert ((node.token, 1.0),) == said[name].tokens  # nothing of the trace stands below


def test_what_a_neuron_pushes_towards_it_raises() -> None:
    """In the last block of a small model, one unit more of it raises the token it is said to."""
    model = tiny("gpt2")
    key, channel = "1.mlp_neuron", 5
    node = TraceNode(key, channel, 4, float(model.means[key][channel]) + 1, 1.0, 0.0)
    ((first, _),) = towards(model, [node])
    token = model.tokenizer.encode(first)[-1]
    tokens = torch.tensor([model.tokenizer.encode("Xkfm=")])

    def more(value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        value[0, -1, channel] += 1e-2
        return value

    with torch.inference_mode():
        before = model.network(tokens)[0, -1]
        with edit(model.network, {key: more}):
            after = model.network(tokens)[0, -1]
    risen = (after - after.mean()) - (before - before.mean())
    assert float(risen[token]) > 0


def test_groups() -> None:
    """Explained nodes go by their explanation, others by their hint, and nobody stands alone."""
    rows: list[dict[str, Any]] = [
        {"node": "0.attn_in.1", "token": 0, "effect": 2.0, "label": "x", "label_by": "explanation"},
        {"node": "0.attn_v.0", "token": 0, "effect": 1.0},
        {"node": "0.mlp_out.1", "token": 1, "effect": -4.0, "label": "h", "label_by": "hint"},
        {"node": "0.mlp_out.2", "token": 1, "effect": -1.0, "label": "h", "label_by": "hint"},
        {"node": "0.mlp_out.3", "token": 1, "effect": 9.0, "label": "one", "label_by": "hint"},
        {"node": "0.mlp_out.4", "token": 1, "effect": 9.0, "label": "half", "label_by": "hint"},
        {"node": "0.mlp_out.5", "token": 1, "effect": 9.0, "label": "half", "label_by": "hint"},
    ]
    full = {"from": [{"token": 0, "share": 1.0}], "towards": ["P"]}
    said = {f"0.mlp_out.{n}@1": {**full, "label": "h"} for n in (1, 2, 3)}
    said |= {f"0.mlp_out.{n}@1": {"from": [], "towards": ["P"], "label": "half"} for n in (4, 5)}
    alike = [{"name": "open", "members": ["0.attn_in.1", "0.attn_v.0", "9.attn_v.0"]}]
    first, second = grouped(rows, alike, said)
    assert ("h", "hint", -5.0) == (first["name"], first["by"], first["effect"])
    assert ["0.mlp_out.1@1", "0.mlp_out.2@1"] == first["members"]
    assert ("open", "explanation", 3.0) == (second["name"], second["by"], second["effect"])


def test_a_partner_is_found() -> None:
    """The one letter that carries the answer is the one that is changed; it turns it."""
    model = micro.micro()
    tokens = tuple(prompt_ids(model, "kXfm="))
    p, q = ends(model)
    given = given_partner(model, tokens, prompt_ids(model, "kYfm="), p, q)
    assert not given.found
    assert [1] == given.as_json(model, tokens)["changed"]
    with pytest.raises(DataError, match="equally long"):
        given_partner(model, tokens, prompt_ids(model, "kY"), p, q)
    found = find_partner(model, tokens, p, q)
    assert found.found
    assert 1 == len(found.as_json(model, tokens)["changed"])
    with torch.inference_mode():
        before = model.network(torch.tensor([tokens]))[0, -1]
        after = model.network(torch.tensor([found.tokens]))[0, -1]
    assert found.difference == pytest.approx(float(after[p] - after[q]), abs=1e-5)
    assert found.difference < float(before[p] - before[q])
    with pytest.raises(DataError, match="likely changes of one token"):
        find_partner(model, tokens[:1], p, q)


def test_the_verb_tells_what_was_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kept explanation is found by its node's name; others bear hints; the graph has both."""
    run = micro.write_run(micro.micro(), tmp_path / "run")
    circuit = tmp_path / "circuits" / "one"
    micro.make(load(str(run)), {"0.attn_in": [1], "0.attn_v": [0]}).save(circuit)
    row = {"explanation": "in_string", "text": "Fires in strings.", "f1": 0.9}
    card = {"card": {"described": True}}
    names = ["0.attn_v.0", "0.attn_in.1"]
    rows = [{"node": name, **row, **card} for name in names]
    group = {"explanation": "in_string", "sentence": "Fires in strings.", "nodes": names}
    labels.save(circuit, {"schema": labels.SCHEMA, "nodes": rows, "groups": [group]})
    graph = tmp_path / "graph.json"
    base = ["trace", "Xkfm=", "--model", str(run), "--answer", "P", "--rival", "Q", "--json"]
    main([*base, "--circuits", str(tmp_path), "--graph", str(graph), "--partner", "Ykfm="])
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    by = {f"{n['node']}@{n['token']}": n for n in result["nodes"]}
    assert ("in_string", "explanation") == tuple(
        by["0.attn_v.0@0"][key] for key in ("label", "label_by")
    )
    assert "hint" == by["resid_final.4@4"]["label_by"]
    assert "Fires in strings." == result["meanings"]["0.attn_v.0"]["text"]
    named = {(g["name"], g["by"]): g["members"] for g in result["groups"]}
    assert {"0.attn_v.0@0", "0.attn_in.1@0"} <= set(named["in_string", "explanation"])
    assert result["partner"]["difference"] < 0 < result["difference"]
    assert "~ is a hint of this trace alone" in printed
    assert "'X' is 'Y'" in printed
    written = json.loads(graph.read_text())
    called = {n["clerp"] for n in written["nodes"]}
    assert "0.attn_v.0: in_string" in called
    assert any(name.startswith("resid_final.4: ~ ") for name in called)
    ids = {n["node_id"] for n in written["nodes"]}
    supernodes = written["qParams"]["supernodes"]
    assert "in_string" in [s[0] for s in supernodes]
    assert all(set(s[1:]) <= ids for s in supernodes)
    main([*base, "--circuits", str(run)])  # where no circuit lies
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "explanation" not in {n.get("label_by") for n in result["nodes"]}


def test_work_is_watched_and_ended() -> None:
    """Whoever watches hears of every step; what it raises ends the work and undoes its hooks."""
    model = micro.micro()
    tokens, seen = prompt_ids(model, "Xkfm="), []
    with watched(lambda label, done, total: seen.append(label)):
        open_trace(model, tokens, *ends(model), nodes=4)
    assert {"reading the prompt", "what nodes gave to each other"} == set(seen)

    def enough(label: str, done: int | float, total: int | float) -> None:
        raise KeyboardInterrupt(label)

    with pytest.raises(KeyboardInterrupt, match="reading"), watched(enough):
        open_trace(model, tokens, *ends(model), nodes=4)
    assert not any(model.network.hooks.values())
    with progress("nobody watches", 1, shown=False) as bar:
        bar.update(1)

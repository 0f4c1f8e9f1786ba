"""Both ends of a circuit's picture and its groups, against the model worked out by hand."""

import pytest
import torch

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import PromptSets
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.viewer.ends import MOST_TOKENS, _differing, ends
from lacewing.viewer.groups import proposal


@pytest.fixture(scope="module")
def planted(model: Model) -> Circuit:
    """The circuit that was put into the model."""
    answers = tuple(sorted(model.tokenizer.encode("P") + model.tokenizer.encode("Q")))
    return micro.make(model, micro.PLANTED, answers=answers)


def prompts(*rows: list[int]) -> Prompts:
    """Sequences as pairs, padded with a token that counts for nothing."""
    width = max(map(len, rows)) + 1
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    last = torch.tensor([len(row) - 1 for row in rows])
    return Prompts(tokens, last, last, last, micro.PAIRS[: len(rows) // 2])


def test_tokens_of_both_members_make_the_difference() -> None:
    """Those that one has more of, once a pair, most frequent first; what both have is none."""
    found = _differing(prompts([1, 5, 9], [1, 6, 9], [5, 5, 2], [2, 5, 7, 7]))
    assert {5: 2, 6: 1, 7: 1} == dict(found)
    assert (5, 2) == found[0]
    assert [] == _differing(prompts([1, 2, 3], [3, 2, 1]))


def test_few_tokens_are_shown() -> None:
    """Of many, as many as there is room for."""
    assert MOST_TOKENS == len(_differing(prompts(list(range(1, 10)), list(range(11, 20)))))


def test_words_at_both_ends(model: Model, planted: Circuit, sets: PromptSets) -> None:
    """X and Y below, with their weights; P and Q above, with theirs times the norm's gain."""
    found = ends(model, planted, sets.test)
    assert {"X", "Y"} == {row["text"] for row in found["contrast"]}
    assert {len(sets.test)} == {row["count"] for row in found["contrast"]}
    names = planted.node_names()
    embed = found["embed"]
    lines = zip(embed["token"], embed["node"], embed["weight"], strict=True)
    weights = {(found["contrast"][t]["text"], names[n]): weight for t, n, weight in lines}
    for letter in "XY":
        for channel in (1, 5):
            (token,) = model.tokenizer.encode(letter)
            expected = float(model.network.wte.weight[token, channel])
            assert pytest.approx(expected, abs=1e-5) == weights[letter, f"0.attn_in.{channel}"]
    up = found["unembed"]
    raised = {names[n] for n in up["node"]}
    assert {"resid_final.4", "resid_final.7"} == raised
    gain = model.network.ln_f.weight
    for node, answer, weight in zip(up["node"], up["answer"], up["weight"], strict=True):
        channel = int(names[node].rpartition(".")[2])
        row = model.network.lm_head.weight[planted.answers[answer]]
        assert pytest.approx(float(row[channel] * gain[channel]), abs=1e-4) == weight


def test_groups_are_heads_and_channels(model: Model, planted: Circuit) -> None:
    """Head 0 with its query, key and value; a channel with who writes and who reads it."""
    groups = {tuple(group["members"]): group["name"] for group in proposal(model, planted)}
    assert "head 0.0" == groups["0.attn_q.0", "0.attn_k.0", "0.attn_v.0"]
    assert groups["0.attn_out.4", "resid_final.4"].startswith("channel 4")
    assert groups["0.mlp_out.7", "resid_final.7"].startswith("channel 7")
    members = [member for group in groups for member in group]
    assert len(members) == len(set(members))
    assert f"0.attn_v.{micro.HEAD}" not in members  # alone in its head

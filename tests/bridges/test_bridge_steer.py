"""Steering, necessity and sufficiency where the answer is known: the rotated micro model."""

import pytest
import torch

import micro
from lacewing.bridges.curves import steering_plot
from lacewing.bridges.directions import basis, direction, random_rows
from lacewing.bridges.folder import Coupling
from lacewing.bridges.steer import from_partner, steer, unlike
from lacewing.bridges.survey import survey
from lacewing.bridges.transfer import crossing, transfer
from lacewing.errors import DataError
from lacewing.tasks.batch import encode
from lacewing.tasks.pair import Pair

QUIET = {"quiet": True, "seed": 1}


def nodes(coupling: Coupling, kept: dict[str, list[int]]) -> dict[str, object]:
    """Kept nodes of the sparse model."""
    return micro.nodes_of(kept, coupling.sparse.network.config)  # type: ignore[return-value]


def test_full_strength_is_the_node_itself(coupling: Coupling) -> None:
    """At 1, the dense model answers as the sparse one does with the node exchanged in it.

    Norm correction, gains and rotation are all needed for that; what is left is that norms are
    means over text and not those of each token.
    """
    pairs = micro.prompts(24, 3, coupling.sparse.tokenizer)
    for node in ("0.attn_in.1", "0.mlp_in.6", "resid_final.4"):
        found = steer(coupling, node, pairs, (0.0, 1.0), randoms=3, **QUIET)
        before, after = found.curve
        assert before.partner.value == pytest.approx(found.sparse_before.value, abs=1e-4)
        assert before.more.value == pytest.approx(0, abs=1e-7)
        assert after.partner.value == pytest.approx(found.sparse_after.value, rel=0.05), node
        assert after.partner.value > 3 * before.partner.value
        assert after.more.interval[0] > 0
        assert after.random.value < 0.5 * after.partner.value


def test_strength_moves_the_answer(coupling: Coupling) -> None:
    """More strength, more of the partner's answer; the whole site does all of it."""
    pairs = micro.prompts(16, 4, coupling.sparse.tokenizer)
    found = steer(coupling, "0.attn_in.1", pairs, (0.0, 0.5, 1.0, 2.0, 4.0), randoms=2, **QUIET)
    for name in ("partner", "share"):
        values = [getattr(point, name).value for point in found.curve]
        assert values == sorted(values), name
    assert values[0] < 0.1
    assert values[2] == pytest.approx(0.5, abs=0.1)  # one of two paths that weigh the same
    assert values[-1] > 0.9
    assert found.whole.value == pytest.approx(found.curve[0].right.value, rel=0.1)
    for point in found.curve:
        low, high = point.spread
        assert low <= point.median <= high
        assert point.draws[0] <= point.random.value <= point.draws[1]


def test_a_distractor_does_nothing(coupling: Coupling) -> None:
    """A node that no path uses moves nothing, however strong."""
    pairs = micro.prompts(8, 4, coupling.sparse.tokenizer)
    found = steer(coupling, "0.attn_in.0", pairs, (1.0,), randoms=2, **QUIET)
    assert found.curve[0].partner.value == pytest.approx(found.sparse_before.value, abs=1e-3)


def test_random_directions_are_as_long(coupling: Coupling) -> None:
    """And follow from the seed."""
    row = direction(coupling, "0.attn_in.1").row
    drawn = random_rows(row, 4, 0)
    for one in drawn:
        assert float(one.norm()) == pytest.approx(float(row.norm()), rel=1e-5)
    assert torch.equal(drawn[0], random_rows(row, 4, 0)[0])
    assert not torch.equal(drawn[0], random_rows(row, 4, 1)[0])
    columns = basis([row, 2 * row, drawn[0]])
    assert columns.shape == (micro.WIDTH, 2)
    torch.testing.assert_close(columns.T @ columns, torch.eye(2), atol=1e-5, rtol=0)


def test_the_planted_nodes_carry_the_task(coupling: Coupling) -> None:
    """Decoded, they are sufficient and necessary in the dense model; distractors are neither."""
    pairs = micro.prompts(32, 6, coupling.sparse.tokenizer)
    found = transfer(coupling, nodes(coupling, micro.PLANTED), "first", pairs, draws=3, **QUIET)
    assert (found.nodes, found.left_out) == (7, 8)
    assert found.directions == {"0.attn_in": 4, "0.mlp_in": 1, "resid_final": 2}
    assert found.sufficient.verdict, found.sufficient
    assert found.necessary.verdict, found.necessary
    assert found.sufficient.loss.value == pytest.approx(found.full.value, abs=0.05)
    assert found.sufficient.random.value > 0.5
    assert found.necessary.random.value < 0.1

    others = {"0.attn_in": [20, 21, 22, 23], "0.mlp_in": [30], "resid_final": [40, 41]}
    none = transfer(coupling, nodes(coupling, others), "first", pairs, draws=2, **QUIET)
    assert not none.sufficient.verdict
    assert not none.necessary.verdict


def test_one_of_two_paths_is_not_necessary(coupling: Coupling) -> None:
    """The other path still answers, in the dense model as in the sparse one."""
    pairs = micro.prompts(32, 6, coupling.sparse.tokenizer)
    found = transfer(coupling, nodes(coupling, micro.PATH_A), "first", pairs, draws=2, **QUIET)
    assert not found.necessary.verdict
    assert found.necessary.loss.value < 0.3


def test_every_node_of_a_circuit(coupling: Coupling) -> None:
    """Strengths are chosen on validation pairs; nodes of both paths are the best handles."""
    kept = nodes(coupling, micro.PLANTED)
    names = crossing(coupling.facts.sizes, kept)
    assert names[:4] == [f"0.attn_in.{c}" for c in (1, 2, 3, 5)]
    validation, test = (micro.prompts(12, seed, coupling.sparse.tokenizer) for seed in (7, 8))
    strengths = (0.0, 1.0, 4.0)
    found = survey(coupling, names, "first", validation, test, strengths, randoms=2, **QUIET)
    best = {one.node for one in found.handles[:4]}
    assert best & {"0.attn_in.1", "0.attn_in.5", "resid_final.4", "resid_final.7"}
    assert all(one.strength in strengths for one in found.handles)
    assert found.handles[0].strength == 4.0
    assert found.after[2] > found.before[2]
    assert found.after[2] > found.random[2]
    assert {"0.attn_in.2", "0.attn_in.3"} <= {one.node for one in found.handles[-4:]}


def unlike_pairs(count: int) -> list[Pair]:
    """One prompt of a pair has a letter or two more than the other, the clean one in turns."""
    pairs = []
    for number, letter in enumerate("abcdefghijklmnop"[:count]):
        short, long = f"ab{letter}", f"{letter}ab{letter}{'c' * (number % 3 == 0)}"
        one, other = (short, long) if number % 2 else (long, short)
        pairs.append(Pair(f"X{one}=", f"Y{other}=", "P", "Q", f"line {number}"))
    return pairs


def test_a_token_and_its_partner_are_as_far_from_the_end(coupling: Coupling) -> None:
    """By hand, token by token; pairs of one length are exchanged as they always were."""
    letters = coupling.sparse.tokenizer
    mixed = encode([*unlike_pairs(4), Pair("Xabc=", "Yabd=", "P", "Q", "x")], letters, 16)
    assert unlike(mixed) == 4
    assert unlike(micro.prompts(4, 1, letters)) == 0
    values = torch.randn(*mixed.tokens.shape, 3)
    found = from_partner(values, mixed)
    for row, last in enumerate(mixed.last.tolist()):
        other = row ^ 1
        for token in range(last + 1):
            there = int(mixed.last[other]) - (last - token)
            expected = values[other, there] if there >= 0 else values[row, token]
            assert torch.equal(found[row, token], expected), (row, token)
    assert torch.equal(found[8:10, :5], values[8:10, :5].flip(0))


def test_pairs_of_other_lengths(coupling: Coupling) -> None:
    """Full strength is the node itself there too, and the whole site does all of it."""
    pairs = encode(unlike_pairs(12), coupling.sparse.tokenizer, 16)
    found = steer(coupling, "resid_final.4", pairs, (0.0, 1.0), randoms=2, **QUIET)
    before, after = found.curve
    assert (found.pairs, found.unlike) == (12, 12)
    assert after.partner.value == pytest.approx(found.sparse_after.value, rel=0.05)
    assert after.partner.value > 3 * before.partner.value
    assert found.whole.value == pytest.approx(before.right.value, rel=0.1)
    names = ["resid_final.4", "0.attn_in.0"]
    every = survey(coupling, names, "first", pairs, pairs, (0.0, 4.0), randoms=2, **QUIET)
    assert (every.pairs, every.unlike, every.validation_pairs) == (12, 12, 12)
    assert every.handles[0].node == "resid_final.4"
    assert every.handles[0].more.interval[0] > 0


def test_nodes_that_cannot_be_used(coupling: Coupling) -> None:
    """One line for a circuit without a node at a bridge."""
    with pytest.raises(DataError, match="keeps no node where a bridge stands"):
        crossing(coupling.facts.sizes, nodes(coupling, {"0.mlp_neuron": [0]}))  # type: ignore[arg-type]


def test_the_plot(coupling: Coupling) -> None:
    """Says both curves, and its marks what they are; the same bytes again."""
    pairs = micro.prompts(4, 4, coupling.sparse.tokenizer)
    found = steer(coupling, "0.attn_in.1", pairs, (1.0, 0.0), randoms=2, **QUIET).as_json()
    svg = steering_plot(found, "first_letter").svg()
    assert b"first_letter: probability of the partner" in svg
    assert svg.count(b"<title>strength") == 4
    assert svg == steering_plot(found, "first_letter").svg()
    assert steering_plot(found, "first_letter").png().startswith(b"\x89PNG")

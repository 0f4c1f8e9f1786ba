"""Rewrites, damage off target, cheap baselines and other circuits, where the truth is planted."""

import dataclasses
from pathlib import Path

import pytest
from torch.nn.functional import cross_entropy

import micro
from lacewing.circuit.prompts import PromptSets
from lacewing.model.hooks import edit
from lacewing.model.store import Model
from lacewing.tasks.task import Task
from lacewing.verification import alternatives, baselines, off_target, rewrites
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut
from lacewing.verification.kept import Kept
from micro import make

ELSEWHERE = {
    "0.attn_in": [20, 21, 22, 23],
    "0.attn_v": [40, 41],
    "0.attn_out": [30, 31],
    "0.mlp_in": [30],
    "0.mlp_neuron": [50],
    "0.mlp_out": [31],
    "resid_final": [30, 31],
}
"""Some distractors, about as many as are planted."""


@pytest.fixture
def evidence(model: Model, sets: PromptSets) -> Evidence:
    """What the planted circuit is tested on; its prompts stand for natural text."""
    task = Task.from_function(lambda file, random: (), name="letters")
    return Evidence(sets.test, sets, sets.test.tokens, "standard_library", 0, task)


def _found(found: object) -> Finding:
    assert isinstance(found, Finding)
    return found


def test_rewrites_leave_the_rest_of_a_pair() -> None:
    """Both prompts get the same line, the answers stay, and lines take turns."""
    pairs = tuple(micro.PAIRS)
    for english in (False, True):
        changed = rewrites.rewritten(pairs, english)
        starts = []
        for before, after in zip(pairs, changed, strict=True):
            start = after.clean.removesuffix(before.clean)
            assert after.corrupted == start + before.corrupted
            assert after.clean_answer == before.clean_answer
            starts.append(start)
        assert len(set(starts)) == len(pairs)


def test_no_room_for_a_rewrite(model: Model, evidence: Evidence) -> None:
    """A model that knows no more tokens than its prompts have is not asked."""
    found, _ = rewrites.run(model, make(model, micro.PLANTED), evidence, quiet=True)
    assert isinstance(found, LeftOut)
    assert "16 tokens at most" in found.reason


def test_negatives_tell_the_end_from_the_rest(model: Model, evidence: Evidence) -> None:
    """Without a node the claim is a constant, everywhere as strong as at the end."""
    _, planted = rewrites.run(model, make(model, micro.PLANTED), evidence, quiet=True)
    _, nothing = rewrites.run(model, make(model, {}), evidence, quiet=True)
    assert _found(nothing).value == 1.0
    assert _found(nothing).passed is False
    assert _found(planted).value < 0.6
    assert _found(planted).n < evidence.test.tokens.numel()


def test_damage_off_target(model: Model, evidence: Evidence) -> None:
    """The rise is what the text loses where the circuit's nodes stand at their means."""
    everything = {"resid_final": list(range(micro.WIDTH))}
    found, _ = off_target.run(model, make(model, everything), evidence, quiet=True)
    little, _ = off_target.run(model, make(model, ELSEWHERE), evidence, quiet=True)
    text = evidence.text[: off_target.WINDOWS]
    mean = model.means["resid_final"]

    def loss() -> float:
        logits = model.network(text)[:, :-1].flatten(0, 1)
        return float(cross_entropy(logits, text[:, 1:].flatten()))

    full = loss()
    with edit(model.network, {"resid_final": lambda value: mean.expand_as(value)}):
        rise = loss() - full
    assert _found(found).value == pytest.approx(rise, abs=1e-5)
    assert _found(little).passed
    assert abs(_found(little).value) < abs(_found(found).value)


def test_another_tasks_circuit(model: Model, evidence: Evidence, tmp_path: Path) -> None:
    """The planted circuit does more damage than a neighbour's; that one less than the planted."""
    planted, other = make(model, micro.PLANTED), make(model, ELSEWHERE, task="other")
    planted.save(tmp_path / "planted")
    other.save(tmp_path / "other")
    for circuit, place, passed in ((planted, "planted", True), (other, "other", False)):
        kept = Kept(tmp_path / place, {})
        asked = dataclasses.replace(evidence, kept=kept)
        _, found = off_target.run(model, circuit, asked, quiet=True)
        assert _found(found).passed is passed
    _, alone = off_target.run(model, planted, evidence, quiet=True)
    assert isinstance(alone, LeftOut)


def test_cheap_baselines_beat_a_random_circuit(model: Model, evidence: Evidence) -> None:
    """Gradients find more of the planted nodes than distractors have, and lose less."""
    random = make(model, ELSEWHERE)
    for found in baselines.run(model, random, evidence, quiet=True):
        assert found.value < -0.5
        assert found.passed is False
    for found in baselines.run(model, make(model, micro.PLANTED), evidence, quiet=True):
        assert found.passed
    planted = make(model, micro.PLANTED)
    few = evidence.sets.train.first(16)
    for integrated in (False, True):
        nodes = baselines.cheap_nodes(model, planted, few, integrated=integrated)
        assert sum(map(len, nodes.values())) == planted.n_nodes
        assert 0 in nodes["0.attn_v"]


def test_another_circuit_is_found_where_there_is_one(model: Model, evidence: Evidence) -> None:
    """One of two planted paths leaves the other; both together leave none."""
    config = micro.prune_config(target_loss=0.2)
    one = make(model, micro.PATH_A, config=config)
    (found,) = alternatives.run(model, one, evidence, quiet=True)
    assert found.value >= 1
    assert found.passed is False
    both = make(model, micro.PLANTED, config=micro.prune_config())
    (found,) = alternatives.run(model, both, evidence, quiet=True)
    assert found.value == 0
    assert found.passed


def test_a_search_that_cannot_begin_found_nothing_out(model: Model, evidence: Evidence) -> None:
    """Where the full model misses the target there is no search, so no circuit was not found."""
    config = micro.prune_config(target_loss=1e-4)
    (found,) = alternatives.run(model, make(model, micro.PATH_A, config=config), evidence, True)
    assert isinstance(found, LeftOut)
    assert "no search could begin" in found.reason
    assert "\n" not in found.reason


def test_what_is_kept_hangs_on_the_circuits_beside_it(model: Model, tmp_path: Path) -> None:
    """Another task's circuit that comes, or changes, later is another condition."""
    planted, other = make(model, micro.PLANTED), make(model, ELSEWHERE, task="other")
    planted.save(tmp_path / "planted")
    kept = Kept(tmp_path / "planted", {})
    seen = [off_target.siblings_now(kept, planted)]
    other.save(tmp_path / "other")
    seen.append(off_target.siblings_now(kept, planted))
    make(model, micro.PATH_A, task="other").save(tmp_path / "other", replace=True)
    seen.append(off_target.siblings_now(kept, planted))
    assert list(map(len, seen)) == [0, 1, 1]
    assert seen[1] != seen[2]
    assert seen[2] == off_target.siblings_now(kept, planted)

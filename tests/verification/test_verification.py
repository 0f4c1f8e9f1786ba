"""Every test of the suite on circuits whose truth is known."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import micro
from lacewing.ablation.calibration import calibrated_loss
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits, ablated_loss
from lacewing.ablation.worst_subset import STEPS
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import PromptSets
from lacewing.model.hooks import record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.tasks.pair import Pair
from lacewing.tasks.task import Task
from lacewing.verification import ablation_modes as ablations
from lacewing.verification import agreement, attention, complement, interchange
from lacewing.verification import natural_text as natural
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut
from lacewing.verification.random_circuits import random_nodes
from lacewing.verification.short import short_test
from lacewing.viewer.attention import attend
from micro import make

TASK = Task(name="first_letter", generate=lambda file, random: ())
BLIND = {key: kept for key, kept in micro.PLANTED.items() if key not in ("0.attn_q", "0.attn_k")}
"""The planted circuit without the query and key that make head 0 look at the first letter."""


@pytest.fixture(scope="module")
def evidence(model: Model, sets: PromptSets) -> Evidence:
    text = micro._text(model.tokenizer, 5)[:24, :16]
    return Evidence(sets.test, sets, text, "standard_library", 0, TASK)


@pytest.fixture(scope="module")
def planted(model: Model) -> Circuit:
    return make(model, micro.PLANTED)


@pytest.fixture(scope="module")
def drawn(model: Model, planted: Circuit) -> Circuit:
    """A random circuit of the same size that holds no planted node but inputs."""
    kept = random_nodes(model, planted, 1, 1)[0]
    return make(model, {key: channels.tolist() for key, channels in kept.items()})


def by_name(found: Any) -> dict[str, Finding]:
    assert all(isinstance(f, Finding) for f in found)
    return {f.name: f for f in found}


def test_ablations(model: Model, planted: Circuit, drawn: Circuit, evidence: Evidence) -> None:
    """The planted circuit holds however the rest is ablated; a random one under none."""
    found = by_name(ablations.run(model, planted, evidence, True))
    modes = ("zero", "resample", "frozen")
    assert {f"{kind}.{mode}" for kind in ("sufficient", "necessary") for mode in modes} == set(
        found
    )
    assert all(f.passed for f in found.values())
    assert pytest.approx(math.log(2), abs=0.05) == found["sufficient.zero"].control
    random = by_name(ablations.run(model, drawn, evidence, True))
    assert not any(f.passed for f in random.values())


def test_the_own_ablation_is_that_of_the_short_test(
    model: Model, planted: Circuit, evidence: Evidence
) -> None:
    """Numbers and verdicts of the short test become findings as they are, missed thresholds too."""
    for circuit in (planted, make(model, micro.PATH_A)):
        done = short_test(model, circuit, evidence.test, random_circuits=2, quiet=True)
        found = by_name(ablations.of_short_test(done, "mean"))
        for name, test in (("sufficient", done.sufficient), ("necessary", done.necessary)):
            finding = found[f"{name}.mean"]
            assert (test.verdict, test.loss, test.threshold) == (
                finding.passed,
                finding.value,
                finding.threshold,
            )
            assert test.interval == (finding.low, finding.high)


def test_a_zero_circuit_is_tried_under_the_others(model: Model, evidence: Evidence) -> None:
    """What `verify` has covered is not covered twice."""
    circuit = make(model, micro.PLANTED, ablation="zero")
    names = set(by_name(ablations.run(model, circuit, evidence, True)))
    assert {"mean", "resample", "frozen"} == {name.split(".")[1] for name in names}


def test_complement(model: Model, planted: Circuit, drawn: Circuit, evidence: Evidence) -> None:
    """Beside the planted circuit nothing matters; beside a random one the planted nodes do."""
    found = by_name(complement.run(model, planted, evidence, True))
    assert {"complement.random", "complement.worst"} == set(found)
    assert all(f.passed for f in found.values())
    assert pytest.approx(math.log(2), abs=0.02) == found["complement.random"].control
    assert found["complement.worst"].control > found["complement.worst"].threshold
    worst = by_name(complement.run(model, drawn, evidence, True))["complement.worst"]
    assert worst.passed is False


def test_random_halves(model: Model, planted: Circuit) -> None:
    """Half of what is outside, at every site, and never a node of the circuit."""
    masks = complement.random_half(model, planted.nodes, np.random.default_rng(0))
    for key, mask in masks.items():
        outside = len(mask) - len(planted.nodes[key])
        assert outside // 2 == int((~mask).sum())
        assert bool(mask[torch.from_numpy(planted.nodes[key]).long()].all())


def test_the_search_finds_the_other_path(model: Model, sets: PromptSets) -> None:
    """Beside one path alone, what hurts is the other path; the search ablates some of it."""
    kept = micro.nodes_of(micro.PATH_A, model.network.config)
    masks = complement.worst_subset(model, kept, sets.train, sets.validation, seed=0)
    other = {"0.attn_v": [micro.HEAD], "0.attn_out": [6], "0.mlp_in": [6], "0.mlp_neuron": [0]}
    assert any(not bool(masks[key][channels].all()) for key, channels in other.items())
    full, worst = (float(ablated_loss(model, sets.test, m).mean()) for m in (None, masks))
    assert worst > 3 * full
    free = masks_of(model.network, kept)
    assert all(bool(masks[key][free[key]].all()) for key in masks)


def test_the_search_ends_at_chance(model: Model, planted: Circuit, sets: PromptSets) -> None:
    """There is no more to lose: at once without any node, after all steps where a circuit holds."""
    for kept, wanted in ((micro.nodes_of({}, model.network.config), 0), (planted.nodes, 2 * STEPS)):
        steps: list[None] = []
        tell = partial(steps.append, None)
        known = sets.train, sets.validation, 0
        masks = complement.worst_subset(model, kept, *known, starts=2, tell=tell)
        assert wanted == len(steps)
        worst = calibrated_loss(ablated_logits(model, sets.test, masks), sets.test)
        assert (worst > 0.69) == (wanted == 0)


def test_interchange(model: Model, planted: Circuit, evidence: Evidence) -> None:
    """The planted circuit carries every answer; an empty one carries none."""
    (found,) = interchange.run(model, planted, evidence, True)
    assert (1.0, True) == (found.value, found.passed)
    assert 2 * len(evidence.test) == found.n
    (nothing,) = interchange.run(model, make(model, {}), evidence, True)
    assert (0.0, False) == (nothing.value, nothing.passed)
    assert 0.0 == nothing.control


def test_agreement(model: Model, planted: Circuit, evidence: Evidence) -> None:
    """The planted circuit answers as the model and as surely; an empty one is a constant."""
    found = {f.name: f for f in agreement._on_test(model, planted, evidence)}
    assert 1.0 == found["agree.answer"].value
    assert 0.5 == found["agree.answer"].control
    assert found["agree.difference"].value > 0.99
    assert all(f.passed for f in found.values())
    nothing = {f.name: f for f in agreement._on_test(model, make(model, {}), evidence)}
    assert nothing["agree.answer"].passed is False
    assert (0.0, False) == (nothing["agree.difference"].value, nothing["agree.difference"].passed)


def test_correlation_by_hand() -> None:
    """One for any rising line, minus one for a falling one, zero for a constant."""
    a = torch.tensor([1.0, 2.0, 4.0])
    assert pytest.approx(1.0) == agreement.correlation(a, 3 * a + 1)
    assert pytest.approx(-1.0) == agreement.correlation(a, -a)
    assert 0.0 == agreement.correlation(a, torch.ones(3))


def test_natural(model: Model, evidence: Evidence) -> None:
    """A constant claims all of the text; the whole model what its probabilities say."""
    everything = {k: list(range(w)) for k, w in site_widths(model.network.config).items()}
    (whole,) = natural.run(model, make(model, everything), evidence, True)
    (nothing,) = natural.run(model, make(model, {}), evidence, True)
    assert (1.0, False) == (nothing.value, nothing.passed)
    assert 1.0 == nothing.control
    assert whole.n == nothing.n > 100
    with torch.no_grad():
        text, own = (
            model.network(tokens).softmax(-1)[..., [80, 81]].sum(-1)
            for tokens in (evidence.text, evidence.test.tokens)
        )
    middle = own[torch.arange(len(own)), evidence.test.last].median()
    expected = float((text[text < natural.FOREIGN] >= 0.999 * middle).double().mean())
    assert pytest.approx(expected, abs=0.01) == whole.value
    assert 0.05 < whole.value < 0.95


def test_claims_by_hand(model: Model, sets: PromptSets) -> None:
    """Log odds of P or Q against all other tokens, at every position."""
    tokens = sets.test.tokens[:5]
    found = natural.claims(model.network, tokens, [80, 81], None)
    with torch.no_grad():
        p = model.network(tokens).softmax(-1)[..., [80, 81]].sum(-1)
    assert torch.allclose(p, found.sigmoid(), atol=1e-6)


def test_attention(model: Model, planted: Circuit, evidence: Evidence) -> None:
    """Heads that keep their query and key look where they did; without, head 0 looks everywhere."""
    (found,) = attention.run(model, planted, evidence, True)
    assert isinstance(found, Finding)
    assert found.passed
    assert pytest.approx(0.0, abs=0.01) == found.value
    (blind,) = attention.run(model, make(model, BLIND), evidence, True)
    assert isinstance(blind, Finding)
    assert blind.passed is False
    assert "head 0.0" in blind.meaning
    assert [(0, 0), (0, 1)] == attention.kept_heads(planted.nodes, model.network.config)
    (none,) = attention.run(model, make(model, {"resid_final": [4]}), evidence, True)
    assert isinstance(none, LeftOut)


def test_patterns_with_sinks(busy: Model) -> None:
    """The last token's pattern, sink last, of two heads in two layers, as written out."""
    tokens = torch.randint(busy.network.config.vocab_size, (4, 7))
    last = torch.tensor([6, 2, 4, 4])
    heads = [(0, 1), (1, 0)]
    prompts = attention.Prompts(tokens, last, last, last, (Pair("", "", "", "", ""),) * 2)
    (found,) = attention.attended(busy.network, prompts, heads)
    for layer, head in heads:
        block = busy.network.blocks[layer]
        for row in range(4):
            with torch.no_grad(), record(busy.network) as seen:
                busy.network(tokens[row : row + 1])
            q, k = (seen[f"{layer}.{site}"][0] for site in ("attn_q", "attn_k"))
            weights, sink = attend(block, q, k, head)
            at = int(last[row])
            assert sink is not None
            expected = torch.cat([weights[at], sink[at : at + 1]])
            assert torch.allclose(expected, found[layer, head][row], atol=1e-5)

"""The causal tests of what a node is said to mean: fixed functions with pass marks set beforehand.

    minimal_pairs   one token changed, or the beginning taken off, so that the predicate flips: the
                    value follows
    necessity       ablated where the predicate holds it costs more than elsewhere; three ablations
    steering        set to its value where the predicate holds: the answer moves as it did on
                    other pairs
    interchange     given the partner's values: the answer follows the partner
    substitution    replaced by what the explanation expects: the loss stays
    complement      necessity again with half of what is outside the circuit running, five draws
    specificity     the loss of ablating it beside that of five random nodes of its site
    distribution    whether the value it was set to is one that it has

Each gives True, False or None: None where the interval straddles the mark or nothing can be tested.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.ablation.values import ablation_values_of
from lacewing.explain import calls
from lacewing.explain.change import Change
from lacewing.explain.stage import DRAWS, Stage
from lacewing.model.sites import parse_node
from lacewing.model.transformer import SiteHook
from lacewing.statistics import bootstrap

MARKS: Mapping[str, float] = {
    "minimal_pairs": 0.8,
    "moved": 0.5,
    "control_moves": 0.4,
    "necessity": 0.0,
    "steering": 0.0,
    "interchange": 0.0,
    "substitution": 0.7,
    "complement": 0.8,
    "distribution": 0.99,
}
"""What each test has to reach: shares of pairs, of the expected way, of loss, of draws."""
RANDOM_NODES = 5


@dataclass(frozen=True)
class Test:
    """One test of one explanation."""

    name: str
    intervention: str
    n: int
    effect: float | None
    ci95: tuple[float, float] | None
    mark: float
    passed: bool | None
    control: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "intervention": self.intervention,
            "n": self.n,
            "effect": self.effect,
            "ci95": list(self.ci95) if self.ci95 else None,
            "mark": self.mark,
            "pass": self.passed,
            "control": self.control,
            "note": self.note,
        }


@dataclass(frozen=True, eq=False)
class Claim:
    """An explanation of one node, made ready for the prompts of a stage."""

    stage: Stage
    node: str
    holds: Bool[Tensor, "sequence token"]
    """Where its predicate holds."""
    active: Bool[Tensor, "sequence token"]
    """The same, or where that of its other side does."""
    expected: Float[Tensor, "sequence token"]
    """The value it expects, calibrated on the first half of the pairs."""
    on: float
    """The node's mean value in the circuit where the predicate holds."""
    natural: Float[np.ndarray, " sample"]
    """The node's values over natural text."""
    seed: int

    def ablation(self) -> float:
        """What stands for the node when it is ablated."""
        key, channel = parse_node(self.node)
        values = ablation_values_of(self.stage.model, self.stage.circuit.ablation)
        return float(values[key][channel])


def judged(low: float, high: float, mark: float) -> bool | None:
    """Whether an interval lies above a mark; False where below, None where it straddles it."""
    return True if low > mark else False if high < mark else None


def necessity(claim: Claim) -> Test:
    """Ablated by its mean, zero or random values of its own, where it holds and elsewhere."""
    means = {
        "mean": torch.tensor(claim.ablation()),
        "zero": torch.tensor(0.0),
        "resample": _resampled(claim),
    }
    found = {}
    for name, value in means.items():
        found[name] = _difference(claim, value, None, claim.stage.full)
    return _worst(claim, "necessity", "ablated where it holds, less elsewhere, nats", found)


def complement(claim: Claim) -> Test:
    """Necessity under random halves of what is outside the circuit running freely."""
    value = torch.tensor(claim.ablation())
    effects = [
        float(_difference(claim, value, base, full).mean())
        for base, full in (claim.stage.halves if claim.active.any() else ())
    ]
    if not effects:
        return _untestable("complement", "half of the complement ablated", "it holds nowhere")
    share = float(np.mean(np.array(effects) > 0))
    ends = (min(effects), max(effects))
    passed = True if share >= MARKS["complement"] else None
    words = "share of draws in which ablating it where it holds costs more"
    return Test("complement", words, DRAWS, share, ends, MARKS["complement"], passed)


def steering(claim: Claim) -> Test:
    """Set to its value where it holds, at places where the partner's predicate holds."""
    words = "set on where only the partner's predicate holds, nats towards the partner"
    where = _of_partner(claim, claim.holds.float()).bool() & ~claim.holds & claim.stage.there
    moved = _towards_partner(claim, Change(claim.node, claim.on, where))
    rows = where.any(1).view(-1, 2).any(1).numpy()
    half = claim.stage.half
    first, second = moved[:half][rows[:half]], moved[half:][rows[half:]]
    if min(len(first), len(second)) < 4:
        return _untestable("steering", words, "the predicate holds alike in both members")
    sign = 1.0 if first.mean() >= 0 else -1.0
    low, high = bootstrap(sign * second, seed=claim.seed)
    passed = judged(low, high, MARKS["steering"])
    effect = float((sign * second).mean())
    note = f"expected sign {sign:+.0f}, from the other half of the pairs"
    return Test("steering", words, len(second), effect, (low, high), 0.0, passed, None, note)


def interchange(claim: Claim) -> Test:
    """Given the partner's values, token by token from the end."""
    words = "given the partner's values, nats towards the partner"
    partner = _of_partner(claim, claim.holds.float()).bool()
    differs = ((partner != claim.holds) & claim.stage.there).any(1).view(-1, 2).all(1).numpy()
    if differs.sum() < 4:
        return _untestable("interchange", words, "the predicate holds alike in both members")
    values = claim.stage.values(claim.node)
    given = Change(claim.node, _of_partner(claim, values), claim.stage.there)
    moved = _towards_partner(claim, given)[differs]
    low, high = bootstrap(moved, seed=claim.seed)
    other = Change(claim.node, _of_next(claim, values), claim.stage.there)
    control = float(_towards_partner(claim, other)[differs].mean())
    passed = judged(low, high, MARKS["interchange"])
    note = "control: the values of the next pair's member of the same answer"
    effect = float(moved.mean())
    return Test("interchange", words, len(moved), effect, (low, high), 0.0, passed, control, note)


def substitution(claim: Claim) -> Test:
    """Replaced by what the explanation expects, at every token: the share of loss that is saved."""
    words = "share of the loss of ablating it that the expected values save"
    test = slice(claim.stage.half, None)
    full = claim.stage.full[test]
    there = claim.stage.there
    lost = claim.stage.losses([Change(claim.node, claim.ablation(), there)])[test] - full
    left = claim.stage.losses([Change(claim.node, claim.expected, there)])[test] - full
    low, _ = bootstrap(lost, seed=claim.seed)
    mark = MARKS["substitution"]
    if low <= 0:
        return _untestable("substitution", words, "ablating the node costs nothing that is sure")
    dice = np.random.default_rng(claim.seed).integers(len(lost), size=(2000, len(lost)))
    drawn = 1 - left[dice].mean(1) / np.maximum(lost[dice].mean(1), 1e-9)
    ends = float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))
    effect = float(1 - left.mean() / lost.mean())
    passed = judged(*ends, mark)
    return Test("substitution", words, len(lost), effect, ends, mark, passed, float(lost.mean()))


def specificity(claim: Claim) -> Test:
    """Ablated in the full model beside random nodes of the site that are outside the circuit."""
    key, channel = parse_node(claim.node)
    dice = np.random.default_rng(claim.seed)
    others = np.setdiff1d(
        np.arange(calls.widths(claim.stage.model)[key]), claim.stage.circuit.nodes[key]
    )
    chosen = dice.permutation(others)[:RANDOM_NODES].tolist()
    full = claim.stage.running
    means, costs = claim.stage.model.means[key], []
    for c in (channel, *chosen):
        edit = Change(f"{key}.{c}", float(means[c]), claim.stage.there)
        costs.append(float((claim.stage.losses([edit], base={}) - full).mean()))
    below = float(np.mean(np.array(costs[1:]) < costs[0])) if chosen else 0.0
    words = "share of random nodes of the site whose ablation in the full model costs less"
    control = max(costs[1:], default=None)
    return Test("specificity", words, len(chosen), below, None, 0.5, None, control, "reported only")


def distribution(claim: Claim) -> Test:
    """Whether the value that steering sets is one that the node has on natural text."""
    share = float(np.mean(claim.natural <= claim.on))
    outside = min(max(share, 1 - share), 1.0)
    reach = (claim.natural.min(), claim.natural.max())
    mark = MARKS["distribution"]
    passed = bool(reach[0] <= claim.on <= reach[1])
    words = "quantile, among its values on natural text, of the value it is set to"
    note = "" if outside <= mark else "beyond the 99th percentile of its values"
    return Test("distribution", words, len(claim.natural), share, None, mark, passed, None, note)


TESTS: Mapping[str, Callable[[Claim], Test]] = {
    "substitution": substitution,
    "necessity": necessity,
    "interchange": interchange,
    "steering": steering,
    "complement": complement,
    "specificity": specificity,
    "distribution": distribution,
}
"""The tests on a circuit's prompts, in the order they are run."""


def _difference(
    claim: Claim,
    value: Tensor,
    base: Mapping[str, SiteHook] | None,
    full: Float[np.ndarray, " pair"],
) -> Float[np.ndarray, " pair"]:
    """What ablating costs where the predicate holds, less what it costs elsewhere, per pair."""
    there = claim.stage.there
    cost = [
        claim.stage.losses([Change(claim.node, value, where)], base) - full
        for where in (claim.active & there, ~claim.active & there)
    ]
    return cost[0] - cost[1]


def _worst(claim: Claim, name: str, words: str, found: Mapping[str, np.ndarray]) -> Test:
    """Several ablations as one test: it passes, or fails, where all of them do."""
    if not claim.active.any():
        return _untestable(name, words, "the predicate holds nowhere in the prompts")
    ends = {key: bootstrap(each, seed=claim.seed) for key, each in found.items()}
    each = {key: judged(*interval, MARKS[name]) for key, interval in ends.items()}
    verdicts = set(each.values())
    passed = verdicts.pop() if len(verdicts) == 1 else None
    weakest = min(found, key=lambda key: ends[key][0])
    note = ", ".join(f"{key} {found[key].mean():+.4f}" for key in found)
    effect, n = float(found[weakest].mean()), len(found[weakest])
    return Test(name, words, n, effect, ends[weakest], MARKS[name], passed, None, note)


def _towards_partner(claim: Claim, change: Change) -> Float[np.ndarray, " pair"]:
    """How far a change moves the answers of a pair towards each other's, in nats."""
    moved = claim.stage.margins - claim.stage.margin([change])
    return moved.reshape(-1, 2).mean(1)


def _of_partner(claim: Claim, values: Tensor) -> Tensor:
    """Values of the other member of the pair, aligned from the last token backwards."""
    rows = torch.arange(len(values)).view(-1, 2).flip(1).flatten()
    return _aligned(claim, values, rows)


def _of_next(claim: Claim, values: Tensor) -> Tensor:
    """Values of the next pair's same member."""
    return _aligned(claim, values, (torch.arange(len(values)) + 2) % len(values))


def _resampled(claim: Claim) -> Tensor:
    """Values of random tokens of natural text."""
    dice = np.random.default_rng(claim.seed)
    return torch.from_numpy(dice.choice(claim.natural, claim.holds.shape).astype(np.float32))


def _aligned(claim: Claim, values: Tensor, rows: Tensor) -> Tensor:
    last = claim.stage.prompts.last
    shift = (last[rows] - last)[:, None]
    token = (torch.arange(values.shape[1])[None] + shift).clamp(0, values.shape[1] - 1)
    return values[rows[:, None], token]


def _untestable(name: str, words: str, why: str) -> Test:
    return Test(name, words, 0, None, None, MARKS[name], None, None, why)

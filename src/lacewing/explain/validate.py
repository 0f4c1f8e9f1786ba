"""Hypothesise, validate, explain: rounds of fixed tests until a verdict, every step logged.

    supported    observed and minimal pairs pass, necessity or interchange passes, and substitution
    refuted      minimal pairs, necessity, steering or interchange goes significantly the wrong way
    unresolved   anything else; the next hypothesis is tried, those first that are right about the
                 pairs which this one got wrong

The log holds all that is needed to do every step again: `replay` does, and compares.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Literal as Choice

import numpy as np
import torch
from jaxtyping import Float

from lacewing.explain.amplitude import fit_amplitude
from lacewing.explain.causal import MARKS, TESTS, Claim, Test
from lacewing.explain.columns import Columns
from lacewing.explain.firing import Firing, firings
from lacewing.explain.library import Library
from lacewing.explain.metrics import f1_interval
from lacewing.explain.node import Explanation
from lacewing.explain.pairs import Pairs, expected_moves, minimal_pairs, moves
from lacewing.explain.parse import parse
from lacewing.explain.predicate import Literal, Predicate, joined
from lacewing.explain.search import search
from lacewing.explain.stage import Stage
from lacewing.explain.text import lexed
from lacewing.statistics import wilson

Verdict = Choice["supported", "refuted", "unresolved"]
ROUNDS = 4
CAN_REFUTE = ("minimal_pairs", "necessity", "steering", "interchange")


@dataclass(frozen=True)
class Hypothesis:
    """From which value on one side of a node fires, where, and where the other side does."""

    firing: Firing
    predicate: Predicate
    opposite: Predicate

    def as_json(self) -> dict[str, Any]:
        """What a log holds of it."""
        return {
            "sign": self.firing.sign,
            "threshold": self.firing.threshold,
            "hypothesis": str(self.predicate),
            "opposite": str(self.opposite),
        }


@dataclass(frozen=True)
class CausalCard:
    """What the tests found of one node."""

    verdict: Verdict
    hypothesis: Hypothesis | None
    """What the verdict is about; none for a node that nothing is said of."""
    tests: tuple[Test, ...]
    log: tuple[Mapping[str, Any], ...] = field(repr=False)
    """Every step of every round."""

    @property
    def predicate(self) -> Predicate:
        """Where the node is said to fire."""
        return self.hypothesis.predicate if self.hypothesis else Predicate()

    def test(self, name: str) -> Test | None:
        """A test by name; none where it was not run."""
        return next((test for test in self.tests if test.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "verdict": self.verdict,
            "explanation": str(self.predicate),
            "tests": [test.as_json() for test in self.tests],
            "log": [dict(step) for step in self.log],
        }


def validate(
    stage: Stage,
    library: Library,
    explanation: Explanation,
    values: Float[np.ndarray, " token"],
    seed: int = 0,
) -> CausalCard:
    """Test the hypotheses of a node, one after the other, until one is supported.

    Args:
        stage: The circuit on its prompts.
        library: Of the natural text.
        explanation: The node's hypotheses; `described` of its card is the first test.
        values: The node's values over the natural text.
        seed: Draws everything.
    """
    if explanation.firing is None or not explanation.predicate.clauses:
        return CausalCard("unresolved", None, (), ())
    node, waiting = explanation.node, list(hypotheses(library, explanation, values))
    log: list[Mapping[str, Any]] = []
    best: tuple[Verdict, Hypothesis, list[Test]] | None = None
    failing: list[tuple[list[int], bool]] = []
    for number in range(min(ROUNDS, len(waiting))):
        tried = _next(waiting, failing, library)
        waiting.remove(tried)
        tests, wrong = run_tests(stage, library, node, tried, values, seed)
        failing += wrong
        verdict = verdict_of(tests)
        log.append(
            {
                "round": number + 1,
                "node": node,
                **tried.as_json(),
                "seed": seed,
                "marks": dict(MARKS),
                "tests": [test.as_json() for test in tests],
                "verdict": verdict,
                "failing_contexts": len(wrong),
            }
        )
        if best is None or verdict == "supported":
            best = verdict, tried, tests
        if verdict == "supported":
            break
    assert best is not None
    return CausalCard(best[0], best[1], tuple(best[2]), tuple(log))


def hypotheses(
    library: Library, explanation: Explanation, values: Float[np.ndarray, " token"]
) -> Iterator[Hypothesis]:
    """What is tried: the best predicate, that for firing from a lower value on, then the others."""
    firing = explanation.firing
    assert firing is not None
    every = [found.predicate for found in explanation.hypotheses if found.predicate.clauses]
    first = Hypothesis(firing, every[0], explanation.opposite)
    yield from (first, *_exclusive(first))
    low = Firing(firing.sign, firing.others[0], firing.others)
    if low.threshold < firing.threshold:
        predicate = search(library, low.fires(values), every, keep=1)[0].predicate
        other = next((f for f in firings(values[library.fit]) if f.sign != firing.sign), None)
        opposite = explanation.opposite
        if other is not None and opposite.clauses:
            fires = Firing(other.sign, other.others[0], other.others).fires(values)
            opposite = search(library, fires, [opposite], keep=1)[0].predicate
        second = Hypothesis(low, predicate, opposite)
        yield from (second, *_exclusive(second))
    for predicate in every[1:]:
        yield Hypothesis(firing, predicate, explanation.opposite)


def _exclusive(given: Hypothesis) -> Iterator[Hypothesis]:
    """The same where neither side holds if both would: natural text may never have both."""

    def without(predicate: Predicate, other: Predicate) -> Predicate:
        away = tuple(
            Literal(clause[0].atom, not clause[0].negated)
            for clause in other.clauses
            if len(clause) == 1
        )
        return Predicate(tuple(tuple(dict.fromkeys((*c, *away))) for c in predicate.clauses))

    main = without(given.predicate, given.opposite)
    if main != given.predicate:
        yield Hypothesis(given.firing, main, without(given.opposite, given.predicate))


def run_tests(
    stage: Stage,
    library: Library,
    node: str,
    tried: Hypothesis,
    values: Float[np.ndarray, " token"],
    seed: int,
) -> tuple[list[Test], list[tuple[list[int], bool]]]:
    """All tests of one hypothesis, and the contexts whose firing it got wrong.

    Unless minimal pairs and substitution both pass the verdict cannot be `supported`, and the
    reports of complement, specificity and distribution, which decide nothing, are not made.
    """
    tests = [_observed(library, tried.predicate, tried.firing, values, seed)]
    pairs, wrong = _minimal_pairs(stage, library, node, tried, values, seed)
    tests.append(pairs)
    claim = claim_of(stage, library, node, tried, values, seed)
    for name, test in TESTS.items():
        hopeless = not all(test.passed is True for test in tests[1:3])
        if hopeless and name in ("complement", "specificity", "distribution"):
            continue
        tests.append(test(claim))
    return tests, wrong


def verdict_of(tests: Sequence[Test]) -> Verdict:
    """What the tests say together."""
    passed = {test.name: test.passed for test in tests}
    if any(passed.get(name) is False for name in CAN_REFUTE):
        return "refuted"
    cause = passed.get("necessity") is True or passed.get("interchange") is True
    if cause and all(passed.get(n) is True for n in ("observed", "minimal_pairs", "substitution")):
        return "supported"
    return "unresolved"


def claim_of(
    stage: Stage,
    library: Library,
    node: str,
    tried: Hypothesis,
    values: Float[np.ndarray, " token"],
    seed: int,
) -> Claim:
    """What is expected in the circuit: the amplitude, rescaled on the first half of the pairs."""
    firing, predicate, opposite = tried.firing, tried.predicate, tried.opposite
    both = joined(predicate, opposite)
    signed = firing.sign * values.astype(np.float64)
    amplitude = fit_amplitude(library.columns, (predicate, opposite), signed)
    expected = firing.sign * amplitude.predict(stage.columns, both)
    spread = stage.spread(torch.from_numpy(expected))
    actual, holds = stage.values(node), stage.truth(predicate)
    first = stage.there.clone()
    first[2 * stage.half :] = False
    x, y = spread[first].numpy(), actual[first].double().numpy()
    slope, level = np.polyfit(x, y, 1) if np.ptp(x) > 0 else (0.0, float(y.mean()))
    on = actual[holds & first] if (holds & first).any() else actual[holds]
    typical = float(on.mean()) if len(on) else firing.sign * float(firing.threshold)
    rescaled = (slope * spread + level).float()
    return Claim(stage, node, holds, stage.truth(both), rescaled, typical, values, seed)


def replay(
    stage: Stage,
    library: Library,
    log: Sequence[Mapping[str, Any]],
    values: Mapping[str, Float[np.ndarray, " token"]],
) -> list[str]:
    """Do every step of a log again; what came out differently, one line each.

    Args:
        stage: The circuit on the same prompts.
        library: Of the same natural text.
        log: What `CausalCard.as_json()["log"]` holds.
        values: The nodes' values over that text.
    """
    features = {name: feature for name, (_, feature) in library.text.features.items()}
    differences = []
    for step in log:
        firing = Firing(step["sign"], step["threshold"], (step["threshold"],) * 2)
        predicate = parse(step["hypothesis"], features)
        tried = Hypothesis(firing, predicate, parse(step["opposite"], features))
        node = step["node"]
        tests, _ = run_tests(stage, library, node, tried, values[node], step["seed"])
        now = {test.name: test.as_json() for test in tests}
        for old in step["tests"]:
            new = now.get(old["name"])
            if new is None:
                differences.append(f"{node} round {step['round']} {old['name']}: not made now")
            elif not _near(new["effect"], old["effect"]) or new["pass"] != old["pass"]:
                differences.append(
                    f"{node} round {step['round']} {old['name']}: {old['effect']} "
                    f"({old['pass']}) then, {new['effect']} ({new['pass']}) now"
                )
    return differences


def _near(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= 1e-4 * max(1.0, abs(a))


def _observed(
    library: Library,
    predicate: Predicate,
    firing: Firing,
    values: Float[np.ndarray, " token"],
    seed: int,
) -> Test:
    """F1 on test text against 0.5 and what always fires."""
    test = library.text.slices["test"]
    guess, fires = library.columns.truth(predicate)[test], firing.fires(values)[test]
    value, ends = f1_interval(guess, fires, library.text.document[test], seed)
    share = float(fires.mean())
    constant = 2 * share / (1 + share)
    passed = True if value >= 0.5 and ends[0] > constant else None
    words = "F1 on test text; control: what always fires"
    return Test("observed", words, len(fires), value, ends, 0.5, passed, constant)


def _minimal_pairs(
    stage: Stage,
    library: Library,
    node: str,
    tried: Hypothesis,
    values: Float[np.ndarray, " token"],
    seed: int,
) -> tuple[Test, list[tuple[list[int], bool]]]:
    """The share of flips that the node follows, beside changes that flip nothing."""
    words = "share of flips that the value follows by half of the expected way or more"
    mark = MARKS["minimal_pairs"]
    firing, predicate, opposite = tried.firing, tried.predicate, tried.opposite
    pairs = minimal_pairs(library, predicate, seed)
    signed = firing.sign * values.astype(np.float64)
    amplitude = fit_amplitude(library.columns, (predicate, opposite), signed)
    expected = expected_moves(library, joined(predicate, opposite), amplitude, pairs)
    # A flip whose two ends are expected to be alike says nothing.
    useful = pairs.flips & (np.where(pairs.holds, -expected, expected) > 0)
    flips = int(useful.sum())
    if flips < 8:
        why = "no change flips it with another value expected"
        return Test("minimal_pairs", words, flips, None, None, mark, None, None, why), []
    gap = float(np.abs(expected[useful]).mean())
    moved = moves(stage.whole, node, firing, pairs)
    share_of_way = moved[useful] / expected[useful]
    followed = share_of_way >= MARKS["moved"]
    share, ends = float(followed.mean()), wilson(int(followed.sum()), flips)
    controls = np.abs(moved - expected)[~pairs.flips] >= MARKS["moved"] * gap
    control = float(controls.mean()) if len(controls) else 0.0
    against = wilson(int((share_of_way <= -MARKS["moved"]).sum()), flips)
    passed: bool | None = share >= mark and control <= MARKS["control_moves"]
    if not passed:
        passed = False if against[0] > 0.5 else None
    note = f"control: {len(controls)} changes that flip nothing; mean way {gap:.3g}"
    test = Test("minimal_pairs", words, flips, share, ends, mark, passed, control, note)
    left = np.zeros(len(moved))
    left[useful] = share_of_way
    return test, _wrong(pairs, useful & (left < MARKS["moved"]))


def _wrong(pairs: Pairs, astray: np.ndarray) -> list[tuple[list[int], bool]]:
    """Edited contexts after which the node did not do as said, with whether it fires there."""
    return [(pairs.edited[i], bool(pairs.holds[i])) for i in np.flatnonzero(astray)]


def _next(
    waiting: Sequence[Hypothesis], failing: Sequence[tuple[list[int], bool]], library: Library
) -> Hypothesis:
    """The hypothesis that is right about most of the contexts that the others got wrong."""
    if not failing:
        return waiting[0]
    rows = [row for row, _ in failing]
    text = lexed(rows, library.text.pieces, library.text.language)
    ends = np.cumsum([len(row) for row in rows]) - 1
    columns, wanted = Columns(text), np.array([fires for _, fires in failing])
    right = [int((columns.truth(h.predicate)[ends] == wanted).sum()) for h in waiting]
    return waiting[int(np.argmax(right))]

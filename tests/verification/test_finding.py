"""Findings: which side of the threshold, what the verdict says, what survives JSON."""

import json
import math
from typing import Any

import pytest

from lacewing.verification.finding import LeftOut, from_json, judge, outcome, verdict


def made(value: float, low: float | None, high: float | None, at_most: bool, **more: Any) -> Any:
    return judge(
        more.pop("name", "x"),
        value,
        0.3,
        at_most=at_most,
        unit="nats",
        n=8,
        low=low,
        high=high,
        meaning="",
        **more,
    )


@pytest.mark.parametrize(
    ("low", "high", "at_most", "at_least"),
    [
        (0.1, 0.2, True, False),
        (0.1, 0.3, True, None),
        (0.3, 0.3, True, True),
        (0.2, 0.31, None, None),
        (0.3, 0.4, None, True),
        (0.31, 0.4, False, True),
        (None, None, True, False),
    ],
)
def test_the_whole_interval_has_to_lie_on_the_right_side(
    low: float | None, high: float | None, at_most: bool | None, at_least: bool | None
) -> None:
    """Passed, failed or unresolved by the interval; the mark itself is on the right side."""
    assert at_most is made(0.2, low, high, at_most=True).passed
    assert at_least is made(0.2, low, high, at_most=False).passed


def test_a_control_that_does_as_well_fails_the_test() -> None:
    """Only where the test would have passed; what is unresolved stays so."""
    assert made(0.2, 0.1, 0.25, at_most=True, beaten=False).passed is False
    assert made(0.2, 0.1, 0.35, at_most=True, beaten=False).passed is None
    assert made(0.4, 0.35, 0.45, at_most=True, beaten=False).passed is False
    assert made(0.2, 0.1, 0.25, at_most=True, beaten=None).passed is None


def test_what_was_not_measured_is_unresolved() -> None:
    """Not a number is neither right nor wrong; infinite is."""
    assert made(math.nan, None, None, at_most=True).passed is None
    assert made(math.inf, None, None, at_most=True).passed is False
    assert made(math.inf, None, None, at_most=False).passed is True


def test_the_verdict() -> None:
    """One failure outweighs what is unresolved, and that what passed."""
    good = made(0.2, 0.1, 0.25, at_most=True, name="good")
    bad = made(0.4, 0.35, 0.45, at_most=True, name="bad")
    open_ = made(0.3, 0.2, 0.4, at_most=True, name="open")

    def said(*findings: Any) -> str:
        return verdict([(one.name, one.passed) for one in findings])

    assert "holds" == said(good)
    assert "holds" == said()
    assert "unresolved: open" == said(good, open_)
    assert "fails: bad" == said(good, open_, bad)
    assert "fails: bad, bad" == said(bad, bad)
    assert [True, None, False] == [outcome(x) for x in ([], [True, None], [None, False])]


def test_what_an_older_version_let_pass_is_judged_again() -> None:
    """Its interval only reached the threshold; what failed there still fails."""
    old = made(0.3, 0.2, 0.4, at_most=True).as_json()
    assert from_json(old | {"passed": True}).passed is None
    assert from_json(old | {"passed": False}).passed is False
    assert from_json(old | {"low": 0.1, "high": 0.3, "passed": True}).passed is True


@pytest.mark.parametrize("value", [0.2, math.inf, math.nan])
def test_findings_survive_json(value: float) -> None:
    """What is not finite is null in the file, and comes back as what it was."""
    one = made(value, None, None, at_most=False)
    back = from_json(json.loads(json.dumps(one.as_json(), allow_nan=False)))
    assert one.passed is back.passed
    assert str(one) == str(back)
    assert {"name": "a", "reason": "b"} == LeftOut("a", "b").as_json()

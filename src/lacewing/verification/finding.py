"""A finding: one number about a circuit, with its threshold, its interval and its control."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lacewing.artifacts import OPEN

YES = {True: "yes", False: "NO", None: "unresolved"}
"""The answer of one test of the short test, in words."""


@dataclass(frozen=True)
class Finding:
    """One test of a circuit: what was measured, against what, and whether it passed."""

    __pydantic_config__ = OPEN

    name: str
    """What was tested: `"sufficient.zero"`, `"complement.worst"`, ..."""
    value: float
    """What was measured; infinite where a bound was never reached, nan where nothing could be."""
    low: float | None
    """Lower end of the 95 % interval of the value; none where nothing was sampled."""
    high: float | None
    """Its upper end."""
    n: int
    """How many pairs, prompts, positions or seeds were sampled."""
    unit: str
    """What the value counts: nats, share, ratio, ..."""
    threshold: float
    """What the value has to reach, set in advance."""
    at_most: bool
    """Whether the value must lie at or below the threshold; else at or above."""
    control: float | None
    """The same number for the control."""
    control_name: str
    """What the control is."""
    passed: bool | None
    """None: unresolved; the interval straddles the threshold, or nothing could be measured."""
    meaning: str
    """One line for a person."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; a number that is not finite becomes null, as JSON has none."""
        plain = dataclasses.asdict(self)
        return {key: None if _odd(value) else value for key, value in plain.items()}


NOT_SEARCHED = "another tool found this circuit: how our search repeats says nothing of it"
"""Why parts that prune again are left out."""


@dataclass(frozen=True)
class LeftOut:
    """A test that cannot exist for a circuit, and why; it does not count in the verdict."""

    __pydantic_config__ = OPEN

    name: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return dataclasses.asdict(self)


def judge(
    name: str,
    value: float,
    threshold: float,
    *,
    at_most: bool,
    unit: str,
    n: int,
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    control: float | None = None,
    control_name: str = "",
    beaten: bool | None = True,
) -> Finding:
    """A finding with its verdict.

    Passed where the whole interval (the value, where there is none) is on the right side of the
    threshold, failed where all of it is on the wrong side, unresolved where it straddles it or the
    value is nan.

    Args:
        name: What was tested.
        value: What was measured.
        threshold: What it has to reach, set in advance.
        at_most: Whether it must lie at or below the threshold; else at or above.
        unit: What the value counts.
        n: How much was sampled.
        meaning: One line for a person.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        control: The same number for the control.
        control_name: What the control is.
        beaten: Where the test demands it, whether the control did worse: if not, the test fails; if
            that is unresolved, so is a test that would have passed.
    """
    passed = reaches(value, low, high, threshold, at_most=at_most)
    if passed:
        passed = beaten
    return Finding(
        name=name,
        value=value,
        low=low,
        high=high,
        n=n,
        unit=unit,
        threshold=threshold,
        at_most=at_most,
        control=control,
        control_name=control_name,
        passed=passed,
        meaning=meaning,
    )


def reaches(
    value: float, low: float | None, high: float | None, threshold: float, *, at_most: bool
) -> bool | None:
    """Whether the whole interval (the value, where there is none) is on the right side.

    False where all of it is on the wrong side; none where it straddles the threshold, or the value
    is nan. Every verdict is made here.
    """
    if math.isnan(value):
        return None
    ends = (value if low is None else low, value if high is None else high)
    right = [end <= threshold if at_most else end >= threshold for end in ends]
    return right[0] if right[0] == right[1] else None


def outcome(passed: Iterable[bool | None]) -> bool | None:
    """Of several tests: failed if one fails, else unresolved if one is, else passed."""
    each = list(passed)
    return False if False in each else None if None in each else True


def verdict(tests: Sequence[tuple[str, bool | None]]) -> str:
    """Tests, by name, in a few words: `holds`, `fails: NAMES` or `unresolved: NAMES`."""
    whole = outcome(passed for _, passed in tests)
    if whole:
        return "holds"
    names = ", ".join(name for name, passed in tests if passed is whole)
    return f"unresolved: {names}" if whole is None else f"fails: {names}"


def from_json(plain: Mapping[str, Any]) -> Finding:
    """The finding that `as_json` wrote; a null value was infinite, or nan if nobody judged it.

    What older versions let pass with an interval that only reaches the threshold does not pass.
    """
    plain = dict(plain)
    if "pass_mark" in plain:  # what older versions called the threshold
        plain["threshold"] = plain.pop("pass_mark")
    value = plain["value"]
    if value is None:
        reached = plain["passed"] is not None
        value = math.inf if reached else math.nan
    if plain["passed"]:
        ends = plain["low"], plain["high"]
        plain["passed"] = reaches(value, *ends, plain["threshold"], at_most=plain["at_most"])
    return Finding(**(plain | {"value": value}))


def _odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)

"""A finding: one number about a circuit, with its mark, its interval and its control."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One test of a circuit: what was measured, against what, and whether it passed."""

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
    pass_mark: float
    """What the value has to reach, set in advance."""
    at_most: bool
    """Whether the value must lie at or below the mark; else at or above."""
    control: float | None
    """The same number for the control."""
    control_name: str
    """What the control is."""
    passed: bool | None
    """None: unresolved, because the interval straddles the mark or nothing could be measured."""
    meaning: str
    """One line for a person."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; a number that is not finite becomes null, as JSON has none."""
        plain = dataclasses.asdict(self)
        return {key: None if _odd(value) else value for key, value in plain.items()}


@dataclass(frozen=True)
class LeftOut:
    """A test that cannot exist for a circuit, and why; it does not count in the verdict."""

    name: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return dataclasses.asdict(self)


def judge(
    name: str,
    value: float,
    pass_mark: float,
    *,
    at_most: bool,
    unit: str,
    n: int,
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    control: float | None = None,
    control_name: str = "",
    beaten: bool = True,
) -> Finding:
    """A finding with its verdict.

    Passed where the whole interval (the value, where there is none) is on the right side of the
    mark, failed where all of it is on the wrong side, unresolved where it straddles the mark or the
    value is nan.

    Args:
        name: What was tested.
        value: What was measured.
        pass_mark: What it has to reach, set in advance.
        at_most: Whether it must lie at or below the mark; else at or above.
        unit: What the value counts.
        n: How much was sampled.
        meaning: One line for a person.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        control: The same number for the control.
        control_name: What the control is.
        beaten: Where the test demands it, whether the control did worse; if not, the test fails.
    """
    ends = (value if low is None else low, value if high is None else high)
    right = [end <= pass_mark if at_most else end >= pass_mark for end in ends]
    passed = None if math.isnan(value) or right[0] != right[1] else right[0]
    if passed and not beaten:
        passed = False
    return Finding(
        name=name,
        value=value,
        low=low,
        high=high,
        n=n,
        unit=unit,
        pass_mark=pass_mark,
        at_most=at_most,
        control=control,
        control_name=control_name,
        passed=passed,
        meaning=meaning,
    )


def verdict(findings: Sequence[Finding]) -> str:
    """All findings in a few words: `holds`, `fails: NAMES` or `unresolved: NAMES`."""
    failed = [f.name for f in findings if f.passed is False]
    if failed:
        return f"fails: {', '.join(failed)}"
    open_ = [f.name for f in findings if f.passed is None]
    return f"unresolved: {', '.join(open_)}" if open_ else "holds"


def from_json(plain: dict[str, Any]) -> Finding:
    """The finding that `as_json` wrote; a null value is infinite, its distance to any mark too."""
    value = plain["value"]
    if value is None:
        reached = plain["passed"] is not None
        value = math.inf if reached else math.nan
    return Finding(**plain | {"value": value})


def _odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)

"""A log that is still being written, read again as it grows until a step raises an alarm."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lacewing_blame.events import Trace
from lacewing_blame.ranker.watch import DEVIATIONS, RATE, threshold, watch
from lacewing_blame.ranker.weights import Ranker
from lacewing_blame.reading.read import read_so_far
from lacewing_blame.statistics import wilson

WAIT = 0.2
"""Seconds between two looks at the file."""


@dataclass(frozen=True)
class Rule:
    """When to raise an alarm, and how often that is wrong."""

    above: float
    rate: str
    """The false-alarm rate, in words."""

    @classmethod
    def shipped(cls) -> "Rule":
        """The rule without runs of one's own."""
        return cls(
            DEVIATIONS,
            f"about {RATE:.0%}, measured on the beginnings of failed runs of six systems; not "
            "known for successful runs of this one: give --runs",
        )

    @classmethod
    def learned(cls, runs: Sequence[Trace], rate: float, ranker: Ranker | None) -> "Rule":
        """The rule that so large a share of one's own successful runs breaks.

        Raises:
            DataError: too few of the runs succeeded.
        """
        good = [run for run in runs if run.succeeded]
        above = threshold(good, rate, ranker)
        wrong = sum(watch(run, above, ranker) is not None for run in good)
        low, high = wilson(wrong, len(good))
        return cls(
            above,
            f"{wrong} of {len(good)} successful runs, {wrong / len(good):.0%} "
            f"[{low:.0%}, {high:.0%}]",
        )


def follow(
    path: Path,
    rule: Rule,
    ranker: Ranker | None = None,
    format: str | None = None,
    patience: float = 60.0,
) -> dict[str, Any]:
    r"""Read a run as it unfolds; ends with the first alarm, or when nothing more comes.

    Args:
        path: The log, in any format that may be cut off.
        rule: When to raise an alarm.
        ranker: The weights; by default those that ship.
        format: The log's format; by default it is recognised.
        patience: Seconds without change after which the run is over.

    Returns:
        `trace`, `steps` read, `alarm` (None if there was none) and `rate`.

    Raises:
        DataError: the file is missing, or never becomes a log.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = Path(folder) / "a.jsonl"
    ...     _ = log.write_text('{"agent": "Ann", "text": "Row 1."}\n' * 2)
    ...     follow(log, Rule(99.0, "none"), patience=0.0)["alarm"]
    """
    seen, trace = (-1, -1), None
    changed = time.monotonic()
    while True:
        state = _state(path)
        if state != seen:
            seen, changed = state, time.monotonic()
            trace = read_so_far(path, format) or trace
            found = watch(trace, rule.above, ranker) if trace is not None else None
            if trace is not None and found is not None:
                return _result(trace, rule, asdict(found))
        elif time.monotonic() - changed >= patience:
            break
        else:
            time.sleep(WAIT)
    if trace is None:
        from lacewing_blame.reading.read import read

        trace = read(path, format)  # says what is wrong with it
    return _result(trace, rule, None)


def _state(path: Path) -> tuple[int, int]:
    """What changes when a file does; a missing file is told by who reads it."""
    if not path.exists():
        return 0, 0
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _result(trace: Trace, rule: Rule, alarm: dict[str, Any] | None) -> dict[str, Any]:
    texts = {event.index: event.text for event in trace.events}
    for one in (alarm or {}).get("evidence", ()):
        one["text"] = texts[one["step"]][one["start"] : one["end"]]
    return {"trace": trace.id, "steps": len(trace.events), "alarm": alarm, "rate": rule.rate}

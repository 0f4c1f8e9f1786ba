"""All signals of a run as one table."""

from dataclasses import dataclass

from lacewing_blame.events import Trace
from lacewing_blame.signals import (
    aftermath,
    claiming,
    contradiction,
    failing,
    grounding,
    instructions,
    placing,
    policy,
    repeating,
    sums,
)
from lacewing_blame.signals.scene import Scene

MODULES = (
    *(placing, failing, grounding, contradiction, policy),
    *(repeating, claiming, sums, instructions, aftermath),
)


@dataclass(frozen=True)
class Table:
    """The signals of one run."""

    rows: tuple[dict[str, float], ...]
    """One per suspect: its signals by name."""
    positions: tuple[int, ...]
    """Positions of the suspects among the events."""


def table(trace: Trace) -> Table:
    """What is seen of each suspect.

    >>> from lacewing_blame.events import conversation
    >>> found = table(conversation("Add.", ("A", "12 + 13 = 26"), ("B", "Thanks.")))
    >>> [row["wrong_sum"] for row in found.rows]
    [1.0, 0.0]
    """
    scene = Scene(trace)
    columns = {name: column for module in MODULES for name, column in module.signals(scene).items()}
    rows = tuple(
        {name: column[k] for name, column in columns.items()} for k in range(len(scene.suspects))
    )
    return Table(rows, tuple(scene.suspects))

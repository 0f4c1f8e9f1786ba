"""From a run of any system to one row of signals per suspect."""

from lacewing_blame.events import Trace
from lacewing_blame.ranker.seen import Features, ranked
from lacewing_blame.signals.meanings import SIGNALS
from lacewing_blame.signals.table import table


def general(trace: Trace) -> Features:
    """The signals of each suspect, by their place within the run.

    >>> from lacewing_blame.events import conversation
    >>> seen = general(conversation("Add.", ("A", "12 + 13 = 26"), ("B", "Thanks.")))
    >>> seen.columns(["wrong_sum"])
    [[1.0], [0.0]]
    """
    found = table(trace)
    names = tuple(SIGNALS)
    raw = tuple(tuple(row[name] for name in names) for row in found.rows)
    columns = [ranked([row[at] for row in raw]) for at in range(len(names))]
    rows = tuple(zip(*columns, strict=True)) if raw else ()
    return Features("general", names, rows, found.positions, raw)

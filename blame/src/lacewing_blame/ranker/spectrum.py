"""Several runs of one task: what failed runs do and successful ones do not.

The score is that of FAMAS (arXiv 2509.13782), over signatures that need no model: who acted, what
kind of act with which tool, and what came of it. For a signature in a failed run:

    S = alpha * (n_cf / (n_cf + n_uf) + n_cf / (n_cf + n_cs)) / 2 * (1 + beta) * (1 + gamma)

n_cf, n_cs: failed and successful runs with it, each counted as the sum of 0.9^(k-1) over its k-th
occurrence in the run; n_uf: failed runs without it; alpha: 1 + log of its occurrences in this run
to base 1/0.9; beta: its share of its agent's acts; gamma: runs with it over runs with its agent.
The decay within a run is how we read the paper's exponent. By gamma, an act that all runs share can
outscore a rarer one that only failed runs hold; the formula is kept as published.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lacewing_blame.attribution import Attribution
from lacewing_blame.errors import DataError
from lacewing_blame.events import Trace
from lacewing_blame.ranker.calibrate import softmax
from lacewing_blame.ranker.ranking import attribution
from lacewing_blame.ranker.run import Run
from lacewing_blame.ranker.weights import Ranker

DECAY = 0.9
"""What each further occurrence in a run counts, of the one before."""
METHOD = "ranker with spectrum"
FEWEST = 5
"""Runs of a task below which a spectrum says little."""


@dataclass(frozen=True, slots=True)
class Signature:
    """An act without its words."""

    agent: str
    action: str
    """The kind of act, and the tool, page or code it used."""
    state: str
    """What the tool gave back, or what the ledger then said."""


def signatures(trace: Trace) -> dict[int, Signature]:
    """The signature of each step that may be to blame, by index.

    >>> from lacewing_blame.events import conversation
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> signatures(trace)[0].agent
    'Ann'
    """
    run = Run(trace)
    results = [*run.results, ""]
    found = {}
    for at in run.candidates:
        event = trace.events[at]
        action = event.tool or ("code" if run.has_code(at) else "")
        topics = "+".join(sorted(run.topics[at])) if not action else ""
        ledger = run.ledger_after(at)
        state = results[at + 1] or ("" if ledger is None else f"progress {ledger.progress}")
        found[event.index] = Signature(
            event.agent, f"{event.kind} {action or topics}".strip(), state
        )
    return found


def spectrum(traces: Sequence[Trace]) -> dict[str, dict[int, float]]:
    """The score of every step of every failed run, by the run's id and the step's index.

    Args:
        traces: Runs of one task, failed (`succeeded` is False) and successful ones.

    Raises:
        DataError: there are fewer than five runs, an outcome is not known, or none succeeded or
            none failed.

    >>> from dataclasses import replace
    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> ended = [replace(run, succeeded=run.id in "12") for run in runs]
    >>> sorted(spectrum(ended))
    ['0', '3', '4', '5']
    """
    if len(traces) < FEWEST:
        raise DataError(f"{len(traces)} runs of a task are too few for a spectrum; give {FEWEST}")
    unknown = next((trace.id for trace in traces if trace.succeeded is None), None)
    if unknown is not None:
        raise DataError(f"{unknown} does not say how it ended; add succeeded: true or false")
    if len({trace.succeeded for trace in traces}) < 2:
        raise DataError("a spectrum needs both failed and successful runs of the task")
    seen = {trace.id: signatures(trace) for trace in traces}
    counts = {id: Counter(steps.values()) for id, steps in seen.items()}
    failed = [counts[trace.id] for trace in traces if not trace.succeeded]
    passed = [counts[trace.id] for trace in traces if trace.succeeded]
    common = {s: _score(s, failed, passed) for s in {s for run in failed for s in run}}
    return {
        trace.id: {
            step: common[one] * (1 + math.log(counts[trace.id][one], 1 / DECAY))
            for step, one in seen[trace.id].items()
        }
        for trace in traces
        if not trace.succeeded
    }


def rank_with_spectrum(
    traces: Sequence[Trace],
    ranker: Ranker | None = None,
    strength: float = 1.0,
    guess: bool = False,
) -> list[Attribution]:
    """The failed runs of one task, ranked by both: the ranker's log-odds plus the score's log.

    Args:
        traces: Runs of one task.
        ranker: The weights; by default those that ship.
        strength: What the spectrum's log counts.
        guess: Name a step in any case.

    >>> from dataclasses import replace
    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> ended = [replace(run, succeeded=run.id in "12") for run in runs]
    >>> [found.agent for found in rank_with_spectrum(ended)]
    ['Ann', 'Ann', 'Ann', 'Ann']
    """
    scores = spectrum(traces)
    used = ranker or Ranker.shipped()
    found = []
    for trace in traces:
        if trace.id not in scores:
            continue
        seen = used.see(trace)
        weights = used.of(seen)
        steps = scores[trace.id]
        least = min(steps.values(), default=1.0)  # a person's step has no signature
        added = [
            strength * math.log(steps.get(trace.events[at].index, least)) for at in seen.positions
        ]
        scored = [a + b for a, b in zip(weights.scores(seen), added, strict=True)]
        found.append(
            attribution(
                trace,
                seen,
                weights,
                softmax(scored),
                0.0 if guess else None,
                method=METHOD,
            )
        )
    return found


def _score(
    one: Signature, failed: Sequence[Counter[Signature]], passed: Sequence[Counter[Signature]]
) -> float:
    """All of the score but alpha, which is the run's own."""
    covered = sum(map(_decayed, (run[one] for run in failed)))
    uncovered = sum(run[one] == 0 for run in failed)
    good = sum(map(_decayed, (run[one] for run in passed)))
    everything = [*failed, *passed]
    agents = [sum(n for s, n in run.items() if s.agent == one.agent) for run in everything]
    share = sum(run[one] for run in everything) / sum(agents)
    coverage = sum(run[one] > 0 for run in everything) / sum(count > 0 for count in agents)
    kulczynski = (covered / (covered + uncovered) + covered / (covered + good)) / 2
    return kulczynski * (1 + share) * (1 + coverage)


def _decayed(times: int) -> float:
    return (1 - DECAY**times) / (1 - DECAY)

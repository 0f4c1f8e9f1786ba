"""Learning a ranker from labelled runs; twenty already help. Needs numpy (the extra `train`).

Weights for Who&When's two kinds of runs come from runs of that kind alone, if there are enough. The
general weights come from all runs, every system counting the same, and start from what each signal
means before any data: that is most of what they know, as systems are few.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lacewing_blame.errors import ConfigError, DataError
from lacewing_blame.events import Trace
from lacewing_blame.ranker.calibrate import temperature
from lacewing_blame.ranker.features import features
from lacewing_blame.ranker.folds import folds
from lacewing_blame.ranker.general import general
from lacewing_blame.ranker.meanings import COORDINATED, FLAT, MEANINGS
from lacewing_blame.ranker.seen import Features, Kind
from lacewing_blame.ranker.shape import kind_of
from lacewing_blame.ranker.weights import Ranker, Weights
from lacewing_blame.signals.meanings import GENERAL, PLACE, SIGNALS

RIDGE = {"flat": 400.0, "coordinated": 10.0, "general": 100.0}
"""Ridge per kind of run: 62 features are held down to small weights that share the work (a tenth
costs six points), 19 features with a reason each are left freer; the general weights are held close
to where they start."""
COORDINATOR = -2.0
"""What is known before any data: a coordinator's bookkeeping is rarely the decisive step."""
MEANT = 0.4
"""Where the general weights start, per deviation of a signal, on the side of its sign."""
NARROW = {"flat": 0.1, "coordinated": 0.1, "general": 0.25}
"""Least deviation a column is divided by."""
FEWEST = 5
"""Labelled runs without which nothing is learned."""
INNER = 10
"""Folds for the temperature; fewer would judge by weaker rankers and give timid probabilities."""
SYSTEMS = 3
"""Systems from which the temperature is that of systems left out, rather than of folds."""
ANSWERS_FROM = 0.3
"""Probability from which a step of a system that the weights have not seen is named."""
_NAMES: dict[Kind, tuple[str, ...]] = {"flat": FLAT, "coordinated": COORDINATED}


@dataclass(frozen=True)
class Example:
    """A labelled run as rows."""

    general: Features
    chosen: int
    """The labelled row among them."""
    own: Features | None
    """What runs of its kind alone are seen by; none for a general one."""
    own_chosen: int
    group: str
    system: str


def system_of(trace: Trace) -> str:
    """The system a run comes from: the folder of its log.

    >>> from lacewing_blame.events import conversation
    >>> system_of(conversation("How many?", ("Ann", "4"), id="shop/17"))
    'shop'
    """
    return trace.id.rpartition("/")[0]


def train_ranker(
    traces: Sequence[Trace],
    provenance: Mapping[str, object] | None = None,
    base: Ranker | None = None,
) -> Ranker:
    """Learn weights and temperatures.

    Runs without a label, and those whose labelled step cannot be suspected, are left out.

    Args:
        traces: Labelled runs.
        provenance: What to write beside the weights about where they come from.
        base: Weights to start from, to adapt them to these runs; they then name a step always.

    Raises:
        ConfigError: numpy is missing.
        DataError: fewer than five runs can be used.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> train_ranker(runs).provenance["runs"]
    6
    """
    return learn(examples(traces), len(traces), provenance, base)


def learn(
    known: Sequence[Example],
    given: int,
    provenance: Mapping[str, object] | None = None,
    base: Ranker | None = None,
) -> Ranker:
    """The same from runs whose features are known, of so many given.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> learn(examples(runs), len(runs)).flat.runs
    6
    """
    if len(known) < FEWEST:
        raise DataError(
            f"{len(known)} of {given} runs can be learned from, at least {FEWEST} are "
            "needed; label more runs (mistake_agent and mistake_step)"
        )
    kinds: dict[Kind, list[Example]] = {"flat": [], "coordinated": []}
    for one in known:
        if one.own is not None:
            kinds[one.own.kind].append(one)
    own = {kind: _own(kind, runs) for kind, runs in kinds.items() if len(runs) >= FEWEST}
    if base is not None:
        own = {kind: own.get(kind, getattr(base, kind)) for kind in kinds}
    return Ranker(
        general=_general(known, base),
        flat=own.get("flat"),
        coordinated=own.get("coordinated"),
        provenance={"runs": len(known), **(provenance or {})},
    )


def examples(traces: Sequence[Trace]) -> list[Example]:
    """The runs that can be learned from, as rows.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> runs = [conversation("Count.", *said, label=("Ann", 0), id=str(n)) for n in range(6)]
    >>> len(examples(runs))
    6
    """
    found = (example(trace) for trace in traces if trace.label is not None)
    return [one for one in found if one is not None]


def example(trace: Trace) -> Example | None:
    """A run as an example; none where it has no label among its suspects.

    >>> from lacewing_blame.events import conversation
    >>> said = ("Ann", "I assume 4."), ("Bob", "5.")
    >>> example(conversation("Count.", *said, label=("Ann", 0))).chosen
    0
    """
    kind = kind_of(trace)
    own = features(trace) if kind != "general" else None
    seen = general(trace)
    steps = [trace.events[at].index for at in seen.positions]
    if trace.label is None or trace.label.step not in steps:
        return None
    own_steps = [trace.events[at].index for at in own.positions] if own is not None else []
    if trace.label.step not in own_steps:
        own = None
    return Example(
        seen,
        steps.index(trace.label.step),
        own,
        own_steps.index(trace.label.step) if own is not None else -1,
        trace.group or trace.id,
        system_of(trace),
    )


def _own(kind: Kind, runs: Sequence[Example]) -> Weights:
    """Weights for one of Who&When's kinds, from runs of that kind."""
    names = _NAMES[kind]
    seen = [one.own for one in runs if one.own is not None]
    chosen = [one.own_chosen for one in runs]
    signs = [MEANINGS[name].sign for name in names]
    prior = {names.index("coordinator"): COORDINATOR} if "coordinator" in names else {}
    rows = [one.columns(names) for one in seen]

    def fitted(places: Sequence[int]) -> dict[str, float]:
        return _fit(
            kind, names, [rows[at] for at in places], [chosen[at] for at in places], signs, prior
        )

    scores, right = [], []
    for inside, held in folds([one.group for one in runs], INNER, seed=0):
        learned = fitted(inside)
        scores += [seen[at].scores(learned) for at in held]
        right += [chosen[at] for at in held]
    return Weights(fitted(range(len(runs))), temperature(scores, right), len(runs))


def _general(runs: Sequence[Example], base: Ranker | None) -> Weights:
    """The general weights, their temperature that of systems, or else of questions, left out."""
    names = GENERAL if base is None else GENERAL + PLACE
    counts = Counter(one.system for one in runs)
    seen = [one.general for one in runs]
    rows = [one.columns(names) for one in seen]
    signs = [SIGNALS[name].sign for name in names]
    meant = {at: MEANT * sign for at, sign in enumerate(signs) if sign}
    known = base.general.weights if base is not None else {}
    start = {names.index(name): weight for name, weight in known.items()}

    def fitted(places: Sequence[int]) -> dict[str, float]:
        inside = Counter(runs[at].system for at in places)
        return _fit(
            "general",
            names,
            [rows[at] for at in places],
            [runs[at].chosen for at in places],
            signs,
            {} if base is not None else meant,
            [1 / inside[runs[at].system] for at in places],
            start,
        )

    many = len(counts) >= SYSTEMS
    groups = [one.system if many else one.group for one in runs]
    scores, right, shares = [], [], []
    for inside, held in folds(groups, len(counts) if many else INNER, seed=0):
        learned = fitted(inside)
        scores += [seen[at].scores(learned) for at in held]
        right += [runs[at].chosen for at in held]
        shares += [1 / counts[runs[at].system] for at in held]
    warmth = temperature(scores, right, shares)
    least = 0.0 if base is not None else ANSWERS_FROM
    return Weights(fitted(range(len(runs))), warmth, len(runs), least)


def _fit(
    kind: Kind,
    names: Sequence[str],
    runs: Sequence[list[list[float]]],
    chosen: Sequence[int],
    signs: Sequence[int],
    prior: Mapping[int, float],
    shares: Sequence[float] | None = None,
    start: Mapping[int, float] | None = None,
) -> dict[str, float]:
    try:
        from lacewing_blame.ranker import logit
    except ModuleNotFoundError as error:
        raise ConfigError(
            "learning weights needs numpy: pip install 'lacewing-blame[train]'"
        ) from error
    found = logit.fit(runs, chosen, signs, RIDGE[kind], prior, shares, start, NARROW[kind])
    return dict(zip(names, found, strict=True))

"""The monitor: reads text with a model and says when a mechanism is no longer what it was.

    one recorded pass over the text for all circuits, and each circuit alone at its own places
    every signal's scores of a look go to its detectors, whose average raises one alarm
    every so many tokens, at each alarm, and where a weight has changed in memory, the fixed prompts
    of the probe are asked again

Nothing here reads a clock: what counts are tokens.
"""

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.errors import ConfigError
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model, weights_id
from lacewing.watch.alarm import SHOWN, Alarm, leading
from lacewing.watch.compare import check_versions
from lacewing.watch.detectors import LOOK, RUN_LENGTH, Detectors
from lacewing.watch.fit import fit, text_signal
from lacewing.watch.measure import Also, Measured, Watching
from lacewing.watch.probe import MOVED, Probed, any_changed, ask, compared, probe_prompts
from lacewing.watch.reference import Reference, names, weights
from lacewing.watch.scores import Distances
from lacewing.watch.stream import Cutter, Windows
from lacewing.watch.wiring import changes, wiring

PROBE_EVERY = 100_000
"""Tokens between two probes."""
WEIGHED_EVERY = 8
"""Looks between two glances at the weights: a fiftieth of the time the looks take."""
REMEMBERED = 64
"""Looks whose most unusual places are kept, to show them in an alarm."""
BEFORE = 24
"""Tokens shown of a place."""


@dataclass
class _Counts:
    """What was seen of one circuit so far."""

    places: int = 0
    measured: int = 0
    agreed: float = 0.0
    product: float = 0.0
    square: float = 0.0

    def add(self, seen: Measured) -> None:
        whole, alone = seen.places.difference, seen.alone
        self.places, self.measured = self.places + seen.found, self.measured + len(whole)
        self.agreed += float(((alone > 0) == (whole > 0)).sum())
        self.product += float((alone * whole).sum())
        self.square += float(whole.square().sum())


@dataclass
class _Odd:
    """The most unusual places of one look: how much so, and the tokens up to each."""

    at: int
    """Tokens read when the look ended."""
    circuit: list[list[tuple[float, list[int]]]] = field(default_factory=list)
    text: list[int] = field(default_factory=list)


class Monitor:
    r"""A model, its circuits, and what is usual of them.

    Example:
        >>> model, circuit = load("builtin:taught-tiny"), Circuit.load("runs/indent")
        >>> known = fit(model, [circuit], tokens=90_000, quiet=True)
        >>> monitor = Monitor(model, [circuit], known)
        >>> alarms = monitor.step(model.tokenizer.encode("for x in y:\\n    pass\\n" * 200))
        >>> monitor.tokens > 1000
        True
    """

    def __init__(
        self,
        model: Model,
        circuits: Sequence[Circuit],
        reference: Reference | None = None,
        *,
        after: Model | None = None,
        run_length: int | None = None,
        probe_every: int = PROBE_EVERY,
        quiet: bool = False,
    ) -> None:
        """Begin.

        Args:
            model: The circuits' model.
            circuits: What is watched.
            reference: What is usual; by default fitted on the model's own validation text.
            after: Another version of the model, which is what reads the text.
            run_length: Mean tokens to a false alarm, at least; by default the reference's.
            probe_every: Tokens between two probes.
            quiet: Report no progress while a reference is fitted.

        Raises:
            MismatchError: a circuit is of another model, or `after` no version of it.
            ConfigError: no circuit, or a model that is not one of lacewing's own.
            DataError: no reference can be fitted.
        """
        if not circuits:
            raise ConfigError("no circuit: name one with --circuit")
        for circuit in circuits:
            circuit.check(model)
        if after is not None:
            check_versions(model, after)
        promised = run_length or RUN_LENGTH
        self.reference = reference or fit(model, circuits, run_length=promised, quiet=quiet)
        self.circuits, self.model = list(circuits), after or model
        config = self.model.network.config
        self.signals = names(circuits, config.d_head)
        self.detectors = Detectors(
            self.reference.levels,
            weights(self.signals),
            run_length or self.reference.facts.run_length,
        )
        self.probe_every, self.tokens, self.looks = probe_every, 0, 0
        self.alarms = list[Alarm]()
        self.counts = [_Counts() for _ in circuits]
        self._cutter = Cutter(config.context)
        self._odd: deque[_Odd] = deque(maxlen=REMEMBERED)
        self._told: set[tuple[str, ...]] = set()
        self._prompts = [probe_prompts(model, circuit) for circuit in circuits]
        self.probed: list[Probed] = []
        self.measured: list[Measured] = []
        self.seen = np.full(len(self.signals), np.nan)
        """Every signal of the last look; `shares` and `level` are what it left of evidence."""
        self.shares, self.level = np.full(len(self.signals), -np.inf), 0.0
        self._next, self._last = 0, 0
        self._weights_then: dict[str, Tensor] = {}
        """Those at the last probe: to compare takes half of the time that a hash does."""

    def step(self, tokens: Sequence[int], *, ends: bool = False) -> list[Alarm]:
        """Read some tokens.

        Args:
            tokens: Ids, as many as there are; they are looked at as soon as a look is full.
            ends: Whether a document ends with them: the next tokens begin another.

        Returns:
            Alarms that were raised, mostly none.
        """
        return [alarm for found in self.steps(tokens, ends=ends) for alarm in found]

    def steps(self, tokens: Sequence[int], *, ends: bool = False) -> Iterator[list[Alarm]]:
        """The same look by look: the alarms of each."""
        with sparse_products(self.model.network):
            for look in self._cutter.add(list(tokens), ends):
                yield self.look(look)

    def finish(self) -> list[Alarm]:
        """Look at what is left, though it may be less than a whole look, and probe once more."""
        found = [alarm for look in self._cutter.rest() for alarm in self.look(look)]
        return [*found, *self.probe()]

    def look(
        self, look: Windows, also: Also | None = None, sites: Sequence[str] = ()
    ) -> list[Alarm]:
        """Take one look.

        Args:
            look: Windows of text.
            also: What else wants to see the pass.
            sites: What it wants to have recorded.
        """
        found = []
        if self.tokens >= self._next or self._reweighed():
            found += self.probe()
        measured = self.watching.look(look.tokens, look.lengths, also, sites)
        self.measured = measured
        self.tokens += look.count
        self.looks += 1
        rows, odd = [], _Odd(self.tokens)
        for usual, seen, counts in zip(self.reference.usual, measured, self.counts, strict=True):
            row, scores = usual.look(seen)
            rows.append(row)
            counts.add(seen)
            odd.circuit.append(_oddest(scores, seen, look))
        rows.append(text_signal(look, self.reference.surprise, self.reference.windows))
        odd.text = look.each[0][:BEFORE]
        self._odd.append(odd)
        self.seen = np.concatenate(rows)
        self.level = self.detectors.look(self.seen, look.count)
        self.shares = self.detectors.shares
        if self.level >= 1:
            found += [*self.probe(), self._raise(self.level)]
        return found

    @property
    def undecided(self) -> list[str]:
        """Of every circuit whose task was decided nowhere in the text, why."""
        told = []
        for one, counts in zip(self.watching.prepared, self.counts, strict=True):
            if not counts.places:
                rule = one.rule.told(self.model.tokenizer)
                told.append(
                    f"{one.circuit.task}: nowhere decided in {self.tokens:,} tokens ({rule}); "
                    "nothing is said of it"
                )
        return told

    def summary(self) -> dict[str, Any]:
        """Where things stand, as plain values."""
        rows = []
        for number, (circuit, counts) in enumerate(zip(self.circuits, self.counts, strict=True)):
            usual = self.reference.facts.circuits[number]
            probed = self.probed[number].as_json() if self.probed else None
            rows.append(
                {
                    "task": circuit.task,
                    "places": counts.places,
                    "measured": counts.measured,
                    "per_thousand": 1000 * counts.places / max(self.tokens, 1),
                    "agrees": counts.agreed / counts.measured if counts.measured else None,
                    "carries": counts.product / counts.square if counts.square else None,
                    "usual": dataclasses.asdict(usual),
                    "probe": probed,
                }
            )
        return {
            "model": self.model.source,
            "tokens": self.tokens,
            "looks": self.looks,
            "run_length": int(self.detectors.threshold * LOOK),
            "changed": any_changed(self.probed),
            "circuits": rows,
            "alarms": [alarm.as_json() for alarm in self.alarms],
            "undecided": self.undecided,
        }

    @property
    def watching(self) -> Watching:
        """What runs the model; made anew at each probe, since weights may change in memory."""
        if not self.probed:
            self._ask()
        return self._prepared

    def refresh(self) -> None:
        """Compile the circuits anew, where weights have changed since the last probe."""
        there = [
            dataclasses.replace(c, model_id=self.model.id, model_source=self.model.source)
            for c in self.circuits
        ]
        self._prepared = Watching(self.model, there)

    def _reweighed(self) -> bool:
        """Whether a weight has changed in memory since the last probe; every few looks it looks."""
        if self.looks % WEIGHED_EVERY:
            return False
        now = self.model.network.state_dict()
        changed = not all(torch.equal(now[name], then) for name, then in self._weights_then.items())
        self._last = self._last if changed else self.tokens
        return changed

    def _ask(self) -> None:
        """Ask the probe."""
        self.refresh()
        now = self.model.network.state_dict()
        self._weights_then = {name: value.clone() for name, value in now.items()}
        # An id is a hash of the weights and one of all else that answers depend on.
        same = self.model.id == self.reference.facts.model_id and self.model.id.startswith(
            f"{weights_id(self.model.network)}-"
        )
        self.probed = [
            compared(one.circuit.task, before, ask(self.model, one, prompts), same)
            for one, before, prompts in zip(
                self._prepared.prepared, self.reference.probes, self._prompts, strict=True
            )
        ]
        self._next, self._last = self.tokens + self.probe_every, self.tokens

    def probe(self) -> list[Alarm]:
        """Ask the fixed prompts: an alarm where answers are others, and for each way that moved.

        Every such alarm is raised once.
        """
        since = self._last
        self._ask()
        if not any_changed(self.probed):
            self._told.clear()
            return []
        moved = tuple(f"{one.task}.{way}" for one in self.probed for way in one.moved)
        if moved in self._told:
            return []
        self._told |= {(), moved}
        number = max(range(len(self.probed)), key=lambda n: self.probed[n].far)
        alarm = Alarm(
            cause="model",
            at=self.tokens,
            since=since,
            seen_by="probe",
            evidence=0.0,
            circuit=self.circuits[number].task,
            signals=(),
            parts=tuple(self._weights(number)[: 2 * SHOWN]),
            texts=(),
            probe=self._said(number),
        )
        self.alarms.append(alarm)
        return [alarm]

    def _raise(self, level: float) -> Alarm:
        """An alarm by the signals of the text, after the probe; the detectors begin anew."""
        number, signals, items = leading(self.signals, self.detectors.shares)
        since = int(self.detectors.since[int(np.argmax(self.detectors.shares))])
        changed = any_changed(self.probed)
        weights_now = self._weights(number) if changed and number >= 0 else []
        alarm = Alarm(
            cause="model" if changed else "text",
            at=self.tokens,
            since=since,
            seen_by="text",
            evidence=level,
            circuit=self.circuits[number].task if number >= 0 else None,
            signals=tuple(signals),
            parts=tuple([*_mixed(weights_now, items)][: 2 * SHOWN]),
            texts=self._texts(number, since),
            probe=self._said(number),
        )
        self.detectors.restart()
        self.alarms.append(alarm)
        return alarm

    def _weights(self, number: int) -> list[str]:
        """A circuit's weights that have changed, the largest change first; then the others'."""
        found = dict[str, None]()
        for n in sorted(range(len(self.circuits)), key=lambda n: n != number):
            circuit, before = self.circuits[n], self.reference.wirings[n]
            answers = [repr(self.model.tokenizer.token(token)) for token in circuit.answers]
            now = wiring(self.model.ours, circuit)
            known = changes(before, now, circuit, self.reference.sizes, answers)
            found |= dict.fromkeys(name for name, _ in known)
        return list(found)

    def _said(self, number: int) -> str:
        """What the probe says, of one circuit or of all."""
        if not any_changed(self.probed):
            return "the fixed prompts have the answers of the reference"
        one = self.probed[number] if number >= 0 else max(self.probed, key=lambda p: p.largest)
        if one.moved:
            return f"of {one.pairs} fixed pairs, {one.told}"
        return (
            f"the answers to fixed prompts moved by up to {one.largest:.3g} nats, "
            f"no task loss by {MOVED} or more"
        )

    def _texts(self, number: int, since: int) -> tuple[str, ...]:
        """The places that were most unusual of late, of those that are remembered."""
        late = [odd for odd in self._odd if odd.at > since]
        decode = self.model.tokenizer.decode
        if number < 0:
            return tuple(decode(odd.text) for odd in late[-SHOWN:])
        found = [place for odd in late for place in odd.circuit[number]]
        found.sort(key=lambda place: -place[0])
        return tuple(decode(tokens) for _, tokens in found[:SHOWN])


def _mixed(first: list[str], second: list[str]) -> Iterator[str]:
    """Weights and nodes in turns: the two weights that changed most, then the node."""
    yield from first[:2]
    yield from second[:1]
    yield from first[2:3]
    yield from second[1:]


def _oddest(scores: Distances, seen: Measured, look: Windows) -> list[tuple[float, list[int]]]:
    """The most unusual place of a look, with the tokens up to it."""
    if not len(seen.places):
        return []
    odd = scores.agrees + scores.carried + scores.jointly
    best = int(torch.argmax(odd))
    row, at = int(seen.places.row[best]), int(seen.places.position[best])
    tokens = look.tokens[row, max(0, at + 1 - BEFORE) : at + 1].tolist()
    return [(float(odd[best]), tokens)]

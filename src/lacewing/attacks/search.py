"""Search for edits on which a circuit's own arithmetic gives the wrong answer.

What the circuit says of an edit is a change of margin. The prediction for the full model is its
margin on the prompt as it was, moved by that change in the full model's scale (see `Scale`).

The first half of the budget is random edits of random prompts; they are the pool that controls are
drawn from, too. The second half tries the kinds of edit again that the circuit bears worst on
average, prompt by prompt. The attacks are taken from the worst of these: not the texts on which
the circuit errs most, because a circuit's extremes are its own noise and not the model's. The full
model is asked about no edited prompt here.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from lacewing.attacks.edits import Edit, draw, kinds_for, parts_of, shorter
from lacewing.attacks.material import Material
from lacewing.attacks.state import read
from lacewing.data.tokenizer import Tokenizer
from lacewing.programs.reference import Reference
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.fit import problems
from lacewing.tasks.pair import Pair
from lacewing.tasks.task import seeded

CHUNK = 256
TOP = 100
"""Prompts and kinds that are tried again."""
EACH = 5
"""Controls of every kind per attack, as far as there are so many."""
PRIOR = 2.0
"""Weight of a kind's mean in that of one prompt, in edits."""
LINES = 24
"""Lines that a prompt may lose at its top to fit."""


@dataclass(frozen=True)
class Candidate:
    """One member of an edited pair, with what the circuit says of it."""

    edit: Edit
    member: int
    """0 for the clean prompt, 1 for the corrupted one."""
    margin: float
    """Right answer's logit minus the wrong one's in the circuit, nats; below 0 it errs."""
    predicted: float
    """What the full model's margin should be by that, nats."""
    size: int
    """Tokens of what was put in."""

    @property
    def place(self) -> tuple[int, int]:
        """The prompt it was made of."""
        return self.edit.base, self.member


@dataclass(frozen=True)
class Scale:
    """Margins on the prompts as they are, and how far the full model's follow the circuit's."""

    circuit: np.ndarray
    """The circuit's, [pair, member], nats."""
    full: np.ndarray
    """The full model's, [pair, member], nats."""

    @functools.cached_property
    def slope(self) -> float:
        """The full model's spread over the circuit's."""
        spread = float(self.circuit.std())
        return float(self.full.std()) / spread if spread else 0.0

    def predicted(self, place: tuple[int, int], margin: float) -> float:
        """The full model's margin where the circuit's on an edited prompt is `margin`."""
        return float(self.full[place] + self.slope * (margin - self.circuit[place]))


class Search:
    """Edits of some pairs, and what a circuit says of them."""

    def __init__(
        self,
        pairs: tuple[Pair, ...],
        reference: Reference,
        tokenizer: Tokenizer,
        longest: int,
        material: Material,
        full: np.ndarray,
        seed: int,
    ) -> None:
        """Take the pairs apart.

        Args:
            pairs: Test pairs of the task.
            reference: The circuit.
            tokenizer: Of its model.
            longest: Most tokens of a prompt.
            material: What edits are made of.
            full: The full model's margins on the pairs as they are, [pair, member], nats.
            seed: Of all dice.
        """
        self.reference, self.tokenizer, self.longest = reference, tokenizer, longest
        self.material, self.dice = material, seeded(seed, "edits")
        self.parts = [parts_of(i, pair) for i, pair in enumerate(pairs)]
        self.kinds = {parts.base: kinds_for(parts) for parts in self.parts}
        self.usable = [parts for parts in self.parts if self.kinds[parts.base]]
        self.scale = Scale(self._margins(encode(pairs, tokenizer, longest)), full)

    def random(self, count: int, tell: Callable[[int], None] = lambda _: None) -> list[Candidate]:
        """Random edits of random prompts, every kind as often as the prompts allow it."""
        return self._made(count, self._random_edit, tell)

    def guided(
        self, pool: list[Candidate], count: int, tell: Callable[[int], None] = lambda _: None
    ) -> list[Candidate]:
        """Fresh edits of the prompts and kinds that the circuit bears worst."""
        worst = sorted(average(pool).items(), key=lambda item: (item[1], item[0]))[:TOP]
        if not worst:
            return []

        def again() -> Edit | None:
            (base, _, kind), _ = self.dice.choice(worst)
            return draw(self.parts[base], kind, self.material, self.dice)

        return self._made(count, again, tell)

    def alike(self, attacks: Sequence[Candidate], tries: int = 60) -> list[Candidate]:
        """For every attack some random edits of the same prompt, kind and about the same size."""
        members = {
            edit: attack.member
            for attack in attacks
            for _ in range(EACH)
            if (edit := self._like(attack, tries))
        }
        return [c for c in self.judged(members) if c.member == members[c.edit]]

    def _like(self, candidate: Candidate, tries: int) -> Edit | None:
        parts, made = self.parts[candidate.edit.base], candidate.edit
        for _ in range(tries):
            edit = draw(parts, made.kind, self.material, self.dice, len(made.pieces))
            if edit is None or edit.pieces == made.pieces:
                continue
            if abs(self._size(edit) - candidate.size) <= near_by(candidate):
                fitting = self._fitting([edit])
                if fitting:
                    return fitting[0]
        return None

    def judged(self, edits: Iterable[Edit]) -> list[Candidate]:
        """Both members of every edit that fits, with the circuit's margins."""
        fitting = self._fitting(list(edits))
        if not fitting:
            return []
        margins = self._margins(encode([e.pair for e in fitting], self.tokenizer, self.longest))
        return [
            self._candidate(edit, member, float(pair[member]))
            for edit, pair in zip(fitting, margins, strict=True)
            for member in (0, 1)
        ]

    def _candidate(self, edit: Edit, member: int, margin: float) -> Candidate:
        predicted = self.scale.predicted((edit.base, member), margin)
        return Candidate(edit, member, margin, predicted, self._size(edit))

    def _margins(self, prompts: Prompts) -> np.ndarray:
        return answer_margins(self.reference.logits(prompts), prompts)

    def _random_edit(self) -> Edit | None:
        parts = self.dice.choice(self.usable)
        kind = self.dice.choice(self.kinds[parts.base])
        return draw(parts, kind, self.material, self.dice)

    def _made(
        self, count: int, make: Callable[[], Edit | None], tell: Callable[[int], None]
    ) -> list[Candidate]:
        found: list[Candidate] = []
        tries = 0
        while len(found) < 2 * count and tries < 8 * count and self.usable:
            edits = [e for e in (make() for _ in range(CHUNK)) if e is not None]
            tries += CHUNK
            found += self.judged(edits)
            tell(min(len(found) // 2, count))
        return found[: 2 * count]

    def _fitting(self, edits: list[Edit]) -> list[Edit]:
        """The edits that fit the context, shortened at their top where they must be."""
        fitting: list[Edit] = []
        for _ in range(LINES):
            texts = [text for e in edits for text in (e.pair.clean, e.pair.corrupted)]
            lengths = [len(ids) for ids in self.tokenizer.encode_batch(texts)]
            longest = [max(lengths[2 * i : 2 * i + 2]) for i in range(len(edits))]
            fitting += [e for e, n in zip(edits, longest, strict=True) if n <= self.longest]
            long = [e for e, n in zip(edits, longest, strict=True) if n > self.longest]
            edits = [e for e in (shorter(self.parts[e.base], e) for e in long) if e is not None]
            if not edits:
                break
        sound = [e for e in fitting if self._sound(e)]
        found = problems([e.pair for e in sound], self.tokenizer, self.longest)
        return [e for e, problem in zip(sound, found, strict=True) if problem is None]

    def _sound(self, edit: Edit) -> bool:
        """Whether the lines above the decision still read as whole statements."""
        parts = self.parts[edit.base]
        if not parts.places or edit.kind not in ("comment", "docstring", "statement"):
            return True
        above = edit.pair.clean.removesuffix(parts.clean)
        return read(above.splitlines(keepends=True)) is not None

    def _size(self, edit: Edit) -> int:
        return len(self.tokenizer.encode(" ".join(edit.pieces)))


def near_by(candidate: Candidate) -> int:
    """How far sizes may lie apart and still count as the same, in tokens."""
    return max(2, candidate.size // 5)


def answer_margins(logits: object, prompts: Prompts) -> np.ndarray:
    """Right answer's logit minus the wrong one's, [pair, member]."""
    values = np.asarray(logits)
    row = np.arange(len(values))
    right = values[row, prompts.answer.numpy()] - values[row, prompts.other.numpy()]
    return right.astype(np.float64).reshape(-1, 2)


Group = tuple[int, int, str]
"""Pair, member and kind of edit."""


def group(candidate: Candidate) -> Group:
    """What a candidate is one of."""
    return candidate.edit.base, candidate.member, candidate.edit.kind


def average(pool: Sequence[Candidate]) -> dict[Group, float]:
    """The mean prediction per prompt and kind, few edits drawn towards the kind's mean."""
    kinds: dict[str, list[float]] = {}
    groups: dict[Group, list[float]] = {}
    for candidate in pool:
        kinds.setdefault(candidate.edit.kind, []).append(candidate.predicted)
        groups.setdefault(group(candidate), []).append(candidate.predicted)
    means = {kind: sum(margins) / len(margins) for kind, margins in kinds.items()}
    return {
        key: (sum(margins) + PRIOR * means[key[2]]) / (len(margins) + PRIOR)
        for key, margins in groups.items()
    }


def turns(candidate: Candidate, scale: Scale) -> bool:
    """Whether the circuit turns from right to wrong, and says so of the full model too."""
    place = candidate.place
    by_itself = candidate.margin < 0 < scale.circuit[place]
    return bool(by_itself and candidate.predicted < 0 < scale.full[place])


def chosen(pool: Sequence[Candidate], scale: Scale, count: int) -> list[Candidate]:
    """The attacks: edits that turn the circuit, and by it the model, from right to wrong.

    One a pair, from the prompts and kinds with the worst average; of each the edit with the middle
    prediction among those that turn.
    """
    flips: dict[Group, list[Candidate]] = {}
    for candidate in pool:
        if turns(candidate, scale):
            flips.setdefault(group(candidate), []).append(candidate)
    means = average(pool)
    found: dict[int, Candidate] = {}
    for key in sorted(flips, key=lambda key: (means[key], key)):
        if key[0] not in found and len(found) < count:
            ranked = sorted(flips[key], key=lambda c: (c.predicted, c.edit.pieces))
            found[key[0]] = ranked[len(ranked) // 2]
    return list(found.values())


def matched(
    attacks: Sequence[Candidate], pool: Sequence[Candidate], dice: Random, same_kind: bool
) -> list[Candidate]:
    """For every attack some random edits of other prompts: same member, about the same size."""
    left = list(pool)
    dice.shuffle(left)
    found = []
    for attack in [attack for _ in range(EACH) for attack in attacks]:
        for at, other in enumerate(left):
            like = other.edit.kind == attack.edit.kind or not same_kind
            elsewhere = other.member == attack.member and other.edit.base != attack.edit.base
            if like and elsewhere and abs(other.size - attack.size) <= near_by(attack):
                found.append(left.pop(at))
                break
    return found

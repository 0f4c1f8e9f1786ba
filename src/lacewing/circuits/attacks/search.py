"""Search for edits on which a circuit's own arithmetic gives the wrong answer.

The first half of the budget is random edits of random prompts; they are the pool that controls are
drawn from, too. The second half repeats what worked: the worst prompts get fresh edits, and the
worst edits are put into other prompts. The full model is asked nothing here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from lacewing.circuits.attacks.edits import Edit, draw, kinds_for, parts_of, put, shorter
from lacewing.circuits.attacks.material import Material
from lacewing.circuits.attacks.state import read
from lacewing.circuits.programs.reference import Reference
from lacewing.data.tokenizer import Tokenizer
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.fit import problems
from lacewing.tasks.pair import Pair
from lacewing.tasks.task import seeded

CHUNK = 256
TOP = 100
"""Candidates whose prompts and edits are tried again."""
REPEATS = 3
"""How often the same pieces may be among the attacks."""
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
    size: int
    """Tokens of what was put in."""

    @property
    def place(self) -> tuple[int, int]:
        """The prompt it was made of."""
        return self.edit.base, self.member


class Search:
    """Edits of some pairs, and what a circuit says of them."""

    def __init__(
        self,
        pairs: tuple[Pair, ...],
        reference: Reference,
        tokenizer: Tokenizer,
        longest: int,
        material: Material,
        seed: int,
    ) -> None:
        """Take the pairs apart.

        Args:
            pairs: Test pairs of the task.
            reference: The circuit.
            tokenizer: Of its model.
            longest: Most tokens of a prompt.
            material: What edits are made of.
            seed: Of all dice.
        """
        self.reference, self.tokenizer, self.longest = reference, tokenizer, longest
        self.material, self.dice = material, seeded(seed, "edits")
        self.parts = [parts_of(i, pair) for i, pair in enumerate(pairs)]
        self.kinds = {parts.base: kinds_for(parts) for parts in self.parts}
        self.usable = [parts for parts in self.parts if self.kinds[parts.base]]

    def random(self, count: int, tell: Callable[[int], None] = lambda _: None) -> list[Candidate]:
        """Random edits of random prompts, every kind as often as the prompts allow it."""
        return self._made(count, self._random_edit, tell)

    def guided(
        self, pool: list[Candidate], count: int, tell: Callable[[int], None] = lambda _: None
    ) -> list[Candidate]:
        """More of what worked."""
        top = sorted(pool, key=lambda c: c.margin)[:TOP]
        if not top:
            return []

        def again() -> Edit | None:
            chosen = self.dice.choice(top)
            parts = self.parts[chosen.edit.base]
            if self.dice.random() < 0.5:
                kind = self.dice.choice(self.kinds[parts.base])
                return draw(parts, kind, self.material, self.dice)
            other = self.dice.choice(top).edit if self.dice.random() < 0.5 else None
            parts = self.parts[other.base] if other else self.dice.choice(self.usable)
            if chosen.edit.kind not in self.kinds[parts.base]:
                return None
            return put(parts, chosen.edit.kind, chosen.edit.pieces, self.dice)

        return self._made(count, again, tell)

    def alike(self, attacks: Sequence[Candidate], tries: int = 60) -> list[Candidate]:
        """For every attack a random edit of the same prompt, kind and about the same size."""
        members = {edit: attack.member for attack in attacks if (edit := self._like(attack, tries))}
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
            Candidate(edit, member, float(pair[member]), self._size(edit))
            for edit, pair in zip(fitting, margins, strict=True)
            for member in (0, 1)
        ]

    def before(self) -> np.ndarray:
        """The circuit's margins on the prompts as they are, [pair, member]."""
        pairs = [parts.pair for parts in self.parts]
        return self._margins(encode(pairs, self.tokenizer, self.longest))

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


def chosen(pool: Iterable[Candidate], before: np.ndarray, count: int) -> list[Candidate]:
    """The attacks: prompts the circuit turns from right to wrong, the surest first, one a pair."""
    used: Counter[tuple[str, ...]] = Counter()
    bases: set[int] = set()
    found: list[Candidate] = []
    for candidate in sorted(pool, key=lambda c: (c.margin, c.place, c.edit.pieces)):
        if candidate.margin >= 0 or len(found) == count:
            break
        base, pieces = candidate.edit.base, candidate.edit.pieces
        if before[candidate.place] > 0 and base not in bases and used[pieces] < REPEATS:
            used[pieces] += 1
            bases.add(base)
            found.append(candidate)
    return found


def matched(
    attacks: Iterable[Candidate], pool: Sequence[Candidate], dice: Random, same_kind: bool
) -> list[Candidate]:
    """For every attack a random edit of another prompt: same member and about the same size."""
    left = list(pool)
    dice.shuffle(left)
    found = []
    for attack in attacks:
        for at, other in enumerate(left):
            like = other.edit.kind == attack.edit.kind or not same_kind
            elsewhere = other.member == attack.member and other.edit.base != attack.edit.base
            if like and elsewhere and abs(other.size - attack.size) <= near_by(attack):
                found.append(left.pop(at))
                break
    return found

"""What a task is: a generator of drafts over a file, its answer tokens, a name and a docstring.

A task of your own is a function from a file and a source of randomness to drafts, or to plain
tuples (clean, corrupted, clean answer, corrupted answer):

    @lacewing.tasks.define("close_call", answers=[(")", "]")])
    def close_call(file: SourceFile, random: Random) -> Iterator[Draft]:
        \"\"\"Which bracket closes the call.\"\"\"
        ...
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from random import Random
from typing import Literal

from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile
from lacewing.tasks.text import Part, TaskText

Origin = Literal["natural", "mixed", "composed", "template", "user"]
Generator = Callable[[SourceFile, Random], Iterable[Draft | tuple[str, str, str, str]]]
PER_FILE = 48  # pairs from one file at most, so that no file dominates


@dataclass(frozen=True)
class Candidate:
    """A draft with the file whose lines stand above it."""

    draft: Draft
    file: SourceFile | None
    source: str


@dataclass(frozen=True)
class Task:
    """A behaviour to find the circuit of.

    Source: paper Table 1 and A.5.
    """

    name: str
    """Short name, the paper's for its twenty."""
    generate: Generator
    """Drafts of one file, in any order."""
    answers: tuple[tuple[str, str], ...] = ()
    """Acceptable answers of (clean, corrupted), best first; empty: each draft brings its own."""
    origin: Origin = "natural"
    """Real code cut at the decision point, lines composed in real code, both, sentences of
    templates, or a user's own."""
    description: str = ""
    """One line: what is predicted."""
    partial: bool = False
    """Whether the first token of an answer will do where the answer is more than one token."""
    aligned: bool = False
    """Whether the two prompts must be equally long and differ in exactly one token."""

    @classmethod
    def from_function(
        cls,
        generate: Generator,
        *,
        name: str | None = None,
        answers: Iterable[tuple[str, str]] = (),
        origin: Origin = "user",
        partial: bool = False,
        aligned: bool = False,
    ) -> "Task":
        """A task from a generator; name and description come from the function where not given."""
        doc = inspect.getdoc(generate) or ""
        return cls(
            name=name or str(getattr(generate, "__name__", "task")),
            generate=generate,
            answers=tuple(answers),
            origin=origin,
            description=doc.partition("\n")[0],
            partial=partial,
            aligned=aligned,
        )

    def __repr__(self) -> str:
        """One line: its name, where its prompts come from and its first answers."""
        answers = " or ".join(map(repr, self.answers[0])) if self.answers else "each draft its own"
        return f"{type(self).__name__}({self.name!r}, {self.origin}, answers {answers})"

    @property
    def id(self) -> str:
        """16 hexadecimal digits that stand for the task in saved circuits."""
        return hashlib.sha256(f"lacewing task 1: {self.name}".encode()).hexdigest()[:16]

    def check(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        """Refuse what the task cannot do with a tokenizer; unusable drafts are merely left out."""

    def settle(self, tokenizer: Tokenizer) -> tuple[str, str] | None:
        """The first acceptable answers that are two single tokens; None if drafts bring theirs.

        Raises:
            DataError: the tokenizer has none of them.
        """
        if not self.answers:
            return None
        for clean, corrupted in self.answers:
            found = self._single(clean, tokenizer), self._single(corrupted, tokenizer)
            if found[0] and found[1] and found[0] != found[1]:
                return found[0], found[1]
        tried = "; ".join(f"{clean!r} and {corrupted!r}" for clean, corrupted in self.answers)
        raise DataError(
            f"task {self.name!r}: its answers ({tried}) are not single tokens of this tokenizer "
            f"of {tokenizer.vocab_size} tokens; use another tokenizer or leave the task out"
        )

    def draw(self, corpus: Corpus, split: Part, seed: int) -> Iterator[Candidate]:
        """Candidates of one part of the task text, one file after the other in turn.

        Natural drafts of all files come before composed ones.
        """
        files = list(TaskText.of(corpus).parts[split])
        seeded(seed, self.name, split).shuffle(files)
        natural, composed = [], []
        for file in files:
            random = seeded(seed, self.name, file.path)
            drafts = [self._draft(d) for d in self.generate(file, random)]
            random.shuffle(drafts)
            drafts.sort(key=lambda d: not d.natural)
            chosen = [Candidate(d, file, file.path) for d in drafts]
            natural.append([c for c in chosen if c.draft.natural])
            composed.append([c for c in chosen if not c.draft.natural])
        yield from _in_turn(natural)
        yield from _in_turn(composed)

    def _single(self, answer: str, tokenizer: Tokenizer) -> str | None:
        """An answer that is one token, or the start of it that is; None if there is none."""
        if tokenizer.single(answer) is not None:
            return answer
        ids = tokenizer.encode(answer) if self.partial else []
        start = tokenizer.token(ids[0]) if ids else ""
        return start if start.strip() and tokenizer.single(start) == ids[0] else None

    def _draft(self, made: object) -> Draft:
        """A draft as the generator made it, or from the plain tuple of a user's generator."""
        if isinstance(made, Draft) and (made.answers or self.answers):
            return made
        if isinstance(made, tuple) and len(made) == 4 and all(isinstance(t, str) for t in made):
            return Draft(made[0], made[1], answers=(made[2], made[3]))
        raise DataError(
            f"task {self.name!r}: its function gave {made!r:.80}; give Draft with answers, or "
            "(clean, corrupted, clean answer, corrupted answer)"
        )


def seeded(seed: int, *purpose: str) -> Random:
    """Choices that follow from a seed and what they are for."""
    return Random(" ".join((str(seed), *purpose)))  # noqa: S311  no secret hangs on it


def _in_turn(groups: Sequence[Sequence[Candidate]]) -> Iterator[Candidate]:
    """The first of each group, then the second of each, and so on."""
    for row in zip_longest(*groups):
        yield from (candidate for candidate in row if candidate is not None)

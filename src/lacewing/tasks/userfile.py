"""A task from a file of pairs: JSON lines of clean, corrupted, clean_answer, corrupted_answer."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lacewing.artifacts import read_bytes
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, DataError
from lacewing.tasks.fit import LONG, MERGED, fit
from lacewing.tasks.pair import Draft
from lacewing.tasks.task import Candidate, Task, seeded
from lacewing.tasks.text import Part, divide

LARGEST = 2**28
"""Bytes of the largest file of pairs that is read."""
KEYS = ("clean", "corrupted", "clean_answer", "corrupted_answer")


@dataclass(frozen=True, kw_only=True)
class PairFile(Task):
    """The pairs of a JSONL file, dealt to train, validation and test by the hash of their line."""

    path: Path
    """The file."""
    lines: tuple[tuple[int, str, Draft], ...]
    """Line number, text and pair of every different line."""

    @property
    def id(self) -> str:
        """16 hexadecimal digits of a hash of the lines."""
        text = "\n".join(line for _, line, _ in self.lines)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        """Refuse a file with any pair that cannot be used.

        Raises:
            DataError: naming file and line.
        """
        everything = [c for _, c in self._candidates()]
        for candidate, made in zip(
            everything, fit(everything, None, tokenizer, max_tokens), strict=True
        ):
            for answer in candidate.draft.answers or ():
                if tokenizer.single(answer) is None:
                    ids = tokenizer.encode(answer)
                    parts = ", ".join(repr(tokenizer.token(i)) for i in ids)
                    raise DataError(
                        f"{candidate.source}: answer {answer!r} is {len(ids)} tokens of this "
                        f"tokenizer ({parts}); an answer must be one token"
                    )
            if made == MERGED:
                raise DataError(
                    f"{candidate.source}: an answer merges with the end of its prompt into other "
                    "tokens; end the prompt elsewhere"
                )
            if made == LONG:
                raise DataError(
                    f"{candidate.source}: the prompt is longer than {max_tokens} tokens even when "
                    "cut where it may be; shorten it, or allow more tokens"
                )

    def draw(self, corpus: Corpus | None, split: Part, seed: int) -> Iterator[Candidate]:
        """The pairs of one part in seeded order; the corpus is not looked at."""
        dealt = divide(line for _, line, _ in self.lines)
        chosen = [candidate for line, candidate in self._candidates() if dealt[line] == split]
        if not chosen:
            raise DataError(
                f"{self.path}: none of its {len(self.lines)} pairs falls in the {split} part; "
                "add more lines (ten or more are dealt 50 / 20 / 30 %)"
            )
        seeded(seed, self.name).shuffle(chosen)
        yield from chosen

    def _candidates(self) -> list[tuple[str, Candidate]]:
        return [(t, Candidate(d, None, f"{self.path}:{n}")) for n, t, d in self.lines]


def read_pairs(path: Path) -> PairFile:
    """Read a file of pairs, one JSON object a line; blank and repeated lines are passed over.

    Raises:
        DataError: file unreadable or without pairs, line that is no JSON object, missing
            key, value that is no text, two equal prompts or answers; naming file and line.
    """
    if not path.exists():
        raise DataError(f"cannot read the pairs in {path}: No such file or directory")
    try:
        text = read_bytes(path, LARGEST).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read the pairs in {path}: it is not UTF-8 text") from error
    except ArtifactError as error:
        raise DataError(f"cannot read the pairs in {path}: {error}") from error
    different: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            different.setdefault(line.strip(), number)
    lines = tuple((n, line, _read(line, f"{path}:{n}")) for line, n in different.items())
    if not lines:
        raise DataError(f"{path} holds no pairs; write one JSON object a line with {_listed(KEYS)}")
    return PairFile(
        name=path.stem,
        generate=lambda file, random: (),
        origin="user",
        description=f"{len(lines)} pairs of {path.name}.",
        path=path,
        lines=lines,
    )


def _read(line: str, place: str) -> Draft:
    """The pair on one line."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets
        raise DataError(f"{place}: not JSON of a sensible size ({error!s:.80})") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: a JSON object is wanted, with {_listed(KEYS)}, not {line:.40}")
    if missing := [key for key in KEYS if key not in record]:
        raise DataError(f"{place}: missing {_listed(missing)}")
    if wrong := [key for key in KEYS if not isinstance(record[key], str) or not record[key]]:
        raise DataError(f"{place}: {_listed(wrong)} must be text that is not empty")
    for one, other in (KEYS[:2], KEYS[2:]):
        if record[one] == record[other]:
            raise DataError(f"{place}: {one} and {other} are the same; they must differ")
    return Draft(
        record["clean"],
        record["corrupted"],
        answers=(record["clean_answer"], record["corrupted_answer"]),
    )


def _listed(keys: list[str] | tuple[str, ...]) -> str:
    return ", ".join(keys)

"""The text that tasks are made from: the files no model was trained on, in three disjoint parts.

The files are dealt by the hash of their path: 50 % train, 20 % validation, 30 % test. Places that
repeat between parts are left out of the later one.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lacewing.data.corpus import Corpus, Document
from lacewing.errors import DataError
from lacewing.tasks.source import SourceFile

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
SHARES: dict[Part, float] = {"train": 0.5, "validation": 0.2, "test": 0.3}
LIMIT = 5_000_000  # characters; parsing more would take longer than making the prompts is worth

NOT_PYTHON = "parses as Python"
"""What is said of text for which the built-in tasks have no prompts."""

_texts: dict[str, "TaskText"] = {}


@dataclass(frozen=True)
class TaskText:
    """The parsed files of the task text by part."""

    parts: Mapping[Part, tuple[SourceFile, ...]]

    @classmethod
    def of(cls, corpus: Corpus) -> "TaskText":
        """The task text of a corpus; read once per process and corpus.

        Raises:
            DataError: the corpus has no task files, or none that parses as Python.
        """
        if corpus.spec not in _texts:
            _texts[corpus.spec] = cls.from_documents(corpus.documents("task"), corpus.spec)
        return _texts[corpus.spec]

    @classmethod
    def from_documents(cls, documents: Iterable[Document], spec: str) -> "TaskText":
        """Parse documents and deal them to the three parts; `spec` names them in errors."""
        chosen = _lowest(documents, LIMIT)
        if not chosen:
            raise DataError(
                f"corpus {spec!r} has no task files: about 15 % of its files are set aside for "
                "tasks, so use a corpus of more files"
            )
        files = [f for d in chosen if (f := SourceFile.parse(d.path, d.text)) and f.statements]
        if not files:
            raise DataError(
                f"none of the {len(chosen)} task files of corpus {spec!r} {NOT_PYTHON}; "
                "the built-in tasks need Python source"
            )
        files.sort(key=lambda f: f.path)
        dealt = divide(_key(f.path) for f in files)
        parts = {p: tuple(f for f in files if dealt[_key(f.path)] == p) for p in PARTS}
        _drop_repeats(parts)
        return cls(parts)


def divide(keys: Iterable[str]) -> dict[str, Part]:
    """Deal keys to train, validation and test by their hash, 50 / 20 / 30 %.

    A key's part depends on the key alone, unless that would leave a part of three keys or more
    empty: then the keys are dealt by the rank of their hash, which cannot.
    """
    dealt = {key: _part(_hash(key)) for key in keys}
    if len(dealt) < len(PARTS) or len(set(dealt.values())) == len(PARTS):
        return dealt
    ranked = sorted(dealt, key=_hash)
    last = len(ranked) - 1
    first = min(max(1, round(SHARES["train"] * len(ranked))), last - 1)
    second = min(max(first + 1, round((1 - SHARES["test"]) * len(ranked))), last)
    return {
        key: "train" if i < first else "validation" if i < second else "test"
        for i, key in enumerate(ranked)
    }


def check_part(part: str) -> None:
    """Refuse what is none of the three parts.

    Raises:
        DataError: naming the three.
    """
    if part not in PARTS:
        raise DataError(f"unknown split {part!r} of a task; choose from {', '.join(PARTS)}")


def _drop_repeats(parts: Mapping[Part, Sequence[SourceFile]]) -> None:
    """Take out the places whose lines above stand above a place of an earlier part as well.

    Boilerplate repeats between files, and a prompt of one part must not be one of another.
    """
    seen: set[tuple[str, ...]] = set()
    for files in parts.values():
        found = {file: file.contexts() for file in files}
        for file, contexts in found.items():
            file.keep([context not in seen for context in contexts])
        seen.update(context for contexts in found.values() for context in contexts)


def _part(place: float) -> Part:
    if place < SHARES["train"]:
        return "train"
    return "validation" if place < 1 - SHARES["test"] else "test"


def _key(path: str) -> str:
    """What a file is dealt by: its last two path components, as the corpus does.

    So the copies of one module, in another folder or Python version, stay together.
    """
    return "/".join(path.split("/")[-2:]).lower()


def _hash(key: str, purpose: str = "part") -> float:
    """A fixed point in [0, 1) for a key."""
    digest = hashlib.sha256(f"lacewing task {purpose}: {key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _lowest(documents: Iterable[Document], limit: int) -> list[Document]:
    """As many documents as hold `limit` characters, chosen by hash so that none is favoured."""
    kept: list[Document] = []
    size = 0
    for document in documents:
        kept.append(document)
        size += len(document.text)
        if size > 2 * limit:
            kept = _trim(kept, limit)
            size = sum(len(d.text) for d in kept)
    return _trim(kept, limit)


def _trim(documents: list[Document], limit: int) -> list[Document]:
    """The documents of lowest hash within `limit` characters, at least one if there is one."""
    kept: list[Document] = []
    size = 0
    for document in sorted(documents, key=lambda d: (_hash(_key(d.path), "choice"), d.path)):
        size += len(document.text)
        if kept and size > limit:
            break
        kept.append(document)
    return kept

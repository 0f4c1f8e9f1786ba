"""What a source of documents is, what it finds, and what reading it left out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Split = Literal["train", "validation", "task"]


@dataclass
class CorpusSummary:
    """What was read and what was left out."""

    files: int = 0
    bytes: int = 0
    duplicates: int = 0
    """Files whose content another file had."""
    not_utf8: int = 0
    """Files skipped because they are not UTF-8, or hold NUL bytes."""
    too_large: int = 0
    unreadable: int = 0
    linked: int = 0
    """Links that lead out of the corpus, which are not followed."""
    not_python: int = 0
    """Files skipped by `code:` because they do not parse."""
    per_split: dict[str, int] = field(default_factory=dict)


class Line(NamedTuple):
    """A file of a built corpus, as a line of JSON holds it."""

    path: str
    text: str


@dataclass(frozen=True)
class Found:
    """A file that a source holds, before anything is done to its text."""

    path: str
    content: bytes | str
    split: Split | None = None
    """Where the source itself says so; else the path decides."""
    clean: bool = False
    """Whether comments and docstrings are gone already."""


@runtime_checkable
class Source(Protocol):
    """Somewhere documents come from."""

    def __call__(self, summary: CorpusSummary) -> Iterator[Found]:
        """Yield every file once, in a fixed order."""

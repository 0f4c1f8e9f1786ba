"""Drafts and pairs: two prompts that differ in one decision, before and after the cut to length."""

from dataclasses import dataclass

from lacewing.artifacts import EXACT


@dataclass(frozen=True)
class Draft:
    """What a generator proposes: two prompts over shared lines of a file.

    Both prompts are the lines of the file above `line`, then `clean` or `corrupted`.
    """

    clean: str
    """End of the clean prompt; starts at a line start."""
    corrupted: str
    """End of its partner: a minimal edit that makes the other answer right."""
    line: int = 0
    """Index of the first line of the file that is not part of the prompts; 0: no lines."""
    answers: tuple[str, str] | None = None
    """Right answers of clean and corrupted; None: those that the task settled on."""
    natural: bool = True
    """Whether `clean` or `corrupted` stands in the file. Natural drafts are used up first."""


@dataclass(frozen=True)
class Pair:
    """Two finished prompts and the single token that is right after each.

    Source: datapoints of the paper's A.5.
    """

    __pydantic_config__ = EXACT

    clean: str
    """Prompt of the first class."""
    corrupted: str
    """Prompt of the second class."""
    clean_answer: str
    """Text of the token that is right after `clean`, and wrong after `corrupted`."""
    corrupted_answer: str
    """Text of the token that is right after `corrupted`, and wrong after `clean`."""
    source: str
    """File that the prompts come from; for a user's pairs `file:line`."""

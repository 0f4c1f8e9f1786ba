"""What a predicate may ask of a text besides its tokens: features of a state read left to right.

A language is a plug-in: an object with a name, its features, and two functions. `register` makes
it known; Python source and English prose are there from the start.

    class Morse:
        name, features = "morse", (Feature("gap", "in a gap between letters"),)
        def starts(self, text): ...             # where a window may begin
        def states(self, codes, ends, first): ...   # one column per feature
    register(Morse())

States are causal: the state after a token follows from the characters up to its end, and from none
after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt32

from lacewing.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Feature:
    """One column of a language's state."""

    name: str
    """The word in a predicate: `in_string`, `depth`."""
    phrase: str
    """How a sentence says it: a truth as "inside a string", a number as "open brackets"."""
    values: tuple[str, ...] = ()
    """Names of its values, 0 upwards, where it is a choice: `("none", "'", '"')`."""
    counts: bool = False
    """Whether it is a number, so that `==` and `>=` make sense."""

    @property
    def truth(self) -> bool:
        """Whether it is simply true or false."""
        return not self.values and not self.counts


@runtime_checkable
class Language(Protocol):
    """How to read one kind of text."""

    @property
    def name(self) -> str:
        """The word on the command line."""
        ...

    @property
    def features(self) -> tuple[Feature, ...]:
        """Its columns."""
        ...

    def starts(self, text: str) -> Sequence[int]:
        """Character offsets where a window may begin: where the state is as at the beginning."""
        ...

    def states(
        self,
        codes: UInt32[np.ndarray, " row"],
        ends: Int[np.ndarray, " token"],
        first: Int[np.ndarray, " token"],
    ) -> Int[np.ndarray, "token column"]:
        """The state after every token.

        Args:
            codes: Characters of all windows, one after the other.
            ends: Where each token ends among them.
            first: For every token, whether a window begins with it (1 or 0).
        """
        ...


_KNOWN: dict[str, Language] = {}


def register(language: Language) -> None:
    """Make a language known by its name; the last one of a name counts."""
    _KNOWN[language.name] = language


def get(name: str) -> Language:
    """A language by name.

    Raises:
        DataError: there is none of that name.
    """
    if name not in _KNOWN:
        raise DataError(
            f"no language {name!r}; {did_you_mean(name, _KNOWN)}there are: {', '.join(_KNOWN)}"
        )
    return _KNOWN[name]

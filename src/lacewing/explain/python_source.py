"""Python source as a language of predicates: its features, and where windows begin."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int, UInt32

from lacewing.explain.language import Feature, register
from lacewing.explain.python_loop import CONSTANTS, HASHES, KEYWORDS, LAST, TYPES, read_all
from lacewing.kernels.jit import jitted

_FACTS: tuple[tuple[str, str, tuple[str, ...], bool], ...] = (
    ("quote", "the open quote", ("none", "'", '"'), False),
    ("in_string", "inside a string", (), False),
    ("triple", "inside a triple-quoted string", (), False),
    ("fstring", "inside an f-string", (), False),
    ("comment", "inside a comment", (), False),
    ("escaped", "after a backslash in a string", (), False),
    ("depth", "open brackets", (), True),
    ("bracket", "the innermost open bracket", ("none", "(", "[", "{"), False),
    ("commas", "commas read at this depth", (), True),
    ("in_call", "inside the brackets of a call", (), False),
    ("in_subscript", "inside a subscript", (), False),
    ("indent", "levels of indentation", (), True),
    ("line_start", "before the first word of a line", (), False),
    ("statement", "the statement's first keyword", ("none", *KEYWORDS), False),
    ("keyword", "the last keyword of the statement", ("none", *KEYWORDS), False),
    ("last", "the last sign that is no space", LAST, False),
    ("in_def", "inside the signature of a def", (), False),
    ("in_import", "inside an import", (), False),
    ("decorator", "on a decorator's line", (), False),
    ("block", "after the colon that opens a block", (), False),
    ("value", "on the right of an assignment", (), False),
    ("assigned", "the type that was assigned last", TYPES, False),
    ("word_type", "the type assigned to the name just read", TYPES, False),
    ("bound", "the word just read is a name bound before", (), False),
    ("parameter", "the word just read is a parameter", (), False),
    ("loop_variable", "the word just read is a loop variable", (), False),
    ("seen_name", "the word just read was read before", (), False),
    ("dedented", "on a line indented less than the one before", (), False),
    ("indented", "on a line indented more than the one before", (), False),
)
FEATURES = tuple(Feature(*facts) for facts in _FACTS)


class Python:
    """Python source, of any version."""

    name = "python"
    features = FEATURES

    def starts(self, text: str) -> Sequence[int]:
        """Beginnings of lines that begin a statement."""
        lines = [0, *(i + 1 for i, sign in enumerate(text) if sign == "\n")]
        if len(lines) < 2:
            return [0]
        ends = np.array([b for _, b in pairwise([*lines, len(text)])])
        first = np.zeros(len(ends), dtype=np.int64)
        first[0] = 1
        after = self.states(codes_of(text), ends, first)
        fresh = (after[:, 1] == 0) & (after[:, 6] == 0) & (after[:, 12] == 1)
        return [0, *(int(end) for end, ok in zip(ends[:-1], fresh[:-1], strict=True) if ok)]

    def states(
        self,
        codes: UInt32[np.ndarray, " row"],
        ends: Int[np.ndarray, " token"],
        first: Int[np.ndarray, " token"],
    ) -> Int[np.ndarray, "token column"]:
        """The state after every token; see `language`."""
        out = np.zeros((len(ends), len(FEATURES)), dtype=np.int16)
        jitted(read_all, parallel=False)(codes, ends, first, HASHES, CONSTANTS, out)
        return out


def codes_of(text: str) -> UInt32[np.ndarray, " row"]:
    """The characters of a text as numbers."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


register(Python())

"""What Python's tokenizer makes of the lines above a decision: is a place between statements?

A prompt starts in the middle of a file, so its first line may be indented, or stand inside a
bracket or a string. Only prompts whose lines above the decision read cleanly and end outside all
brackets and strings are edited.
"""

import io
import tokenize
from collections.abc import Sequence

Token = tuple[int, str]
"""Kind and text."""
SILENT = frozenset((tokenize.COMMENT, tokenize.NL, tokenize.ENCODING))
"""Tokens that change nothing."""


OPENING, CLOSING = ("(", "[", "{"), (")", "]", "}")


def read(lines: Sequence[str]) -> list[tuple[Token, int]] | None:
    """The tokens of some whole lines with the index of their line, silent ones left out.

    Returns:
        None where the lines end inside a bracket or a string, or are no Python.
    """
    above = headers(lines)
    text = "".join([*above, *lines])
    found: list[tuple[Token, int]] = []
    depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.ERRORTOKEN:
                return None
            depth += (token.string in OPENING) - (token.string in CLOSING)
            if depth < 0:  # the lines begin inside a bracket
                return None
            if token.type not in SILENT and token.start[0] > len(above):
                kind = token.exact_type
                found.append(((kind, token.string.strip(" ")), token.start[0] - 1 - len(above)))
    except (tokenize.TokenError, SyntaxError):
        return None
    return found


def headers(lines: Sequence[str]) -> list[str]:
    """Block headers above indented lines, so that their indentation has somewhere to go back to."""
    full = [line for line in lines if line.strip()]
    if not full:
        return []
    first = indent_of(full[0])
    levels = sorted({indent_of(line) for line in full if indent_of(line) < first})
    return [" " * level + "if 1:\n" for level in levels]


def indent_of(line: str) -> int:
    """Spaces before a line."""
    return len(line) - len(line.lstrip(" "))


def starts(tokens: Sequence[tuple[Token, int]], count: int) -> list[int]:
    """Of `count` lines, those where a statement starts, and the end, where what follows starts."""
    found, fresh = [], True
    for (kind, _), row in tokens:
        if kind in (tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            continue
        if fresh:
            found.append(row)
        fresh = kind == tokenize.NEWLINE
    return [*found, count]


def same_state(before: Sequence[tuple[Token, int]], after: Sequence[str]) -> bool:
    """Whether lines read as tokens did `before`, with whole tokens put in at one place, or none."""
    new = read(after)
    if new is None:
        return False
    a, b = [t for t, _ in before], [t for t, _ in new]
    more = len(b) - len(a)
    common = 0
    while common < len(a) and a[common] == b[common]:
        common += 1
    return more >= 0 and any(
        b[:at] + b[at + more :] == a for at in range(max(0, common - 2), common + 1)
    )

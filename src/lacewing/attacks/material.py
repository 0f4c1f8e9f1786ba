"""What edits are made of: comments, docstrings, statements and words of a corpus' own text."""

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from lacewing.data.corpus import Corpus, plain
from lacewing.errors import DataError
from lacewing.tasks.task import seeded

FILES = 120
"""Files read, drawn by the seed."""
MOST = 4000
"""Pieces of one kind."""
STATEMENT = re.compile(r"[A-Za-z_][\w.]*(?: [-+*/]?= |\().*[\w)\]}'\"]")
NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
WORD = re.compile(r"[A-Za-z][a-z]+")
LONGEST = 60
"""Characters of a comment, docstring or statement."""


@dataclass(frozen=True)
class Material:
    """Natural pieces of text."""

    comments: tuple[str, ...]
    """With their sign, as they stand in files; quotes and brackets need not be matched."""
    docstrings: tuple[str, ...]
    """First lines, without quotes around them."""
    statements: tuple[str, ...]
    """Simple statements of one line."""
    names: tuple[str, ...]
    words: tuple[str, ...]
    """Of comments and docstrings."""


def material(spec: str, seed: int) -> Material:
    """Pieces from the files of a corpus that no model was trained on.

    Args:
        spec: The corpus, as `Corpus.parse` reads it; its comments are wanted too, so that a `code:`
            in front does not count.
        seed: Draws the files.

    Raises:
        DataError: the corpus has no Python to take pieces from.
    """
    corpus = Corpus.parse(plain(spec))
    documents = [*corpus.documents("validation")]
    seeded(seed, "material").shuffle(documents)
    found: dict[str, dict[str, None]] = {
        kind: {} for kind in ("comments", "docstrings", "statements", "names", "words")
    }
    for document in documents[:FILES]:
        for kind, piece in _pieces(document.text.replace("\r\n", "\n")):
            if len(found[kind]) < MOST:
                found[kind][piece] = None
    if not found["names"]:
        raise DataError(
            f"no file of corpus {spec!r} reads as Python, so there is nothing to make edits of: "
            "name another with --corpus"
        )
    return Material(**{kind: tuple(pieces) for kind, pieces in found.items()})


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """All pieces of one file, by kind."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return
    fresh = True
    for token in tokens:
        if token.type == tokenize.COMMENT:
            yield from _prose("comments", token.string)
        elif token.type == tokenize.STRING and fresh and token.string.startswith('"""'):
            first = token.string[3:].removesuffix('"""').strip().split("\n")[0].strip()
            if '"""' not in first and "\\" not in first:
                yield from _prose("docstrings", first)
        elif token.type == tokenize.NAME:
            line = token.line.strip()
            whole = fresh and token.line.count("\n") == 1 and "\\" not in line
            if whole and len(line) <= LONGEST and STATEMENT.fullmatch(line):
                yield "statements", line
            if NAME.fullmatch(token.string) and len(token.string) > 2:
                yield "names", token.string
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            fresh = True
        elif token.type not in (tokenize.NL, tokenize.COMMENT):
            fresh = False


def _prose(kind: str, text: str) -> Iterator[tuple[str, str]]:
    if 8 <= len(text) <= LONGEST and text.isprintable():
        yield kind, text
    for word in WORD.findall(text):
        if len(word) > 2:
            yield "words", word.lower()

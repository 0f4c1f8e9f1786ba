"""Texts as they come: files, folders or standard input, cut into windows and looks.

A document is cut into windows of the model's context, one after the other; the last is shorter. A
look is as many windows as hold LOOK tokens, in their order. Only where many short documents come
with a long window, and padding would fill most of the look, it is of windows of like width, and the
others wait for more of theirs: a look never has fewer tokens, but at the end of all text. Text that
grows, such as a log, is turned into tokens piece by piece, cut where a line begins that is not
indented: no token reaches over such a place.
"""

import codecs
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.watch.detectors import LOOK

PADDED = 4 * LOOK
"""Tokens of a look with its padding, at most, unless it is of windows of like width."""
READ = 2**16
"""Bytes read at a time."""
LONGEST = 2**20
"""Signs after which a text is cut even where no line begins."""
BREAK = re.compile(r"\n(?=\S)")


class DamagedError(DataError):
    """A text that begins as text, and is none from some byte on; what came before was handed on."""


@dataclass(frozen=True)
class Piece:
    """Some text of one document."""

    text: str
    document: str
    """Its name."""
    ends: bool
    """Whether the document ends with it."""
    share: float
    """Of all bytes, that were read when it ends; 0 where nobody knows how many there are."""


@dataclass(frozen=True)
class Windows:
    """Windows of one look."""

    tokens: Int64[Tensor, "batch token"]
    """Padded on the right with 0."""
    lengths: Int64[Tensor, " batch"]

    @property
    def count(self) -> int:
        """Tokens."""
        return int(self.lengths.sum())

    @property
    def each(self) -> list[list[int]]:
        """The windows without their padding."""
        rows = zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]


@dataclass
class Cutter:
    """Cuts tokens into looks."""

    context: int
    _tokens: list[int] = field(default_factory=list)
    _windows: list[list[int]] = field(default_factory=list)

    def add(self, tokens: list[int], ends: bool = False) -> Iterator[Windows]:
        """The looks that are full with some more tokens; `ends` after those of a document's end."""
        self._tokens += tokens
        while len(self._tokens) >= self.context or (ends and self._tokens):
            self._windows.append(self._tokens[: self.context])
            del self._tokens[: self.context]
            if (rows := self._fitting()) and sum(map(len, rows)) >= LOOK:
                yield self._look(rows)

    def rest(self) -> Iterator[Windows]:
        """What is left of all text, if there is any: a look of fewer tokens, or some."""
        yield from self.add([], ends=True)
        while rows := self._fitting():
            yield self._look(rows)

    def _fitting(self) -> list[list[int]]:
        """All windows there are, or, where padding would be most, those about as wide as the last.

        Each is then more than half as wide as the widest: of its powers of 2, as it were.
        """
        rows = self._windows
        if len(rows) * max(map(len, rows), default=0) <= PADDED:
            return rows
        return [row for row in rows if len(row).bit_length() == len(rows[-1]).bit_length()]

    def _look(self, rows: list[list[int]]) -> Windows:
        taken = set(map(id, rows))
        self._windows = [row for row in self._windows if id(row) not in taken]
        width = max(map(len, rows))
        padded = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        return Windows(padded, torch.tensor([len(row) for row in rows]))


def pieces(source: str) -> Iterator[Piece]:
    """The text of a file, of all files of a folder in their order, or of standard input (`-`).

    Files of a folder that are no UTF-8 text are passed over; a single file has to be text.

    Raises:
        DataError: there is no such file, it is no text, or nothing in the folder is.
        DamagedError: after the pieces before it, where text of a line or more ends in a NUL or a
            byte that is no UTF-8.
    """
    if source == "-":
        yield from _read(sys.stdin.buffer, "standard input", 0)
        return
    path = Path(source)
    if path.is_dir():
        yield from _folder(path)
        return
    if not path.exists():
        raise DataError(f"no text at {source}: name a file, a folder, or - for standard input")
    if not (path.is_file() or path.is_fifo()):
        raise DataError(f"{source} is a device: name a file, a folder, or - for standard input")
    total = path.stat().st_size if path.is_file() else 0
    with open(path, "rb") as file:
        yield from _read(file, source, total)


def _folder(path: Path) -> Iterator[Piece]:
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    total, done, found = sum(p.stat().st_size for p in files), 0, False
    for file in files:
        size = file.stat().st_size
        content = file.read_bytes() if size <= LONGEST * 16 else b"\0"
        done += size
        try:
            text = content.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue
        if "\0" not in text and text.strip():
            found = True
            yield Piece(text, str(file.relative_to(path)), True, done / max(total, 1))
    if not found:
        raise DataError(f"{path} holds no text: {len(files)} files, none of them UTF-8 text")


def _read(file: Any, name: str, total: int) -> Iterator[Piece]:
    """The text of an open file of bytes, or of what stands for standard input."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    held, done = "", 0
    # What has come is handed on at once, so that a slow stream is watched as it grows.
    read = getattr(file, "read1", file.read)
    damage, lines = "", False
    while not damage and (content := read(READ)):
        done += len(content)
        try:
            text = decoder.decode(content)
        except UnicodeDecodeError as error:
            text = str(error.object[: error.start], "utf-8")
            where = done - len(error.object) + error.start
            damage = f"is no UTF-8 text: {error.reason} at byte {where:,}"
        text, nul, _ = text.partition("\0")
        damage = f"is no text: it holds NUL bytes, before byte {done:,}" if nul else damage
        held, lines = held + text, lines or "\n" in text
        if cut := _cut(held):
            share = done / total if total else 0.0
            yield Piece(held[:cut].replace("\r\n", "\n"), name, False, min(share, 1.0))
            held = held[cut:]
    if damage:
        if not lines:
            raise DataError(f"{name} {damage}")
        yield Piece(held.replace("\r\n", "\n"), name, True, 1.0)
        raise DamagedError(f"{name} was read to where it {damage}")
    half = len(decoder.getstate()[0])
    if half:
        # A stream that was cut off ends anywhere; what came before is watched all the same.
        held += "\N{REPLACEMENT CHARACTER}"
    yield Piece(held.replace("\r\n", "\n"), name, True, 1.0)


def _cut(text: str) -> int:
    """Where a text can be cut so that its tokens stay the same; 0 where nowhere yet."""
    found = [match.end() for match in BREAK.finditer(text, max(0, len(text) - READ))]
    if found:
        return found[-1]
    return len(text) if len(text) > LONGEST else 0


def looks(source: str, tokenizer: Tokenizer, context: int) -> Iterator[tuple[Windows, float]]:
    """The looks of a text, each with the share of the text that was read when it is full."""
    cutter, share = Cutter(context), 0.0
    for piece in pieces(source):
        share = piece.share
        for look in cutter.add(tokenizer.encode(piece.text), piece.ends):
            yield look, share
    for look in cutter.rest():
        yield look, share

"""The text that nodes are explained on: windows of a corpus, dealt out by document.

    fit 50 %   calibrate 15 %   select 15 %   test 20 %

A document falls into a part by a hash of its path and text. Windows begin where the language's
state is as at the beginning (for Python at statements), so what the state knows is what the model
sees. Tokens of all windows stand one after the other, part by part, so that a part is a slice.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int, Int32, Int64
from torch import Tensor

from lacewing.data.corpus import Corpus, Document
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.explain import english, python_source  # noqa: F401  they register themselves
from lacewing.explain.language import Feature, Language, get
from lacewing.explain.python_source import codes_of

Part = Literal["fit", "calibrate", "select", "test"]
PARTS: tuple[tuple[Part, float], ...] = (
    ("fit", 0.50),
    ("calibrate", 0.65),
    ("select", 0.80),
    ("test", 1.0),
)
"""Parts with the upper ends of their shares of the hash range."""
FEWEST = 3
"""Documents that each part needs, for an interval over them."""
SHORTEST = 4
"""Tokens of a window; less shows a model nothing."""
LATELY = 8
"""Tokens back that count as lately."""
LONGEST = 3_000
"""Tokens taken of one document, so that none outweighs its part."""
COMMON = (
    Feature("position", "tokens before this one", counts=True),
    Feature("since_newline", "tokens since the last newline", counts=True),
    Feature("repeated", "a token that occurred before"),
    Feature("repeated_lately", "a token that occurred among the last eight"),
    Feature("repeated_pair", "two tokens that occurred before in this order"),
    Feature("after_repeat", "a token after one that occurred before"),
)
"""Features of every language."""


@dataclass(frozen=True, eq=False)
class Text:
    """Windows of text with the state of its language after every token."""

    ids: Int32[np.ndarray, " token"]
    window: Int32[np.ndarray, " token"]
    """Number of the window of each token."""
    document: Int32[np.ndarray, " token"]
    """Number of the document of each token."""
    paths: tuple[str, ...]
    """Paths of the documents."""
    slices: dict[Part, slice]
    pieces: tuple[str, ...]
    """The text of every token id."""
    language: Language
    state: Int[np.ndarray, "token column"]
    """The language's features, then the common ones, after each token."""
    corpus: str
    """Where it is from, as `Corpus.parse` reads it."""

    def __len__(self) -> int:
        """Tokens."""
        return len(self.ids)

    @cached_property
    def features(self) -> dict[str, tuple[int, Feature]]:
        """Every feature by name, with its column."""
        every = (*self.language.features, *COMMON)
        return {feature.name: (column, feature) for column, feature in enumerate(every)}

    @cached_property
    def start(self) -> Int64[np.ndarray, " token"]:
        """Index of the first token of each token's window."""
        begins = np.flatnonzero(self.first)
        return np.repeat(begins, np.diff([*begins, len(self)]))

    @cached_property
    def first(self) -> Bool[np.ndarray, " token"]:
        """Whether a window begins with the token."""
        return np.diff(self.window, prepend=-1) != 0

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that change with any token or its part."""
        digest = hashlib.sha256(self.language.name.encode())
        for array in (self.ids, self.window, self.document):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def batches(self, size: int = 64) -> Iterator[tuple[slice, Int64[Tensor, "batch token"]]]:
        """Windows as batches padded on the right, each with the slice of tokens that it holds."""
        begins = [*np.flatnonzero(self.first).tolist(), len(self)]
        for at in range(0, len(begins) - 1, size):
            bounds = begins[at : at + size + 1]
            rows = [torch.from_numpy(self.ids[a:b].astype(np.int64)) for a, b in pairwise(bounds)]
            yield (
                slice(bounds[0], bounds[-1]),
                torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
            )

    def around(self, at: int, before: int = 24, after: int = 8) -> tuple[list[str], int]:
        """The tokens of a window about one of them, and its place among these."""
        begin = max(int(self.start[at]), at - before)
        end = at
        while end + 1 < min(len(self), at + after) and self.window[end + 1] == self.window[at]:
            end += 1
        return [self.pieces[i] for i in self.ids[begin : end + 1]], at - begin


def read_text(
    corpus: Corpus,
    tokenizer: Tokenizer,
    context: int,
    tokens: int = 200_000,
    language: str = "python",
) -> Text:
    """Windows of a corpus, about as many tokens as asked for.

    Files that models are not trained on come first; training files only where those do not suffice.

    Raises:
        DataError: too few documents for four parts, or a tokenizer whose tokens are not the text.
    """
    order = [*_documents(corpus, "validation"), *_documents(corpus, "task")]
    order += list(_documents(corpus, "train"))
    return text_of(order, tokenizer, context, tokens, language, corpus.spec)


def text_of(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    context: int,
    tokens: int,
    language: str = "python",
    spec: str = "",
) -> Text:
    """Windows of some documents; see `read_text`."""
    reader, pieces = get(language), pieces_of(tokenizer)
    taken: dict[Part, list[tuple[str, list[list[int]]]]] = {part: [] for part, _ in PARTS}
    total = 0
    for document in documents:
        if total >= tokens:
            break
        windows = list(_windows(document, tokenizer, pieces, reader, context))
        if windows:
            taken[part_of(document)].append((document.path, windows))
            total += sum(map(len, windows))
    short = [part for part, found in taken.items() if len(found) < FEWEST]
    if short:
        counts = ", ".join(f"{part} {len(found)}" for part, found in taken.items())
        raise DataError(
            f"corpus {spec!r} is too small to explain with: each part needs {FEWEST} documents of "
            f"{SHORTEST} tokens or more, there are {counts}; give more text with --corpus"
        )
    return _joined(taken, pieces, reader, spec)


def lexed(rows: list[list[int]], pieces: tuple[str, ...], reader: Language) -> Text:
    """Some token sequences as a text of one part, such as prompts or edited windows."""
    taken: dict[Part, list[tuple[str, list[list[int]]]]] = {part: [] for part, _ in PARTS}
    taken["fit"] = [(f"{number}", [row]) for number, row in enumerate(rows)]
    return _joined(taken, pieces, reader, "")


def part_of(document: Document) -> Part:
    """The part of a document, by a hash."""
    digest = hashlib.sha256(f"{document.path}\0{document.text}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return next(part for part, end in PARTS if share < end)


def pieces_of(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The text of every token id; bytes that are no whole character become U+FFFD.

    Raises:
        DataError: ids without text, so that nothing can be said of what a node reads.
    """
    lengths = tokenizer.byte_lengths()
    found = []
    for id in range(tokenizer.vocab_size):
        piece = tokenizer.token(id)
        whole = len(piece.encode("utf-8", "replace")) == lengths[id]
        found.append(piece if whole else "" if id == tokenizer.end_of_text else "\ufffd")
    if not any(found):
        raise DataError("no token of this tokenizer maps back to text: nothing can be explained")
    return tuple(found)


def _documents(corpus: Corpus, split: Literal["train", "validation", "task"]) -> Iterator[Document]:
    try:
        yield from corpus.documents(split)
    except DataError:  # no file in this split; whether all is enough is asked later
        return


def _windows(
    document: Document,
    tokenizer: Tokenizer,
    pieces: tuple[str, ...],
    reader: Language,
    context: int,
) -> Iterator[list[int]]:
    """Consecutive windows, each from a place where one may begin."""
    ids = tokenizer.encode(document.text)[len(tokenizer.encode("")) :]
    spelled = "".join(pieces[i] for i in ids)
    if spelled != document.text and "\ufffd" not in spelled:
        raise DataError(
            f"the tokens of {document.path} do not spell its text: this tokenizer cannot be mapped "
            "back to text, so nothing can be explained with it"
        )
    ends = np.cumsum([0, *(len(pieces[i]) for i in ids)])
    allowed = np.array(reader.starts(spelled))
    starts = np.flatnonzero(np.isin(ends[:-1], allowed))
    at = taken = 0
    while at < len(starts) and taken < LONGEST:
        begin = int(starts[at])
        end = min(begin + context, len(ids))
        if end - begin >= SHORTEST:
            yield ids[begin:end]
            taken += end - begin
        at = int(np.searchsorted(starts, end))


def _joined(
    taken: dict[Part, list[tuple[str, list[list[int]]]]],
    pieces: tuple[str, ...],
    reader: Language,
    spec: str,
) -> Text:
    ids: list[int] = []
    lengths: list[int] = []
    owners: list[int] = []
    paths: list[str] = []
    slices: dict[Part, slice] = {}
    for part, _ in PARTS:
        begin = len(ids)
        for path, windows in taken[part]:
            for row in windows:
                ids += row
                lengths.append(len(row))
                owners.append(len(paths))
            paths.append(path)
        slices[part] = slice(begin, len(ids))
    array = np.array(ids, dtype=np.int32)
    window = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    document = np.repeat(np.array(owners, dtype=np.int32), lengths)
    first = (np.diff(window, prepend=-1) != 0).astype(np.int64)
    codes = codes_of("".join(pieces[i] for i in ids))
    ends = np.cumsum([len(pieces[i]) for i in ids])
    state = np.concatenate(
        [reader.states(codes, ends, first), _common(array, first, pieces)], axis=1
    )
    return Text(
        array, window, document, tuple(paths), slices, pieces, reader, state.astype(np.int16), spec
    )


def _common(
    ids: Int32[np.ndarray, " token"], first: Int64[np.ndarray, " token"], pieces: tuple[str, ...]
) -> Int[np.ndarray, "token column"]:
    """The features of every language, in the order of COMMON."""
    lines = {id for id, piece in enumerate(pieces) if "\n" in piece}
    rows: list[tuple[int, ...]] = []
    seen: dict[int, int] = {}
    pairs: set[tuple[int, int]] = set()
    position = since = before = known = -1
    for token, begins in zip(ids.tolist(), first.tolist(), strict=True):
        if begins:
            seen, pairs, position, since, before, known = {}, set(), 0, 0, -1, -1
        after, known = known >= 0, seen.get(token, -1)
        lately = known >= 0 and position - known <= LATELY
        rows.append((position, since, known >= 0, lately, (before, token) in pairs, after))
        pairs.add((before, token))
        seen[token] = position
        before, position = token, position + 1
        since = 0 if token in lines else since + 1
    return np.array(rows, dtype=np.int16).reshape(-1, len(COMMON))


def padded(
    rows: Sequence[Sequence[int]],
) -> tuple[Int64[Tensor, "batch token"], Int64[Tensor, " batch"]]:
    """Token sequences as one batch padded on the right, and the place of each last token."""
    tensors = [torch.tensor(list(row), dtype=torch.long) for row in rows]
    last = torch.tensor([len(row) - 1 for row in rows])
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), last

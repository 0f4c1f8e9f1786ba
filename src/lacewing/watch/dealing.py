"""The text that a reference is fitted on, and how it is dealt out in three parts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lacewing.data.corpus import Corpus, is_built
from lacewing.data.tokenizer import Tokenizer
from lacewing.watch.stream import Piece, pieces

TOKENS = 300_000
"""Tokens that a reference is fitted on, at most."""
CHAPTER = 4096
"""Tokens of one long document after which the next part is dealt to."""
PACKAGES = 12
"""Packages from which on whole ones are dealt out: four a part, none over a sixth of the text."""
SIGNS = 4
"""Signs of text for each token that is wanted; some are left."""
OF_ONE = 40_000
"""Signs that are taken of one document of a corpus, so that none fills a part."""


def corpus_pieces(corpus: Corpus, seed: int = 0) -> Iterator[Piece]:
    """The beginnings of some of a corpus's documents that no model was trained on, in their order.

    Files of one package stay together, so that a stretch of them is as odd as a package can be.
    """
    documents = [one for one in corpus.documents() if one.split != "train"]
    order, signs, chosen = np.random.default_rng(seed).permutation(len(documents)), 0, []
    for index in order.tolist():
        chosen.append(index)
        signs += len(documents[index].text[:OF_ONE])
        if signs > SIGNS * TOKENS:
            break
    for number, index in enumerate(sorted(chosen)):
        one = documents[index]
        yield Piece(one.text[:OF_ONE], one.path, True, (number + 1) / len(chosen))


def text_of(spec: str) -> Iterator[Piece]:
    """Text to fit on: a file, a folder or standard input as `stream.pieces`, or a corpus.

    Raises:
        DataError: there is none.
    """
    if spec == "-" or (Path(spec).exists() and not is_built(Path(spec))):
        return pieces(spec)
    return corpus_pieces(Corpus.parse(spec))


class Text(NamedTuple):
    """The tokens of some text of one document."""

    document: str
    ids: list[int]
    ends: bool


def texts_of(tokenizer: Tokenizer, text: Iterable[Piece], most: int) -> list[Text]:
    """The tokens of a text, at most so many, with long documents in chapters."""
    found, count = list[Text](), 0
    for piece in text:
        ids = tokenizer.encode(piece.text)[: most - count]
        for start in range(0, max(len(ids), 1), CHAPTER):
            ends = piece.ends and start + CHAPTER >= len(ids)
            found.append(Text(piece.document, ids[start : start + CHAPTER], ends))
        count += len(ids)
        if count >= most:
            break
    return found


def parts(texts: Sequence[tuple[str, int]]) -> list[int]:
    """Which of three parts each text is dealt to, so that they stay about equally long.

    Args:
        texts: Document and tokens of each, in their order. A package is what stands first in the
            names of its documents, after what all names begin with.

    Example:
        >>> parts([("a.py", 5), ("b.py", 5), ("c.py", 9), ("c.py", 3)])
        [0, 1, 2, 0]
    """
    names = [name.split("/") for name, _ in texts]
    folders = [name[:-1] for name in names]
    shared = 0
    while all(len(one) > shared for one in folders) and len({one[shared] for one in folders}) == 1:
        shared += 1
    packages = [name[shared] for name in names]
    sizes = Counter[str]()
    for package, (_, count) in zip(packages, texts, strict=True):
        sizes[package] += count
    # A package that is most of the text cannot be one part of three.
    whole = len(sizes) >= PACKAGES and 6 * max(sizes.values()) <= sizes.total()
    found, dealt, of_package = list[int](), [0, 0, 0], dict[str, int]()
    for package, (_, count) in zip(packages, texts, strict=True):
        shortest = dealt.index(min(dealt))
        part = of_package.setdefault(package, shortest) if whole else shortest
        dealt[part] += count
        found.append(part)
    return found

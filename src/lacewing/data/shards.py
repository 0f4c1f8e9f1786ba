"""A corpus as token ids: two files of uint16, mapped into memory, documents joined by end-of-text.

They are made once per corpus and tokenizer and found again by fingerprint; a folder that is not
whole is made anew.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.source import Split
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError, DataError

SAMPLE = 20_000_000
"""Bytes of training text a tokenizer is trained on."""
TOGETHER = 256
"""Documents encoded at once."""
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class _Index:
    """index.json."""

    __pydantic_config__ = artifacts.LOOSE

    key: str
    """What the tokens were made from."""
    summary: dict[str, Any]


@dataclass(frozen=True)
class Shards:
    """Token ids of the training and validation text."""

    tokenizer: Tokenizer
    train: np.ndarray
    """uint16, memory-mapped."""
    validation: np.ndarray
    summary: dict[str, Any]
    """What the corpus held (see `CorpusSummary`)."""


def prepare(
    corpus: Corpus,
    folder: Path,
    vocab_size: int = 2048,
    tokenizer: Tokenizer | None = None,
    *,
    replace: bool = True,
) -> Shards:
    """Tokenise a corpus into a folder, or map the tokens that are there.

    Args:
        corpus: The text.
        folder: Where the tokens are kept.
        vocab_size: Size of the tokenizer trained on the corpus.
        tokenizer: An existing one instead.
        replace: Whether whole tokens of another corpus or tokenizer give way.

    Raises:
        DataError: the corpus is empty, or too short to fill a training or validation sequence.
        ConfigError: the tokenizer has more than 65,536 tokens, or the folder holds the tokens of
            something else and must not be replaced.
    """
    key = f"{corpus.fingerprint()}-{_key(tokenizer, vocab_size)}"
    there = _key_of(folder)
    if there != key:
        if there is not None and not replace:
            raise ConfigError(
                f"{folder} holds other tokens: the text of {corpus.spec} or the tokenizer has "
                "changed; choose another --output; nothing was overwritten"
            )
        tokenizer = tokenizer or Tokenizer.train(_sample(corpus), vocab_size)
        _write(corpus, tokenizer, folder, key)
    return stored(folder)


def stored(folder: Path) -> Shards:
    """The tokens a folder holds, whatever they were made of.

    Raises:
        ArtifactError: it holds none, or they are damaged.
        DataError: they are too few for a sequence.
    """
    whole = artifacts.open_folder(folder, "tokens")
    index = whole.read("index.json", _Index)
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_bytes(whole.bytes(file.name), file)
    tokens = {split: _mapped(whole.path(f"{split}.bin")) for split in SPLITS}
    for split, ids in tokens.items():
        if len(ids) < 2:
            raise DataError(
                f"the {split} split in {folder} has only {len(ids)} tokens: more text is needed"
            )
        if int(ids.max()) >= tokenizer.vocab_size:
            raise ArtifactError(
                f"{folder / split}.bin has token {ids.max()}, its tokenizer {tokenizer.vocab_size} "
                "tokens: damaged or foreign"
            )
    return Shards(tokenizer, tokens["train"], tokens["validation"], index.summary)


def _write(corpus: Corpus, tokenizer: Tokenizer, folder: Path, key: str) -> None:
    if tokenizer.vocab_size > 2**16:
        raise ConfigError(
            f"tokenizer of {tokenizer.vocab_size} tokens: at most 65,536 fit in uint16"
        )
    if tokenizer.highest >= tokenizer.vocab_size:
        raise ConfigError(
            f"the tokenizer has an id {tokenizer.highest} and {tokenizer.vocab_size} tokens: ids "
            "must have no gaps"
        )
    files = {f"{s}.bin": _encoded(corpus, tokenizer, s) for s in SPLITS}
    artifacts.write_folder(
        folder,
        "tokens",
        files=files | {"tokenizer.json": tokenizer.to_bytes()},
        json={"index.json": {"key": key, "summary": asdict(corpus.summary())}},
        replace=True,
    )


def _encoded(corpus: Corpus, tokenizer: Tokenizer, split: Split) -> bytes:
    parts: list[np.ndarray] = []
    for texts in _groups(d.text for d in corpus.documents(split)):
        parts += [
            np.array([*ids, tokenizer.end_of_text], dtype=np.uint16)
            for ids in tokenizer.encode_batch(texts)
        ]
    return np.concatenate(parts).tobytes()


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    for text in texts:
        group.append(text)
        if len(group) == TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _sample(corpus: Corpus) -> Iterator[str]:
    """Training text for the tokenizer: all of it, or files evenly spread over a large corpus."""
    documents = list(corpus.documents("train"))
    total = sum(len(d.text) for d in documents)
    stride = max(1, round(total / SAMPLE))
    for document in documents[::stride]:
        yield document.text


def _key(tokenizer: Tokenizer | None, vocab_size: int) -> str:
    return f"bpe{vocab_size}" if tokenizer is None else tokenizer.id


def _key_of(folder: Path) -> str | None:
    """What the tokens in a folder were made from; None where the folder is not whole."""
    try:
        whole = artifacts.open_folder(folder, "tokens")
        whole.check()  # what is damaged is made anew; what is not is checked once per process
        return whole.read("index.json", _Index).key
    except ArtifactError:
        return None


def _mapped(path: Path) -> np.ndarray:
    if (size := path.stat().st_size) == 0:
        return np.zeros(0, dtype=np.uint16)
    if size % 2:
        raise ArtifactError(f"{path} has {size} bytes, no whole number of tokens: damaged")
    return np.memmap(path, dtype=np.uint16, mode="r")


def tokenizer_for(corpus: Corpus, vocab_size: int = 2048) -> Tokenizer:
    """The tokenizer `prepare` would train on a corpus."""
    return Tokenizer.train(_sample(corpus), vocab_size)

"""The text that autoencoders are trained and measured on, as token ids that lie in one folder.

Documents are drawn in an order that follows from the seed, a piece of each where that is enough, so
that little text is of many documents. It is done once; a training that goes on finds the same.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lacewing import artifacts
from lacewing.data.batches import sequences
from lacewing.data.corpus import Corpus
from lacewing.data.source import Split
from lacewing.errors import ArtifactError, DataError
from lacewing.model.store import Model

KIND, KEY = "text of autoencoders", "index.json"
SPLITS: tuple[Split, ...] = ("train", "validation")
TOGETHER = 64
"""Documents encoded at once."""
SIGNS, WINDOWS = 4, 4
"""Characters of a token, about, and windows that a piece of a document has, at least."""
SLACK = 2
"""Windows more than asked for, so that each epoch may begin elsewhere."""


@dataclass(frozen=True)
class Text:
    """Token ids of both splits, without the tokens that a model spares."""

    train: np.ndarray
    held_out: np.ndarray
    size: int
    """Tokens of a window, without those spared."""

    def windows(self, tokens: int) -> Int64[Tensor, "sequence token"]:
        """Held-out windows of so many tokens in all, spread evenly, each with one token more."""
        return sequences(self.held_out, self.size, tokens)


def text_of(
    model: Model, corpus: Corpus, folder: Path, tokens: int, held_out: int, seed: int
) -> Text:
    """The text in a folder, or a new one there.

    Args:
        model: Whose tokenizer cuts it.
        corpus: Where it is from.
        folder: Where it is kept.
        tokens: Tokens to train on; fewer where the corpus has fewer.
        held_out: Tokens of the validation split.
        seed: Draws the documents.

    Raises:
        DataError: the corpus has too little text.
    """
    size = model.network.config.context - model.network.spared
    asked = {
        "tokenizer": model.tokenizer.id,
        "corpus": corpus.fingerprint(),
        "size": size,
        "tokens": tokens,
        "held_out": held_out,
        "seed": seed,
    }
    if not _there(folder, asked, model.network.config.vocab_size):
        more = SLACK * (size + 1)
        files = {
            f"{split}.bin": _drawn(model, corpus, split, count + more, seed).tobytes()
            for split, count in zip(SPLITS, (tokens, held_out), strict=True)
        }
        artifacts.write_folder(folder, KIND, files=files, json={KEY: asked}, replace=True)
    whole = artifacts.open_folder(folder, KIND)
    train, rest = _mapped(whole, model.network.config.vocab_size)
    return Text(train, rest, size)


def begun(model: Model, rows: Int64[Tensor, "batch token"]) -> Int64[Tensor, "batch _"]:
    """Windows with the tokens before them that the model spares."""
    spared = model.network.spared
    if not spared:
        return rows
    first = torch.tensor(model.tokenizer.encode("")[:spared]).expand(len(rows), -1)
    return torch.cat([first, rows], dim=1)


def _there(folder: Path, asked: dict[str, object], vocab_size: int) -> bool:
    """Whether what was drawn is kept; where it is damaged it is drawn anew."""
    try:
        whole = artifacts.open_folder(folder, KIND)
        _mapped(whole, vocab_size)
        return bool(whole.json(KEY) == asked)
    except ArtifactError:
        return False


def _mapped(whole: artifacts.Whole, vocab_size: int) -> list[np.ndarray]:
    """Both splits, mapped into memory.

    Raises:
        ArtifactError: one is damaged, or holds tokens that the model does not know.
    """
    found: list[np.ndarray] = []
    for split in SPLITS:
        path = whole.path(f"{split}.bin")
        size = path.stat().st_size
        if size == 0 or size % np.dtype(np.uint32).itemsize:
            raise ArtifactError(f"{path} has {size} bytes, no whole number of tokens: damaged")
        found.append(np.memmap(path, dtype=np.uint32, mode="r"))
        if (highest := int(found[-1].max())) >= vocab_size:
            raise ArtifactError(f"{path} has token {highest}, the model {vocab_size}: damaged")
    return found


def _drawn(model: Model, corpus: Corpus, split: Split, tokens: int, seed: int) -> np.ndarray:
    """Tokens of many documents rather than of a few long ones: a piece of each where that does."""
    documents = [document.text for document in corpus.documents(split)]
    longest = max(map(len, documents))
    piece = max(SIGNS * WINDOWS * model.network.config.context, SIGNS * tokens // len(documents))
    found = _pieces(model, documents, tokens, piece, seed)
    while len(found) < tokens and piece < longest:
        piece *= 4
        found = _pieces(model, documents, tokens, piece, seed)
    if len(found) and int(found.max()) >= model.network.config.vocab_size:
        raise DataError(
            f"the text has token {found.max()}, the model knows "
            f"{model.network.config.vocab_size}: the tokenizer of another model"
        )
    return found


def _pieces(model: Model, documents: list[str], tokens: int, piece: int, seed: int) -> np.ndarray:
    """So many tokens, of at most one piece of each document."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(documents)).tolist()
    starts = generator.random(len(documents))
    parts, count = [np.zeros(0, dtype=np.uint32)], 0
    for first in range(0, len(order), TOGETHER):
        if count >= tokens:
            break
        chosen = order[first : first + TOGETHER]
        texts = [_piece(documents[n], piece, float(starts[n])) for n in chosen]
        for ids in model.tokenizer.encode_batch(texts):
            parts.append(np.array([*ids, model.tokenizer.end_of_text], dtype=np.uint32))
            count += len(parts[-1])
    return np.concatenate(parts)[:tokens]


def _piece(text: str, size: int, start: float) -> str:
    """So many characters of a text, from the beginning of a line."""
    if len(text) <= size:
        return text
    at = int(start * (len(text) - size))
    line = text.rfind("\n", 0, at) + 1
    return text[line if at - line < size else at :][:size]

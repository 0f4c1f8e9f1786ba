"""Windows of natural text, on which a circuit is not at home."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lacewing.data.corpus import Corpus
from lacewing.data.source import Split
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.model.store import Model

WINDOWS = 96
"""Sequences of natural text."""


def natural_text(
    model: Model,
    corpus: str,
    seed: int,
    windows: int = WINDOWS,
    split: Split = "validation",
) -> Int64[Tensor, "sequence token"]:
    """Windows of the model's context from one split's text, each from a file of its own.

    Where there are fewer long enough files than windows, files give several. What a circuit is
    judged on is validation text; what it learned on is training text.

    Raises:
        DataError: no file of the split fills a window.
    """
    return _windows(model.tokenizer, model.network.config.context, corpus, seed, windows, split)


@lru_cache(maxsize=8)  # a search of other seeds asks for the same; files are taken not to change
def _windows(
    tokenizer: Tokenizer, context: int, corpus: str, seed: int, windows: int, split: Split
) -> Int64[Tensor, "sequence token"]:
    generator = np.random.default_rng(seed)
    documents = Corpus.parse(corpus).documents(split)
    texts = [d.text for d in documents if len(d.text) >= context]
    chosen = [texts[i] for i in generator.permutation(len(texts))[: 2 * windows]]
    encoded: list[list[int]] = []
    while chosen and len(encoded) < windows:  # whole files take long
        missing = windows - len(encoded)
        some, chosen = chosen[:missing], chosen[missing:]
        encoded += [ids for ids in tokenizer.encode_batch(some) if len(ids) >= context]
    if not encoded:
        raise DataError(
            f"no {split} file of corpus {corpus!r} holds {context} tokens: use a larger corpus"
        )
    rows = []
    for number in range(windows):
        ids = encoded[number % len(encoded)]
        start = int(generator.integers(len(ids) - context + 1))
        rows.append(tokenizer.window(ids, start, context))
    return torch.tensor(rows)

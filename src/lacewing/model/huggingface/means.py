"""Means of every site over text, and the loss on other text, of a model nobody trained here.

What such a model read is mostly not at hand. Its means are therefore those over text that is on
every machine: files of a corpus as they are, by default the standard library, and as much English,
the docstrings in them. Half of the windows are code and half are prose.
"""

import ast
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lacewing.data.corpus import Corpus
from lacewing.data.source import Split
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.model.hooks import edit
from lacewing.model.protocol import Network, SiteHook
from lacewing.model.sites import site_widths
from lacewing.progress import progress

WINDOWS = 48
"""Windows of files, and as many of prose."""
HELD_OUT = 12
"""Windows of each that the loss is measured on."""
TOGETHER = 4
"""Windows run at once."""


@torch.no_grad()
def means_of(
    network: Network,
    tokenizer: Tokenizer,
    corpus: str,
    *,
    size: int | None = None,
    quiet: bool = False,
) -> tuple[dict[str, Tensor], float]:
    """The mean of every site over training windows, and nats per token on validation windows.

    Args:
        network: The model.
        tokenizer: Its tokenizer.
        corpus: As `Corpus.parse` reads it.
        size: Tokens of a window; by default the model's context.
        quiet: No bar.

    Raises:
        DataError: the corpus has no file that fills a window.
    """
    size = size or network.config.context
    text = _windows(tokenizer, corpus, "train", size, WINDOWS)
    held_out = _windows(tokenizer, corpus, "validation", size, HELD_OUT)
    sums = {key: torch.zeros(width) for key, width in site_widths(network.config).items()}

    def adding(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            sums[key] += value[:, network.spared :].float().sum((0, 1))
            return value

        return hook

    steps = len(text) + len(held_out)
    with progress("means over text", steps, "windows", not quiet) as bar:
        with edit(network, {key: adding(key) for key in sums}):
            for done, rows in enumerate(torch.split(text, TOGETHER)):
                network(rows, at=torch.full((len(rows),), size - 1))
                bar.update(min(len(text), (done + 1) * TOGETHER))
        losses = []
        for done, rows in enumerate(torch.split(held_out, TOGETHER)):
            logits = network(rows)[:, :-1].flatten(0, 1)
            losses.append(F.cross_entropy(logits, rows[:, 1:].flatten()))
            bar.update(min(steps, len(text) + (done + 1) * TOGETHER))
    counted = len(text) * (size - network.spared)
    means = {key: total / counted for key, total in sums.items()}
    return means, float(torch.stack(losses).mean())


def _windows(tokenizer: Tokenizer, corpus: str, split: Split, size: int, count: int) -> Tensor:
    """Windows [sequence token] of files of a split, and where there is prose, as many of that."""
    documents = [d.text for d in Corpus.parse(corpus).documents(split) if len(d.text) > 2 * size]
    generator = np.random.default_rng(0)
    order = generator.permutation(len(documents)).tolist()
    files = list(_cut(tokenizer, (documents[n] for n in order), size, count, generator))
    if not files:
        raise DataError(
            f"no {split} file of corpus {corpus!r} holds {size} tokens: use a larger corpus"
        )
    prose = (text for n in order if (text := _prose(documents[n])))
    return torch.tensor(files + list(_cut(tokenizer, prose, size, count, generator)))


def _cut(
    tokenizer: Tokenizer,
    texts: Iterator[str],
    size: int,
    count: int,
    generator: np.random.Generator,
) -> Iterator[list[int]]:
    """One window of each text that fills one."""
    for text in texts:
        if count == 0:
            return
        ids = tokenizer.encode(text[: 40 * size])
        if len(ids) > size:
            count -= 1
            yield tokenizer.window(ids, int(generator.integers(len(ids) - size)), size)


def _prose(source: str) -> str:
    """The docstrings of a Python file, one after the other; empty where there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return "\n\n".join(text for text in found if text)

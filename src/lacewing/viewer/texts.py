"""Where a node is active: its values over the task's prompts and over natural text.

Values are those of the full model, after AbsTopK. They are computed once for all nodes of a
circuit and kept in half precision.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.model.hooks import record
from lacewing.model.sites import parse_node
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.viewer.turns import Turns, Work

PIECE = 16
"""Sequences run at once; other requests wait for one piece at most."""
SHOWN = 8
"""Examples in a group."""
BINS = 40
TOGETHER = 256
"""Nodes whose values are computed in one go."""
NATURAL = 256
"""Sequences of natural text, each as long as the model's context."""


@dataclass(frozen=True)
class Sequences:
    """Token sequences with what is said of each."""

    tokens: Tensor
    """Ids [sequence, token], padded on the right with 0."""
    lengths: Tensor
    about: list[dict[str, Any]]
    """source, pair, member, answer of each."""


def of_documents(model: Model, documents: list[tuple[str, str]]) -> Sequences:
    """One window of the model's context from the start of each text."""
    context = model.network.config.context
    rows = [ids[:context] for ids in model.tokenizer.encode_batch([t for _, t in documents])]
    about = [
        {"source": path, "pair": None, "member": None, "answer": None} for path, _ in documents
    ]
    kept = [(row, said) for row, said in zip(rows, about, strict=True) if len(row) > 1]
    width = max((len(row) for row, _ in kept), default=1)
    return Sequences(
        torch.tensor([row + [0] * (width - len(row)) for row, _ in kept]).reshape(-1, width),
        torch.tensor([len(row) for row, _ in kept], dtype=torch.long),
        [said for _, said in kept],
    )


def of_prompts(prompts: Prompts) -> Sequences:
    """The test prompts of a task, both members of every pair."""
    about = []
    for index, pair in enumerate(prompts.pairs):
        for member, answer in (("clean", pair.clean_answer), ("corrupted", pair.corrupted_answer)):
            about.append({"source": pair.source, "pair": index, "member": member, "answer": answer})
    return Sequences(prompts.tokens, prompts.last + 1, about)


def around(circuit: Circuit, node: str) -> list[str]:
    """The nodes whose values are computed with one's: its circuit's, some hundreds at most."""
    names = circuit.node_names()
    if node not in names:
        return [node]
    start = names.index(node) // TOGETHER * TOGETHER
    return names[start : start + TOGETHER]


def values(
    model: Model,
    names: list[str],
    texts: Sequences,
    turns: Turns,
    work: Work,
    piece: int = PIECE,
) -> Tensor:
    """Values of some nodes, float16 [node, sequence, token], in small background turns."""
    places = [parse_node(name) for name in names]
    keys = sorted({key for key, _ in places})
    found = torch.zeros(len(names), *texts.tokens.shape, dtype=torch.float16)
    work.total = len(texts.tokens)
    for start in range(0, len(texts.tokens), piece):
        work.going()
        rows = slice(start, start + piece)
        with turns.background(), torch.inference_mode(), record(model.network, keys) as seen:
            model.network(texts.tokens[rows])
            for i, (key, channel) in enumerate(places):
                found[i, rows] = seen[key][..., channel].half()
        work.done = min(start + piece, work.total)
    return found


def answer(
    node: str,
    kind: str,
    found: Tensor,
    texts: Sequences,
    model: Model,
    said: Tensor | None = None,
) -> dict[str, Any]:
    """One node's examples: largest, most negative, two quantiles of its peaks, and random ones.

    Args:
        node: Its name.
        kind: Which text.
        found: Its values, [sequence token].
        texts: The text.
        model: The model.
        said: Where its explanation says that it fires, [sequence token]; see `meanings.holds`.
    """
    real = torch.arange(texts.tokens.shape[1])[None] < texts.lengths[:, None]
    values = found.float().masked_fill(~real, 0)
    flat = values[real]
    high, high_at = values.masked_fill(~real, -torch.inf).max(1)
    low, low_at = values.masked_fill(~real, torch.inf).min(1)
    peak_at = torch.where(high.abs() >= low.abs(), high_at, low_at)
    peak = values.gather(1, peak_at[:, None])[:, 0]
    order = peak.abs().argsort(descending=True, stable=True)

    def group(name: str, title: str, rows: Tensor, at: Tensor) -> dict[str, Any]:
        examples = [_example(model, texts, values, int(row), int(at[row]), said) for row in rows]
        return {"name": name, "title": title, "examples": examples}

    def around(share: float) -> Tensor:
        middle = int((1 - share) * max(0, len(order) - 1))
        first = max(0, min(middle - SHOWN // 2, len(order) - SHOWN))
        return order[first : first + SHOWN]

    tops = high.argsort(descending=True, stable=True)[:SHOWN]
    bottoms = low.argsort(stable=True)[:SHOWN]
    dice = torch.from_numpy(np.random.default_rng(0).permutation(len(values))[:SHOWN])
    return {
        "node": node,
        "text": kind,
        "state": "ready",
        "sequences": len(values),
        "tokens": len(flat),
        "active": round(float((flat != 0).float().mean()), 5),
        "minimum": round(float(flat.min()), 5),
        "maximum": round(float(flat.max()), 5),
        "mean": round(float(flat.mean()), 6),
        "histogram": histogram(flat.numpy()),
        "groups": [
            group("top", "Largest", tops[high[tops] > 0], high_at),
            group("bottom", "Most negative", bottoms[low[bottoms] < 0], low_at),
            group("q90", "Around the 90 % quantile of peaks", around(0.9), peak_at),
            group("q50", "Around the median of peaks", around(0.5), peak_at),
            group("random", "Random (seed 0)", dice, peak_at),
        ],
    }


def histogram(values: np.ndarray) -> dict[str, Any]:
    """Counts of values in bins of equal width, none of which holds both signs.

    Exact zeros, which AbsTopK makes of most values, are counted apart.

    Args:
        values: Any number of finite values.

    Returns:
        "edges" in order, "counts" of the bins between them, and "zeros".
    """
    kept = values[values != 0].astype(np.float64)
    zeros = int(values.size - kept.size)
    if not kept.size:
        return {"edges": [], "counts": [], "zeros": zeros}
    low, high = min(float(kept.min()), 0.0), max(float(kept.max()), 0.0)
    width = (high - low) / BINS
    steps = np.arange(math.floor(low / width), math.ceil(high / width) + 1)
    # By number, not by np.histogram: rounding must move no value across zero or out of the bins.
    place = np.where(kept > 0, np.ceil(kept / width) - 1, np.floor(kept / width)).astype(int)
    counts = np.bincount(np.clip(place - steps[0], 0, len(steps) - 2), minlength=len(steps) - 1)
    return {
        "edges": [float(f"{edge:.6g}") for edge in steps * width],
        "counts": counts.tolist(),
        "zeros": zeros,
    }


def _example(
    model: Model, texts: Sequences, values: Tensor, row: int, at: int, said: Tensor | None
) -> dict[str, Any]:
    length = int(texts.lengths[row])
    return texts.about[row] | {
        "tokens": [model.tokenizer.token(t) for t in texts.tokens[row, :length].tolist()],
        "values": [round(v, 4) for v in values[row, :length].tolist()],
        "said": None if said is None else said[row, :length].tolist(),
        "at": at,
    }

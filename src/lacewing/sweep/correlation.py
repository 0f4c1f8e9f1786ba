"""Do two models find the same tokens hard? Correlation of their losses on the same text.

Pearson's is of the logarithms of the losses, as in the paper's scatter (Fig. 33), with losses under
1e-4 nats counted as that; Spearman's is of their ranks. Intervals (95 %) resample sequences, since
the tokens of one sequence are not independent.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing import artifacts
from lacewing.statistics import interval, weighted_correlation
from lacewing.sweep.gather import Found, Row
from lacewing.sweep.jobs import LOSSES
from lacewing.sweep.points import MODEL

SMALLEST = 1e-4
RESAMPLES = 400


@dataclass(frozen=True)
class Correlation:
    """Correlations of two models' token losses."""

    tokens: int
    sequences: int
    pearson: float
    pearson_interval: tuple[float, float]
    spearman: float
    spearman_interval: tuple[float, float]


def correlate(
    first: Float[np.ndarray, "sequence token"],
    second: Float[np.ndarray, "sequence token"],
    seed: int = 0,
) -> Correlation:
    """Pearson's and Spearman's correlation, with bootstrap intervals.

    Args:
        first: Losses of one model, nats.
        second: Losses of another on the same tokens.
        seed: Of the bootstrap.
    """
    x, y = (np.log(np.maximum(losses, SMALLEST)).ravel() for losses in (first, second))
    ranks_x, ranks_y = (_Ranks(losses.ravel()) for losses in (first, second))
    sequences, length = first.shape
    one = np.ones(len(x))
    drawn = np.random.default_rng(seed).integers(sequences, size=(RESAMPLES, sequences))
    samples = []
    for chosen in drawn:
        weight = np.bincount(chosen, minlength=sequences).repeat(length).astype(float)
        samples.append(
            (
                weighted_correlation(x, y, weight),
                weighted_correlation(ranks_x(weight), ranks_y(weight), weight),
            )
        )
    pearson, spearman = np.array(samples).T
    return Correlation(
        tokens=first.size,
        sequences=sequences,
        pearson=weighted_correlation(x, y, one),
        pearson_interval=interval(pearson),
        spearman=weighted_correlation(ranks_x(one), ranks_y(one), one),
        spearman_interval=interval(spearman),
    )


class _Ranks:
    """Ranks of fixed values under weights: sorted once, however often they are resampled."""

    def __init__(self, values: Float[np.ndarray, " sample"]) -> None:
        distinct, self.place = np.unique(values, return_inverse=True)
        self.distinct = len(distinct)

    def __call__(self, weight: Float[np.ndarray, " sample"]) -> Float[np.ndarray, " sample"]:
        """Mean rank of every value among copies of all, as many as its weight says."""
        count = np.bincount(self.place, weight, minlength=self.distinct)
        return (np.cumsum(count) - (count - 1) / 2)[self.place]


def losses_of(output: Path, point: str) -> dict[str, np.ndarray]:
    """Token losses of a model and its twin, [sequence, token] nats, by side."""
    tensors = artifacts.open_folder(output / "jobs" / point / "model", MODEL).tensors(LOSSES)
    return {side: tensor.numpy() for side, tensor in tensors.items()}


def correlations(found: Found, output: Path) -> list[Row]:
    """Every sparse model with its twin, and models of one kind that differ only in the seed.

    The latter are the control: so much do two models agree that are alike.
    """
    table: list[Row] = []
    pairs = {m["point"] for m in found.models if m["side"] == "dense"}
    for model in found.models:
        if model["side"] == "sparse" and model["point"] in pairs:
            losses = losses_of(output, model["point"])
            table.append(_row("sparse-dense", model, model, losses["sparse"], losses["dense"]))
        other = _other_seed(model, found.models)
        if other is not None:
            mine, theirs = (losses_of(output, m["point"])[model["side"]] for m in (model, other))
            kind = f"{model['side']}-{model['side']}"
            table.append(_row(kind, model, other, mine, theirs))
    return table


def _other_seed(model: Row, models: list[Row]) -> Row | None:
    """The next model that differs in nothing but the seed."""
    start = model["point"].rsplit("-s", 1)[0]
    for other in models[models.index(model) + 1 :]:
        same = other["point"].rsplit("-s", 1)[0] == start and other["side"] == model["side"]
        if same and other["seed"] != model["seed"]:
            return other
    return None


def _row(kind: str, a: Row, b: Row, first: np.ndarray, second: np.ndarray) -> Row:
    facts: dict[str, Any] = {"kind": kind, "point": a["point"], "other": b["point"]}
    return facts | asdict(correlate(first.astype(float), second.astype(float)))

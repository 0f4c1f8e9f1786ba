"""Samples of a node's activations: top, by quantile, uniform and near misses, each with its weight.

A weight is one over the chance that an example was taken, so that weighted sums are those of the
whole text. Near misses are tokens that are the same as firing ones while the node does not fire.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing.explain.firing import Firing
from lacewing.explain.text import Part, Text

TOP, QUANTILES, EACH, UNIFORM, MISSES = 200, 10, 20, 2000, 200


@dataclass(frozen=True)
class Sample:
    """One token that was taken."""

    at: int
    """Its place in the text."""
    value: float
    weight: float
    part: Part


def samples(
    text: Text, values: Float[np.ndarray, " token"], firing: Firing | None, seed: int = 0
) -> dict[str, list[Sample]]:
    """The samples of one node, by kind; near misses only where it fires at all."""
    dice = np.random.default_rng(seed)
    sign = firing.sign if firing else 1
    order = np.argsort(-sign * values, kind="stable")
    uniform = np.sort(dice.choice(len(text), min(UNIFORM, len(text)), replace=False))
    found = {
        "top": _taken(text, values, order[:TOP], 1.0),
        "uniform": _taken(text, values, uniform, len(text) / len(uniform)),
        "quantile": [],
        "near_miss": [],
    }
    for group in np.array_split(order[::-1], QUANTILES):
        chosen = dice.choice(group, min(EACH, len(group)), replace=False)
        found["quantile"] += _taken(text, values, chosen, len(group) / max(len(chosen), 1))
    if firing is not None:
        fires = firing.fires(values)
        known = np.zeros(len(text.pieces), dtype=bool)
        known[text.ids[fires]] = True
        misses = np.flatnonzero(known[text.ids] & ~fires)
        chosen = dice.choice(misses, min(MISSES, len(misses)), replace=False)
        found["near_miss"] = _taken(text, values, chosen, len(misses) / max(len(chosen), 1))
    return found


def moments(values: Float[np.ndarray, " token"]) -> dict[str, float]:
    """Mean, variance, skewness, kurtosis and the share that is not zero."""
    centred = values.astype(np.float64) - values.mean()
    variance = float((centred**2).mean())
    scale = variance or 1.0
    return {
        "mean": float(values.mean()),
        "variance": variance,
        "skewness": float((centred**3).mean() / scale**1.5),
        "kurtosis": float((centred**4).mean() / scale**2),
        "nonzero": float((values != 0).mean()),
    }


def as_json(text: Text, sample: Sample) -> dict[str, Any]:
    """An example as a record holds it: the window up to the token and a little after."""
    tokens, place = text.around(sample.at)
    return {
        "document": text.paths[text.document[sample.at]],
        "start": sample.at - place,
        "tokens": tokens,
        "at": place,
        "value": sample.value,
        "weight": sample.weight,
        "split": sample.part,
    }


def _taken(
    text: Text, values: Float[np.ndarray, " token"], places: np.ndarray, weight: float
) -> list[Sample]:
    def part(at: int) -> Part:
        return next(name for name, s in text.slices.items() if s.start <= at < s.stop)

    return [Sample(int(at), float(values[at]), float(weight), part(int(at))) for at in places]

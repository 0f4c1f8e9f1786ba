"""The formats of OpenAI's automated-interpretability (2023): written, read, and its scores.

Every JSON object carries its `dataclass_name`. A record holds whole windows: those with the largest
values, random ones, and random ones by quantile of their largest value. `simulation_scores` is the
published formula: correlation, R2 that is not centred, and the share of absolute deviation.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.explain.samples import moments
from lacewing.explain.text import Text
from lacewing.model.sites import parse_node

TOP, RANDOM, GROUPS, EACH = 20, 20, 10, 5
SEQUENCE_NAMES = ("random_sample", "most_positive_activation_records")


@dataclass(frozen=True)
class ActivationRecord:
    """A window and the node's value at each of its tokens."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]


@dataclass(frozen=True)
class NeuronRecord:
    """What the 2023 format says of one neuron."""

    layer_index: int
    neuron_index: int
    random_sample: tuple[ActivationRecord, ...]
    random_sample_by_quantile: tuple[tuple[ActivationRecord, ...], ...]
    quantile_boundaries: tuple[float, ...]
    mean: float
    variance: float
    skewness: float
    kurtosis: float
    most_positive_activation_records: tuple[ActivationRecord, ...]

    def as_json(self) -> dict[str, Any]:
        """The object as the published files have it; a value that is not finite is null."""
        plain: dict[str, Any] = {
            "dataclass_name": "NeuronRecord",
            "neuron_id": {
                "dataclass_name": "NeuronId",
                "layer_index": self.layer_index,
                "neuron_index": self.neuron_index,
            },
            "random_sample_by_quantile": [
                [_record_json(r) for r in group] for group in self.random_sample_by_quantile
            ],
            "quantile_boundaries": list(self.quantile_boundaries),
        }
        plain |= {name: [_record_json(r) for r in getattr(self, name)] for name in SEQUENCE_NAMES}
        for name in ("mean", "variance", "skewness", "kurtosis"):
            value = getattr(self, name)
            plain[name] = value if math.isfinite(value) else None
        return plain

    def save(self, path: Path) -> None:
        """Write the file: one line of JSON."""
        artifacts.write_bytes(path, (json.dumps(self.as_json()) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> "NeuronRecord":
        """Read a file of this format, ours or a published one.

        Raises:
            ArtifactError: missing, or another format.
        """
        plain = artifacts.read_json(path)
        try:
            if plain["dataclass_name"] != "NeuronRecord":
                raise KeyError(f"dataclass_name is {plain['dataclass_name']!r}")
            groups = plain.get("random_sample_by_quantile") or ()
            return cls(
                layer_index=int(plain["neuron_id"]["layer_index"]),
                neuron_index=int(plain["neuron_id"]["neuron_index"]),
                random_sample=_records_of(plain.get("random_sample")),
                random_sample_by_quantile=tuple(map(_records_of, groups)),
                quantile_boundaries=tuple(plain.get("quantile_boundaries") or ()),
                mean=_number(plain.get("mean")),
                variance=_number(plain.get("variance")),
                skewness=_number(plain.get("skewness")),
                kurtosis=_number(plain.get("kurtosis")),
                most_positive_activation_records=_records_of(
                    plain.get("most_positive_activation_records")
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ArtifactError(f"{path} is no NeuronRecord of 2023 ({error})") from error


def neuron_record(
    text: Text, node: str, values: Float[np.ndarray, " token"], seed: int = 0
) -> NeuronRecord:
    """A node's record over a text; `resid_final` counts as layer -1."""
    key, channel = parse_node(node)
    layer = key.partition(".")[0]
    dice = np.random.default_rng(seed)
    begins = np.flatnonzero(text.first)
    peak = np.maximum.reduceat(values, begins)
    order = np.argsort(-peak, kind="stable")
    windows = np.arange(len(begins))
    bounds = np.quantile(peak, np.linspace(0, 1, GROUPS + 1))[1:-1]
    by_quantile = [
        dice.permutation(windows[np.digitize(peak, bounds) == g])[:EACH] for g in range(GROUPS)
    ]
    found = moments(values)

    def records(chosen: np.ndarray) -> tuple[ActivationRecord, ...]:
        return tuple(_window(text, values, begins, int(w)) for w in chosen)

    return NeuronRecord(
        layer_index=int(layer) if layer.isdigit() else -1,
        neuron_index=channel,
        random_sample=records(dice.permutation(windows)[:RANDOM]),
        random_sample_by_quantile=tuple(records(group) for group in by_quantile),
        quantile_boundaries=tuple(float(b) for b in bounds),
        mean=found["mean"],
        variance=found["variance"],
        skewness=found["skewness"],
        kurtosis=found["kurtosis"],
        most_positive_activation_records=records(order[:TOP]),
    )


def simulation_scores(
    records: Sequence[ActivationRecord], simulated: Sequence[Sequence[float]]
) -> dict[str, float]:
    """The 2023 scores of simulated values, over all tokens of all records together."""
    true = np.concatenate([np.array(record.activations) for record in records])
    guess = np.concatenate([np.array(values, dtype=float) for values in simulated])
    return {
        "ev_correlation_score": float(np.corrcoef(true, guess)[0, 1]),
        "rsquared_score": float(1 - np.mean((true - guess) ** 2) / np.mean(true**2)),
        "absolute_dev_explained_score": float(
            1 - np.mean(np.abs(true - guess)) / np.mean(np.abs(true))
        ),
    }


def _window(
    text: Text, values: Float[np.ndarray, " token"], begins: np.ndarray, number: int
) -> ActivationRecord:
    end = begins[number + 1] if number + 1 < len(begins) else len(text)
    place = slice(int(begins[number]), int(end))
    tokens = tuple(text.pieces[i] for i in text.ids[place])
    return ActivationRecord(tokens, tuple(float(v) for v in values[place]))


def _record_json(record: ActivationRecord) -> dict[str, Any]:
    return {
        "dataclass_name": "ActivationRecord",
        "tokens": list(record.tokens),
        "activations": list(record.activations),
    }


def _record_of(plain: Mapping[str, Any]) -> ActivationRecord:
    tokens, values = tuple(map(str, plain["tokens"])), plain["activations"]
    if len(tokens) != len(values):
        raise ValueError(f"{len(tokens)} tokens with {len(values)} activations")
    return ActivationRecord(tokens, tuple(map(_number, values)))


def _records_of(rows: Sequence[Mapping[str, Any]] | None) -> tuple[ActivationRecord, ...]:
    return tuple(map(_record_of, rows or ()))


def _number(value: float | None) -> float:
    """A null was not finite."""
    return math.nan if value is None else float(value)

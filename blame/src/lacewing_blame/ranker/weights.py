"""The ranker's weights: log-odds per feature, on disk as plain JSON with where they come from."""

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lacewing_blame.errors import ArtifactError
from lacewing_blame.files import read_json, write_json
from lacewing_blame.ranker.features import Features
from lacewing_blame.ranker.meanings import MEANINGS

FORMAT = "lacewing-blame-ranker-1"
SHIPPED = Path(__file__).with_name("weights.json")


@dataclass(frozen=True)
class Weights:
    """What one kind of run is ranked by."""

    weights: Mapping[str, float]
    """Log-odds per unit of each feature."""
    temperature: float = 1.0
    """Divides the scores."""
    runs: int = 0
    """Labelled runs of this kind they were learned from; 0 where they come from the other kind."""

    def scores(self, seen: Features) -> np.ndarray:
        """A score per candidate, in log-odds."""
        vector = np.array(list(self.weights.values()))
        scores: np.ndarray = seen.columns(tuple(self.weights)) @ vector / self.temperature
        return scores


@dataclass(frozen=True)
class Ranker:
    """Weights for both kinds of runs."""

    flat: Weights
    """Everybody acts."""
    coordinated: Weights
    """One agent plans and keeps a ledger."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What they were learned from, and how."""

    def of(self, seen: Features) -> Weights:
        """The weights for this run."""
        return self.coordinated if seen.coordinated else self.flat

    def save(self, path: Path) -> None:
        """Write the weights as JSON."""
        write_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> "Ranker":
        """Read weights.

        Raises:
            ArtifactError: missing, not JSON, of another format, or with unusable numbers.
        """
        saved = read_json(path)
        if not isinstance(saved, dict) or saved.get("format") != FORMAT:
            raise ArtifactError(f"{path} holds no weights of blame; write them with blame train")
        try:
            flat, coordinated = (
                Weights(
                    {str(name): float(weight) for name, weight in saved[kind]["weights"].items()},
                    float(saved[kind]["temperature"]),
                    int(saved[kind]["runs"]),
                )
                for kind in ("flat", "coordinated")
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{path} is damaged ({error!r:.80}); train again") from error
        for one in (flat, coordinated):
            unknown = set(one.weights) - set(MEANINGS)
            if unknown:
                raise ArtifactError(
                    f"{path} weighs a feature this version does not know "
                    f"({min(unknown):.40}); train again"
                )
            numbers = (*one.weights.values(), one.temperature)
            if not all(map(math.isfinite, numbers)) or one.temperature <= 0:
                raise ArtifactError(f"{path} is damaged (a number is not usable); train again")
        return cls(flat, coordinated, saved.get("provenance") or {})

    @classmethod
    def shipped(cls) -> "Ranker":
        """The weights that come with this package, learned from Who&When."""
        return _shipped()


@functools.cache
def _shipped() -> Ranker:
    return Ranker.load(SHIPPED)

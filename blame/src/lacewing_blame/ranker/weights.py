"""The ranker's weights: log-odds per feature, on disk as plain JSON with where they come from."""

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lacewing_blame.errors import ArtifactError
from lacewing_blame.events import Trace
from lacewing_blame.files import read_json, write_json
from lacewing_blame.ranker.features import features
from lacewing_blame.ranker.general import general
from lacewing_blame.ranker.meanings import MEANINGS
from lacewing_blame.ranker.seen import Features, Kind
from lacewing_blame.ranker.shape import kind_of
from lacewing_blame.signals.meanings import SIGNALS

FORMAT = "lacewing-blame-ranker-2"
SHIPPED = Path(__file__).with_name("weights.json")
KINDS: tuple[Kind, ...] = ("general", "flat", "coordinated")


@dataclass(frozen=True)
class Weights:
    """What one kind of run is ranked by."""

    weights: Mapping[str, float]
    """Log-odds per unit of each feature."""
    temperature: float = 1.0
    """Divides the scores."""
    runs: int = 0
    """Labelled runs that they were learned from."""
    answers_from: float = 0.0
    """The probability from which a step is named; below it nobody is."""

    def scores(self, seen: Features) -> list[float]:
        """A score per candidate, in log-odds."""
        return [score / self.temperature for score in seen.scores(self.weights)]


@dataclass(frozen=True)
class Ranker:
    """Weights for every kind of run; those of Who&When's kinds may be missing."""

    general: Weights
    """Signals of any system."""
    flat: Weights | None = None
    """Everybody acts."""
    coordinated: Weights | None = None
    """One agent plans and keeps a ledger."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What they were learned from, and how."""

    def see(self, trace: Trace) -> Features:
        """What these weights look at in a run."""
        kind = kind_of(trace)
        known = kind != "general" and getattr(self, kind) is not None
        return features(trace) if known else general(trace)

    def of(self, seen: Features) -> Weights:
        """The weights for this run."""
        found = getattr(self, seen.kind)
        return found if isinstance(found, Weights) else self.general

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
        if isinstance(saved, dict) and saved.get("format") == "lacewing-blame-ranker-1":
            raise ArtifactError(f"{path} holds weights of an older version; train again")
        if not isinstance(saved, dict) or saved.get("format") != FORMAT:
            raise ArtifactError(f"{path} holds no weights of blame; write them with blame train")
        try:
            found = {
                kind: _weights(saved[kind])
                for kind in KINDS
                if kind == "general" or saved[kind] is not None
            }
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ArtifactError(f"{path} is damaged ({error!r:.80}); train again") from error
        for kind, one in found.items():
            unknown = set(one.weights) - set(SIGNALS if kind == "general" else MEANINGS)
            if unknown:
                raise ArtifactError(
                    f"{path} weighs a feature this version does not know "
                    f"({min(map(str, unknown)):.40}); train again"
                )
            numbers = (*one.weights.values(), one.temperature, one.answers_from)
            usable = all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
            if not usable or one.temperature <= 0:
                raise ArtifactError(f"{path} is damaged (a number is not usable); train again")
        provenance = saved.get("provenance") or {}
        if not isinstance(provenance, dict):
            raise ArtifactError(f"{path} is damaged (its provenance is no object); train again")
        return cls(**found, provenance=provenance)

    @classmethod
    def shipped(cls) -> "Ranker":
        """The weights that come with this package."""
        return _shipped()


def _weights(saved: Mapping[str, Any]) -> Weights:
    return Weights(
        {str(name): float(weight) for name, weight in saved["weights"].items()},
        float(saved["temperature"]),
        int(saved["runs"]),
        float(saved.get("answers_from", 0.0)),
    )


@functools.cache
def _shipped() -> Ranker:
    return Ranker.load(SHIPPED)

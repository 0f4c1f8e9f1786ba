"""What circuit.json says: everything of a circuit but its arrays and pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lacewing.artifacts import EXACT, LOOSE
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.parts import Parts
from lacewing.errors import ConfigError

Ablation = Literal["mean", "zero", "resample"]


@dataclass(frozen=True)
class NodesOnly:
    """What a circuit was before its edges were pruned."""

    __pydantic_config__ = EXACT

    nodes: int
    edges: int
    loss: float
    """Task loss on test prompts, nats."""


@dataclass(frozen=True)
class SavedCalibration:
    """A calibration; JSON has its tokens as text."""

    __pydantic_config__ = EXACT

    scale: float
    bias: dict[str, float]

    def __post_init__(self) -> None:
        if odd := [token for token in self.bias if not token.isdecimal() or len(token) > 9]:
            raise ConfigError(
                f"calibration.bias: {odd[0]!r:.40} is no token id: damaged or foreign"
            )


@dataclass(frozen=True)
class Facts:
    """circuit.json, in today's layout."""

    __pydantic_config__ = EXACT

    model_id: str
    model_source: str
    task: str
    answers: tuple[int, ...]
    ablation: Ablation
    config: PruneConfig
    losses: Mapping[str, float] = field(default_factory=dict)
    calibration: SavedCalibration | None = None
    tokenizer_id: str | None = None
    seconds: float | None = None
    nodes_only: NodesOnly | None = None
    edited_from: str | None = None
    edits: tuple[dict[str, Any], ...] = ()
    parts: Parts | None = None

    def __post_init__(self) -> None:
        if any(answer < 0 for answer in self.answers):
            raise ConfigError(f"answers: a token id cannot be negative, as in {list(self.answers)}")


@dataclass(frozen=True)
class Without:
    """The row of one component in certificate.json."""

    __pydantic_config__ = LOOSE

    loss_without: float


@dataclass(frozen=True)
class SavedCertificate:
    """certificate.json; what else stands there follows from these."""

    __pydantic_config__ = LOOSE

    target_loss: float
    loss: float
    nodes: dict[str, Without]
    edges: dict[str, Without]

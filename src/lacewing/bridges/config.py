"""What bridges are trained with, beside the training of the sparse model."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from annotated_types import Interval

from lacewing import bounds
from lacewing.artifacts import EXACT
from lacewing.bounds import NotNegative, Positive


@dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """The bridges and their losses. The paper gives no weights: all are 1 here.

    Raises:
        ConfigError: a value out of its bounds.
    """

    __pydantic_config__ = EXACT

    encoder_kept: Annotated[float, Interval(gt=0, le=1)] = 0.25
    """Fraction of the sparse model's channels that AbsTopK keeps of what an encoder says."""
    bridge_learning_rate: Positive = 0.003
    """Peak learning rate of the bridges' Adam; it rises and falls as the model's does."""
    nmse: NotNegative = 1.0
    """Weight of the normalised squared errors, both ways."""
    kl_to_sparse: NotNegative = 1.0
    """Weight of the divergence of paths that begin dense and end sparse."""
    kl_to_dense: NotNegative = 1.0
    """Weight of the divergence of paths that begin sparse and end dense."""
    kl_direct: NotNegative = 0.0
    """Weight of the divergence of the whole sparse model, which has no bridge in it."""
    fit_tokens: Annotated[int, Interval(ge=0, le=10**8)] = 16_384
    """Tokens that the bridges are fitted on by least squares before the first step; 0: they begin
    at random."""

    def __post_init__(self) -> None:
        bounds.check(self)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

"""What a sparse autoencoder is trained with."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval

from lacewing import bounds
from lacewing.artifacts import EXACT
from lacewing.bounds import Count, NotNegative, Positive, Seed

Kind = Literal["topk", "abstopk"]


@dataclass(frozen=True, kw_only=True)
class SaeConfig:
    """The training of sparse autoencoders at some sites, all alike.

    Raises:
        ConfigError: a value out of its bounds.
    """

    __pydantic_config__ = EXACT

    kind: Kind = "topk"
    """topk keeps the largest values above zero, abstopk the largest magnitudes with their signs."""
    transcoder: bool = False
    """Compute what an MLP writes from what it reads, instead of a site from itself."""
    expansion: Annotated[int, Interval(ge=1, le=1024)] = 8
    """Latents per channel of the site that is read."""
    k: Annotated[int, Interval(ge=1, le=2**16)] = 32
    """Latents that are not zero at a token."""
    tokens: Count = 1_000_000
    """Tokens of text to train on; text that is shorter is gone through again."""
    batch: Annotated[int, Interval(ge=1, le=2**16)] = 16
    """Windows of text per step."""
    learning_rate: Positive = 0.07
    """Of Adam, as a share of the size of a weight: it is divided by the root of the site's
    channels, as rows of the decoder have length one. It falls to zero over the last fifth."""
    dead_after: Count = 100_000
    """Tokens without being used, after which a latent is dead and learns from what others miss; a
    tenth of all tokens where that is less."""
    revival: NotNegative = 1 / 8
    """Weight of the loss by which dead latents learn; 0 for none."""
    held_out: Count = 8192
    """Tokens of held-out text that the figures are measured on."""
    seed: Seed = 0
    """Draws the weights, the order of the text and the intervals."""
    checkpoint_seconds: Annotated[float, Interval(ge=0, le=1e6)] = 60.0
    """Seconds between two checkpoints."""

    def __post_init__(self) -> None:
        bounds.check(self)

    @property
    def patience(self) -> int:
        """Tokens after which a latent is dead."""
        return min(self.dead_after, max(1, self.tokens // 10))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

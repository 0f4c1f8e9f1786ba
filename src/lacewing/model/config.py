"""What a transformer is made of. Plain values only, so that this imports in no time."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from lacewing.artifacts import EXACT
from lacewing.errors import ConfigError

BLOCK_SITES = (
    "attn_in",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_out",
    "mlp_in",
    "mlp_neuron",
    "mlp_out",
)
"""The eight sites of a block, in the order they are computed (paper Fig. 12)."""
RESIDUAL_SITES = ("resid_pre", "resid_mid", "resid_post")
"""Where AbsTopK may also act on the residual stream itself: before a block, between its two parts,
after it. Some models of others were trained so; no node lives there."""

LARGEST = {
    "n_layer": 1024,
    "d_model": 2**16,
    "d_head": 2**16,
    "d_mlp": 2**18,
    "vocab_size": 2**18,
    "context": 2**17,
    "d_position": 2**16,
}
"""Beyond any model that is meant; what is larger is a slip, or a file that wants all memory."""
MOST_PARAMETERS = 2**32
"""The same for their number: 16 GiB in float32."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of one transformer; dense and sparse models are the same class.

    Raises:
        ConfigError: a size out of its bounds, or that does not fit the others, naming both.
    """

    __pydantic_config__ = EXACT

    n_layer: int = 3
    """Blocks, each attention then MLP."""
    d_model: int = 256
    """Width of the residual stream, in channels."""
    d_head: int = 16
    """Channels per attention head; d_model must be a multiple."""
    d_mlp: int = 1024
    """Neurons per MLP; four times d_model in the paper."""
    vocab_size: int = 2048
    """Tokens the tokenizer knows."""
    context: int = 128
    """Tokens per training sequence."""
    abs_topk: float | None = 0.25
    """Fraction of channels that AbsTopK keeps at its sites; none switches it off."""
    abs_topk_sites: tuple[str, ...] = BLOCK_SITES
    """Sites where AbsTopK acts (paper Fig. 12: all eight); RESIDUAL_SITES too."""
    sinks: bool = False
    """One learned attention-sink logit per head (paper A.1)."""
    d_position: int = 0
    """Width of a learned position embedding, concatenated to what each block reads; 0: none."""
    bigram: bool = True
    """Trained vocabulary x vocabulary table whose row of the current token joins the logits."""

    # What models of others have; those trained here do not.
    added_positions: bool = False
    """A learned position embedding added to the token's; not together with `d_position`."""
    position_gains: bool = False
    """A learned gain per position channel, for each of the two reads of every block."""
    output_bias: bool = False
    """A fixed number per token added to the logits."""
    activation: Literal["gelu", "relu"] = "gelu"
    """What the neurons of the MLP go through."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "abs_topk_sites", tuple(self.abs_topk_sites))
        for name, most in LARGEST.items():
            least, value = int(name != "d_position"), getattr(self, name)
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, not {value}")
            if value > most:
                raise ConfigError(f"{name} must be at most {most:,}, not {value:,}")
        if self.parameters > MOST_PARAMETERS:
            raise ConfigError(
                f"n_layer {self.n_layer}, d_model {self.d_model}, d_mlp {self.d_mlp} and "
                f"vocab_size {self.vocab_size} make {self.parameters:,} parameters: at most "
                f"{MOST_PARAMETERS:,}"
            )
        if self.d_model % self.d_head:
            raise ConfigError(
                f"d_model {self.d_model} is not a multiple of d_head {self.d_head}: change one"
            )
        if self.abs_topk is not None and not 0 < self.abs_topk <= 1:
            raise ConfigError(f"abs_topk must lie in (0, 1], not {self.abs_topk}")
        unknown = set(self.abs_topk_sites) - {*BLOCK_SITES, *RESIDUAL_SITES}
        if unknown:
            raise ConfigError(
                f"unknown abs_topk_sites {sorted(unknown)}; choose from {', '.join(BLOCK_SITES)}"
            )
        self._check_positions()

    def _check_positions(self) -> None:
        if self.added_positions and self.d_position:
            raise ConfigError(
                f"added_positions cannot go with d_position {self.d_position}: positions are added "
                "or concatenated, not both"
            )
        if self.position_gains and not self.d_position:
            raise ConfigError("position_gains need position channels: set d_position")
        if self.activation not in ("gelu", "relu"):
            raise ConfigError(f"activation must be gelu or relu, not {self.activation!r}")

    @property
    def n_head(self) -> int:
        """Attention heads per block."""
        return self.d_model // self.d_head

    @property
    def n_key_head(self) -> int:
        """Heads with keys and values of their own: all."""
        return self.n_head

    @property
    def d_read(self) -> int:
        """Channels that attention and MLP read: the residual stream and the positions beside it."""
        return self.d_model + self.d_position

    @property
    def parameters(self) -> int:
        """Numbers in the matrices of the model, which is all but a few of its parameters."""
        read, d, vocab = self.d_read, self.d_model, self.vocab_size
        block = 3 * d * read + d * d + self.d_mlp * (read + d)
        tables = 2 * vocab * d + self.context * (d if self.added_positions else self.d_position)
        return self.n_layer * block + tables + (vocab**2 if self.bigram else 0)

    @property
    def linear_residual(self) -> bool:
        """Whether the residual stream is a plain sum: AbsTopK acts on nothing of it."""
        return self.abs_topk is None or not set(self.abs_topk_sites) & set(RESIDUAL_SITES)

    def as_json(self) -> dict[str, Any]:
        """Plain values as files hold them: what only models of others have, where they have it.

        Files of models trained here are therefore those of older versions, to the byte.
        """
        newer = ("added_positions", "position_gains", "output_bias", "activation")
        usual = {f.name: f.default for f in fields(self) if f.name in newer}
        plain = asdict(self)
        return {k: v for k, v in plain.items() if k not in newer or v != usual[k]}

    def survivors(self, site: str, width: int) -> int | None:
        """How many of a site's `width` channels AbsTopK keeps; None where it does not act."""
        if self.abs_topk is None or site not in self.abs_topk_sites:
            return None
        return max(1, int(self.abs_topk * width))

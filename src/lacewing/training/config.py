"""Everything one training run depends on. Plain values only; no torch is imported here.

One dial sets the size: `expansion` (width = base_width x expansion) and `density` (nonzero weights
of a block matrix). Width, neurons, budgets of embeddings follow; each may be overridden.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from lacewing.artifacts import EXACT
from lacewing.bounds import Count, Decay, NotNegative, Positive, Seed, Share, check
from lacewing.errors import ConfigError
from lacewing.model.config import BLOCK_SITES, ModelConfig

RESIDUAL_AND_VALUE_SITES = tuple(s for s in BLOCK_SITES if s not in ("attn_q", "attn_k"))
"""Where AbsTopK acts in the models of the paper's Fig. 3: everywhere but on queries and keys."""

Width = Annotated[int, Interval(ge=1, le=2**16)]
"""Of a layer, a head, a batch."""
SPAN = 1000
"""Snapshots reach from the last step back to this fraction of it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One run. Defaults are the demo's: minutes on two cores.

    Raises:
        ConfigError: values that cannot work together, naming both.
    """

    __pydantic_config__ = EXACT

    # The dial.
    expansion: Annotated[float, Interval(gt=0, le=256)] = 1.25
    """Width relative to `base_width` (the paper's e)."""
    density: Annotated[float, Interval(gt=0, le=1)] = 1 / 20
    """Nonzero fraction of every block matrix at the end, in (0, 1]; 1 trains a dense model."""

    # Shape.
    base_width: Width = 256
    """Residual channels at expansion 1 (train.py of openai/circuit_sparsity)."""
    n_layer: Annotated[int, Interval(ge=1, le=1024)] = 2
    """Blocks, each attention then MLP."""
    d_model: Width | None = None
    """Residual channels; default base_width x expansion."""
    d_head: Width = 32
    """Channels per attention head."""
    d_mlp: Annotated[int, Interval(ge=1, le=2**18)] | None = None
    """Neurons per MLP; default 4 x d_model."""
    context: Annotated[int, Interval(ge=1, le=2**17)] = 64
    """Tokens per sequence."""
    abs_topk: Annotated[float, Interval(gt=0, le=1)] | None = 0.25
    """Fraction of channels AbsTopK keeps; none (always, in a dense model) switches it off."""
    abs_topk_sites: tuple[str, ...] = RESIDUAL_AND_VALUE_SITES
    """Sites where AbsTopK acts."""
    sinks: bool = True
    """Learned attention sinks."""
    d_position: Annotated[int, Interval(ge=0, le=2**16)] = 32
    """Width of a concatenated position embedding; 0: none."""
    bigram: bool = True
    """Trained bigram table added to the logits."""
    vocab_size: Annotated[int, Interval(ge=1, le=2**18)] = 2048
    """Tokens of the byte-level BPE trained on the corpus; ignored where a tokenizer is given."""

    # Beginning.
    start: str | None = None
    """A finished run, or builtin:NAME, whose weights and tokenizer this one begins with; density
    is then at its target from the first step."""
    start_step: Annotated[int, Interval(ge=0, le=10**12)] = 0
    """Steps of the schedule that the start has behind it; density and text go on from there."""

    # Length.
    tokens: Annotated[int, Interval(ge=1, le=10**15)] = 8_000_000
    """Training tokens in all."""
    batch: Width = 32
    """Sequences per step, over all processes and accumulated pieces."""
    accumulate: Width = 1
    """Pieces a step is cut into, so that less memory is needed; changes nothing else."""

    # Optimizer (paper A.2; Adam with decoupled decay after the projection).
    learning_rate: Positive = 0.02
    """Peak learning rate before the density factor."""
    beta1: Decay = 0.9
    """Decay of the gradient mean."""
    beta2: Decay = 0.95
    """Decay of the squared gradient."""
    epsilon: Positive = 0.1
    """Added to the root of the squared gradient; gradients have RMS 1."""
    weight_decay: NotNegative = 0.1
    """Decoupled decay of matrices, times the learning rate; not of the bigram table."""
    warmup: Share = 0.01
    """Fraction of the steps over which the learning rate rises linearly."""

    # Sparsity.
    anneal_start: Share = 0.01
    """Fraction of the steps after which density starts to fall from 1."""
    anneal_end: Share = 0.3
    """Fraction of the steps at which density reaches its target."""
    anneal: Literal["linear", "geometric"] = "geometric"
    """How density falls in between: by equal steps (published) or by equal factors."""
    floor: Annotated[int, Interval(ge=0, le=2**18)] = 4
    """Weights kept in every row of c_attn and c_fc and every column of both projections."""
    sparse_biases: bool = False
    """Keep only the largest biases too, as the paper; train.py as released leaves them dense."""

    zeros_from_every: Width = 1
    """Estimate the gradients of weights that are zero from every n-th token only: cheaper, not
    exact; 1 is exact."""

    # For proof (see `disturbance`); 0 leaves it out.
    ablated_nodes: Share = 0.0
    """Share of the nodes at random sites that is at its running mean, sequence by sequence."""
    ablated_halves: Share = 0.0
    """Share of the steps in which a random half of what is idle at every site is ablated."""
    idle_price: NotNegative = 0.0
    """Nats that the constant part of the residual stream costs where all of it is constant."""

    # Running.
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the matrix products; `auto` is bf16 where the device is fast at it. Weights and
    optimizer stay float32."""
    seed: Seed = 0
    """Seeds weights and batches."""
    evaluate_every: Count = 100
    """Steps between validation losses."""
    validation_tokens: Count = 65_536
    """Tokens of validation text the loss is measured on."""
    checkpoint_seconds: NotNegative = 60.0
    """Least time between checkpoints."""
    snapshots: Annotated[int, Interval(ge=0, le=10_000)] = 0
    """Compact models kept on the way, at logarithmic steps, in RUN/snapshots."""
    keep: tuple[Annotated[float, Interval(gt=0, lt=1)], ...] = ()
    """Shares of the steps after which the whole checkpoint is kept, in RUN/kept, for branches."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Where metrics go beside metrics.jsonl (extras of the same names)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "abs_topk_sites", tuple(self.abs_topk_sites))
        object.__setattr__(self, "trackers", tuple(self.trackers))
        object.__setattr__(self, "keep", tuple(self.keep))
        check(self)
        if not self.anneal_start < self.anneal_end:
            raise ConfigError(
                f"need 0 <= anneal_start < anneal_end <= 1, not {self.anneal_start} and "
                f"{self.anneal_end}"
            )
        if self.steps < 1:
            raise ConfigError(f"{self.tokens} tokens are less than one step of {self.step_tokens}")
        if self.start_step >= self.steps or (self.start_step and self.start is None):
            raise ConfigError(
                f"start_step {self.start_step} needs a start, and to lie below the {self.steps} "
                "steps"
            )

    @property
    def width(self) -> int:
        """Residual channels."""
        return self.d_model or round(self.base_width * self.expansion)

    @property
    def pfrac(self) -> float:
        """Nonzero budget relative to the base model: density x e squared (the paper's pfrac)."""
        return self.density * self.expansion**2

    @property
    def step_tokens(self) -> int:
        """Tokens per optimizer step."""
        return self.batch * self.context

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.tokens // self.step_tokens

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """Where compact models are kept: evenly by factors, up to the last step."""
        if not self.snapshots:
            return ()
        way = [(k + 1) / self.snapshots for k in range(self.snapshots)]
        return tuple(sorted({max(1, round(self.steps * SPAN ** (share - 1))) for share in way}))

    @property
    def kept_steps(self) -> tuple[int, ...]:
        """Where whole checkpoints are kept."""
        return tuple(max(1, round(share * self.steps)) for share in self.keep)

    @property
    def disturbed(self) -> bool:
        """Whether steps disturb the sites, or ask a price for them."""
        return max(self.ablated_nodes, self.ablated_halves, self.idle_price) > 0

    @property
    def sparse(self) -> bool:
        """Whether any weight is ever forced to zero."""
        return self.density < 1

    def model(self, vocab_size: int) -> ModelConfig:
        """The model this run trains, for a tokenizer of `vocab_size` tokens."""
        return ModelConfig(
            n_layer=self.n_layer,
            d_model=self.width,
            d_head=self.d_head,
            d_mlp=self.d_mlp or 4 * self.width,
            vocab_size=vocab_size,
            context=self.context,
            abs_topk=self.abs_topk if self.sparse else None,
            abs_topk_sites=self.abs_topk_sites,
            sinks=self.sinks,
            d_position=self.d_position,
            bigram=self.bigram,
        )

    def summary(self) -> str:
        """One line for people."""
        kind = f"density 1/{1 / self.density:.0f}" if self.sparse else "dense"
        millions = math.ceil(self.tokens / 1e5) / 10
        layers = "1 layer" if self.n_layer == 1 else f"{self.n_layer} layers"
        return f"{layers}, width {self.width}, {kind}, {millions:g} M tokens"

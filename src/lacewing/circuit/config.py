"""How a circuit is searched for. Plain values only; no torch is imported here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from lacewing.errors import ConfigError

Stress = Literal["attention", "subset", "resample", "zero", "frozen", "worst", "natural"]
"""What a robust circuit can be asked to stand (see `stress`)."""
STRESS: tuple[Stress, ...] = get_args(Stress)
ROBUST_PROMPTS = 3
"""How many times as many prompts a robust search sees whose seven kinds of stress take turns."""

SEEDS = 10
"""Circuits of other seeds that `verify` compares one with."""


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """One pruning. Defaults suit small models on two cores.

    Raises:
        ConfigError: a value out of its range.
    """

    target_loss: float = 0.15
    """Task loss the circuit must reach on validation prompts, in nats; ln 2 is chance."""
    seed: int = 0
    """Seeds the masks and the order of prompts."""

    # Budget.
    prompts: int = 4_608
    """Pairs of prompts seen in all, over the whole path of penalties; with `robust` up to three
    times as many."""
    batch: int = 24
    """Pairs per step (paper: 64)."""
    max_tokens: int = 64
    """Longest prompt, in tokens (paper: 256)."""
    train_pairs: int = 1024
    """Different pairs to learn the mask on."""
    validation_pairs: int = 256
    """Pairs the size of the circuit is chosen on."""
    test_pairs: int = 256
    """Pairs the losses are reported on; never used to choose anything."""

    # Mask training (paper Table 2).
    penalty_from: float = 1e-5
    """Cost of a kept node where the path of penalties begins (the paper's k_coef)."""
    penalty_to: float = 3e-2
    """Cost of a kept node where it ends; rises geometrically between."""
    stages: int = 3
    """Points of the path, over its later half, at which a circuit is cut out; the smallest wins."""
    learning_rate: float = 0.03
    """Step size of the mask; decays linearly to a tenth."""
    beta2: float = 0.95
    """Decay of the squared gradient (the paper's 1 - inv_beta2)."""
    weight_decay: float = 1e-3
    """AdamW decay of the mask."""
    init_bias: float = 0.1
    """Where the mask starts: above 0, so all nodes are on."""
    init_noise: float = 0.01
    """Spread of the mask around its start."""
    temperature: float = 1.0
    """Width of the surrogate for the step function."""
    clip: float = 1.0
    """Largest RMS of the mask's gradient; larger ones are scaled down to it."""

    edges: bool = False
    """After the nodes, prune single weights too, by a mask of nodes and edges learned around the
    circuit; not together with `robust`."""
    edge_masks: int = 3
    """How many such masks are learned, each from a seed of its own and around half as many nodes as
    the one before; what is found is joined and pruned again. More find smaller circuits, mostly."""
    robust: bool = False
    """Find a circuit that also stands what `lacewing verify` tests (see `stress`). It is several
    times larger, and takes several times as long."""
    stress: tuple[Stress, ...] = tuple(kind for kind in STRESS if kind != "worst")
    """What a robust circuit is to stand: other ablations, frozen norms, a random part of the rest
    ablated, natural text outside the task, attention as in the full model; on request also the
    worst part of the rest ablated, which can take thousands of nodes and many minutes."""
    calibrate: bool = True
    """Fit a scale and, for few answers, one bias per answer token to the circuit's logits, as the
    paper does: while the mask is learned, and for every cut on the prompts it is chosen on."""

    def __post_init__(self) -> None:
        if not 0 < self.target_loss < 0.6931:
            raise ConfigError(f"target_loss must lie between 0 and ln 2, not {self.target_loss}")
        if not 0 < self.penalty_from <= self.penalty_to:
            raise ConfigError(
                f"need 0 < penalty_from <= penalty_to, not {self.penalty_from} and "
                f"{self.penalty_to}"
            )
        pairs = ("train_pairs", "validation_pairs", "test_pairs")
        for name in ("prompts", "batch", "stages", "edge_masks", *pairs):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")

        if self.edges and self.robust:
            raise ConfigError(
                "edges cannot be pruned under stress: take --edges or --robust, not both; robust "
                "circuits lose edges with --minimal, which asks for the target loss alone"
            )
        unknown = [kind for kind in self.stress if kind not in STRESS]
        if unknown or not self.stress or len(set(self.stress)) != len(self.stress):
            raise ConfigError(
                f"stress must be some of {', '.join(STRESS)}, each once, not {list(self.stress)}"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "PruneConfig":
        """The configuration that a circuit was found by; defaults for what it does not say."""
        known = {field.name for field in fields(cls)}
        said: dict[str, Any] = {key: value for key, value in settings.items() if key in known}
        if "stress" in said:
            said["stress"] = tuple(said["stress"])  # JSON has lists
        return cls(**said)

    def settings(self) -> dict[str, Any]:
        """Plain values, as a circuit keeps them."""
        return asdict(self) | {"stress": list(self.stress)}

    @property
    def steps(self) -> int:
        """Steps of mask training."""
        more = (ROBUST_PROMPTS - 1) * len(self.stress) / len(STRESS) if self.robust else 0
        return max(self.stages, round(self.prompts * (1 + more)) // self.batch)

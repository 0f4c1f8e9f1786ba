"""How a circuit is searched for. Plain values only; no torch is imported here."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, get_args

from annotated_types import Interval

from lacewing.artifacts import EXACT
from lacewing.bounds import Count, Decay, NotNegative, Positive, Seed, check
from lacewing.errors import ConfigError

Constraint = Literal["attention", "subset", "resample", "zero", "frozen", "worst", "natural"]
"""What a robust circuit can be asked to hold under (see `pruning.robust`)."""
CONSTRAINTS: tuple[Constraint, ...] = get_args(Constraint)
ROBUST_PROMPTS = 3
"""How many times as many prompts a robust search sees whose seven constraints take turns."""

RENAMED = {"stress": "constraints"}
"""What configurations saved by older versions called something."""
Pairs = Annotated[int, Interval(ge=1, le=10**6)]
"""Of prompts, all of them in memory."""
SEEDS = 10
"""Circuits of other seeds that `verify` compares one with."""


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """One pruning. Defaults suit small models on two cores.

    Raises:
        ConfigError: a value out of its range.
    """

    __pydantic_config__ = EXACT

    target_loss: float = 0.15
    """Task loss the circuit must reach, in nats; ln 2 is chance."""
    validation_target: float | None = None
    """Task loss it must reach on validation prompts, which its size is chosen on; by default
    `target_loss`. A lower one leaves room, so that the whole interval on test prompts reaches
    `target_loss` too."""
    seed: Seed = 0
    """Seeds the masks and the order of prompts."""

    # Budget.
    prompts: Count = 4_608
    """Pairs of prompts seen in all, over the whole path of penalties; with `robust` up to three
    times as many."""
    batch: Annotated[int, Interval(ge=1, le=2**16)] = 24
    """Pairs per step (paper: 64)."""
    max_tokens: Annotated[int, Interval(ge=1, le=2**17)] = 64
    """Longest prompt, in tokens (paper: 256)."""
    train_pairs: Pairs = 1024
    """Different pairs to learn the mask on."""
    validation_pairs: Pairs = 256
    """Pairs the size of the circuit is chosen on."""
    test_pairs: Pairs = 256
    """Pairs the losses are reported on; never used to choose anything."""

    # Mask training (paper Table 2).
    penalty_from: Positive = 1e-5
    """Cost of a kept node where the path of penalties begins (the paper's k_coef)."""
    penalty_to: Positive = 3e-2
    """Cost of a kept node where it ends; rises geometrically between."""
    stages: Annotated[int, Interval(ge=1, le=1000)] = 3
    """Points of the path, over its later half, where a circuit is selected; the smallest wins."""
    learning_rate: Positive = 0.03
    """Step size of the mask; decays linearly to a tenth."""
    beta2: Decay = 0.95
    """Decay of the squared gradient (the paper's 1 - inv_beta2)."""
    weight_decay: NotNegative = 1e-3
    """AdamW decay of the mask."""
    init_bias: Annotated[float, Interval(ge=-1e6, le=1e6)] = 0.1
    """Where the mask starts: above 0, so all nodes are on."""
    init_noise: NotNegative = 0.01
    """Spread of the mask around its start."""
    temperature: Positive = 1.0
    """Width of the surrogate for the step function."""
    clip: Positive = 1.0
    """Largest RMS of the mask's gradient; larger ones are scaled down to it."""

    edges: bool = False
    """After the nodes, prune single weights too, by a mask of nodes and edges learned around the
    circuit; not together with `robust`."""
    edge_masks: Annotated[int, Interval(ge=1, le=1000)] = 3
    """How many such masks are learned, each from a seed of its own and around half as many nodes as
    the one before; what is found is merged and pruned again. More find smaller circuits, mostly."""
    minimal: bool = False
    """Prune edges too, then remove nodes and edges until none can go, and keep the certificate."""
    robust: bool = False
    """Find a circuit that also holds under what `lacewing verify` tests (see `constraints`). It is
    several times larger, and takes several times as long."""
    constraints: tuple[Constraint, ...] = tuple(c for c in CONSTRAINTS if c != "worst")
    """What a robust circuit is to hold under: other ablations, frozen norms, a random part of the
    rest ablated, natural text outside the task, attention as in the full model; on request also the
    worst part of the rest ablated, which can take thousands of nodes and many minutes."""
    calibrate: bool = True
    """Fit a scale and, for few answers, one bias per answer token to the circuit's logits, as the
    paper does: while the mask is learned, and for every selection on those it is made on."""

    def __post_init__(self) -> None:
        check(self)
        if not 0 < self.target_loss < 0.6931:
            raise ConfigError(f"target_loss must lie between 0 and ln 2, not {self.target_loss}")
        if not 0 < self.chosen_at <= self.target_loss:
            raise ConfigError(
                f"validation_target must lie between 0 and target_loss {self.target_loss}, not "
                f"{self.validation_target}"
            )
        if self.penalty_from > self.penalty_to:
            raise ConfigError(
                f"need 0 < penalty_from <= penalty_to, not {self.penalty_from} and "
                f"{self.penalty_to}"
            )
        if self.edges and self.robust:
            raise ConfigError(
                "edges cannot be pruned under constraints: take --edges or --robust, not both; "
                "robust circuits lose edges with --minimal, which asks for the target loss alone"
            )
        asked = self.constraints
        unknown = [name for name in asked if name not in CONSTRAINTS]
        if unknown or not asked or len(set(asked)) != len(asked):
            raise ConfigError(
                f"constraints must be some of {', '.join(CONSTRAINTS)}, each once, not "
                f"{list(asked)}"
            )

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "PruneConfig":
        """A saved configuration; defaults for what it does not say.

        Raises:
            ConfigError: a value out of its range.
        """
        return cls(**cls.known(saved))

    @classmethod
    def known(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        """What of some saved values a configuration has, older names put right."""
        named = {RENAMED.get(name, name): value for name, value in saved.items()}
        said = {f.name: named[f.name] for f in fields(cls) if f.name in named}
        if "constraints" in said:
            with suppress(TypeError):  # what is none of a kind is refused by its type
                said["constraints"] = tuple(said["constraints"])  # JSON has lists
        return said

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a circuit's file holds them."""
        return asdict(self) | {"constraints": list(self.constraints)}

    def nodes_alone(self) -> "PruneConfig":
        """The same search, for nodes alone."""
        return replace(self, edges=False, minimal=False)

    @property
    def chosen_at(self) -> float:
        """Task loss to reach on validation prompts, in nats."""
        return self.target_loss if self.validation_target is None else self.validation_target

    @property
    def prunes_edges(self) -> bool:
        """Whether edges are searched for too: a minimal circuit's are, unless it is robust."""
        return self.edges or (self.minimal and not self.robust)

    @property
    def steps(self) -> int:
        """Steps of mask training."""
        more = (ROBUST_PROMPTS - 1) * len(self.constraints) / len(CONSTRAINTS) if self.robust else 0
        return max(self.stages, round(self.prompts * (1 + more)) // self.batch)


OPEN_SEARCH = PruneConfig(
    prompts=6_000,
    batch=12,
    learning_rate=0.01,
    penalty_from=2e-5,
    train_pairs=1024,
    validation_pairs=192,
    test_pairs=192,
)
"""A search in a model that lacewing did not train: 500 steps of 12 pairs (docs/open_models.md)."""

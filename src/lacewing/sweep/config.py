"""What a sweep tries, and with what effort. Plain values only; no torch is imported here.

A configuration is a JSON file with the fields of `SweepConfig`, of which any may be left out;
`training` and `pruning` hold those of `TrainConfig` and `PruneConfig`.
"""

import dataclasses
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from annotated_types import Interval

from lacewing import artifacts
from lacewing.bounds import Positive, Seed, check
from lacewing.circuit.config import RENAMED, PruneConfig
from lacewing.errors import ArtifactError, ConfigError
from lacewing.training.config import TrainConfig

TARGETS = (0.0015, 0.0035, 0.015, 0.035, 0.05, 0.15, 0.35, 0.5)
"""The paper's target losses (Fig. 2), in nats."""
SWEPT = {
    "expansion": "widths",
    "d_model": "widths",
    "density": "densities",
    "abs_topk": "activations",
    "seed": "seeds",
}
"""Settings of the training that each model has its own of, and the field that gives them."""


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """One sweep: a model for every width x density x activation density x seed.

    Raises:
        ConfigError: a value out of its range, by name.
    """

    # Models.
    corpus: str = "code:standard_library"
    """Text, as `lacewing train --corpus` reads it."""
    tokenizer: str | None = None
    """A tokenizer.json that all models read by, such as a built corpus's, so that their losses can
    be set beside those of other models; by default one is trained on the corpus."""
    widths: tuple[Annotated[int, Interval(ge=1, le=2**16)], ...] = (256, 320)
    """Residual channels."""
    densities: tuple[float, ...] = (1 / 20,)
    """Nonzero fractions of the block matrices, in (0, 1)."""
    density_at: Literal["every", "base"] = "every"
    """Width the densities hold at: every one, or training.base_width, so that wider models have as
    many nonzero weights and a lower density (the paper's rows of equal L0)."""
    activations: tuple[float, ...] = (0.25,)
    """Fractions of channels that AbsTopK keeps; 1 switches it off."""
    seeds: tuple[Seed, ...] = (0,)
    """Seeds of the training."""
    twins: bool = True
    """Train each model's dense twin too, and prune it with the same budget."""
    twin_width: Annotated[int, Interval(ge=1, le=2**16)] | None = None
    """Residual channels of the twins; by default each sparse model's."""
    twin_learning_rate: Positive | None = None
    """Where the twins' learning rate begins; by default 0.3 of the sparse models'. A slower one
    reads more text until it meets the loss, and knows more tasks then."""

    # Circuits.
    tasks: Annotated[tuple[str, ...], tyro.conf.arg(name="task")] = ()
    """Names of tasks, or JSONL files of pairs; none means all twenty."""
    targets: tuple[float, ...] = TARGETS
    """Target losses, in nats; those below a model's own loss on a task are left out."""
    main_target: float = 0.15
    """Target of the frontier; a task counts as learned where the model's loss is not above it."""
    trials: Annotated[int, Interval(ge=1, le=10_000)] = 8
    """Prunings of each model and task at the main target: the tuning budget, the same for both."""
    trials_elsewhere: Annotated[int, Interval(ge=1, le=10_000)] = 2
    """Prunings of each model and task at every other target."""

    training: TrainConfig = field(default_factory=TrainConfig)
    """Everything else about the sparse models."""
    pruning: PruneConfig = field(default_factory=PruneConfig)
    """Where the tuning begins, and the prompts; neither target in it is read."""

    def __post_init__(self) -> None:
        check(self)
        for name in ("widths", "densities", "activations", "seeds", "targets"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"{name} is empty: give at least one value")
            if len(set(values)) != len(values):
                raise ConfigError(f"{name} holds a value twice: {list(values)}")
        _each("densities", self.densities, lambda v: 0 < v < 1, "between 0 and 1")
        _each("activations", self.activations, lambda v: 0 < v <= 1, "above 0 and at most 1")
        _each("targets", self.targets, lambda v: 0 < v < 0.6931, "between 0 and ln 2")
        if self.main_target not in self.targets:
            raise ConfigError(
                f"main_target {self.main_target:g} is not one of targets {list(self.targets)}"
            )
        plain = TrainConfig()
        for name, instead in SWEPT.items():
            if getattr(self.training, name) != getattr(plain, name):
                raise ConfigError(
                    f"training.{name} does not go into a sweep: each model has its own; use "
                    f"{instead}"
                )
        if self.training.start is not None:
            raise ConfigError("training.start does not go into a sweep: models differ in shape")

    @property
    def trials_at(self) -> dict[float, int]:
        """Prunings of each model and task by target: the main target first, then the nearest."""
        others = sorted(
            self.targets, key=lambda t: max(t, self.main_target) / min(t, self.main_target)
        )
        return {t: self.trials if t == self.main_target else self.trials_elsewhere for t in others}

    @property
    def budget(self) -> int:
        """Prunings of one model for one task at all targets, at most."""
        return sum(self.trials_at.values())


def read_config(path: Path) -> SweepConfig:
    """Read a configuration from a JSON file.

    Raises:
        ConfigError: an unknown field, or a value of another type or range, by name.
    """
    try:
        saved = artifacts.read_json(path)
    except ArtifactError as error:
        raise ConfigError(f"no configuration of a sweep: {error}") from error
    made: SweepConfig = _made(SweepConfig, saved, str(path), "")
    return made


def _each(name: str, values: tuple[Any, ...], good: Any, wanted: str) -> None:
    for value in values:
        if not good(value):
            raise ConfigError(f"{name} must be {wanted}, not {value:g}")


def _made(kind: Any, saved: object, path: str, prefix: str) -> Any:
    if not isinstance(saved, dict):
        raise ConfigError(f"{path}: {prefix or 'the file'} must hold an object, not {saved!r}")
    if kind is PruneConfig:
        saved = {RENAMED.get(str(name), str(name)): value for name, value in saved.items()}
    hints = get_type_hints(kind)
    known = {part.name for part in dataclasses.fields(kind)}
    for name in saved:
        if name not in known:
            raise ConfigError(
                f"{path}: unknown field {prefix + name!r}; there are: {', '.join(sorted(known))}"
            )
    values: dict[str, Any] = {}
    for name, value in saved.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _made(hints[name], value, path, f"{prefix}{name}.")
        elif not _fits(value, hints[name]):
            words = str(getattr(hints[name], "__name__", hints[name]))
            if get_origin(hints[name]) is not None:
                words = str(hints[name]).replace("typing.", "")
            raise ConfigError(f"{path}: {prefix}{name} must be {words}, not {value!r}")
        else:
            values[name] = _as(value, hints[name])
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {prefix}{error}") from error


def _as(value: Any, hint: Any) -> Any:
    """A fitting value from JSON, with tuples for lists and floats where those are meant."""
    parts = get_args(hint)
    if isinstance(value, list):
        return tuple(_as(v, parts[0]) for v in value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and (hint is float or float in parts) else value


def _fits(value: object, hint: Any) -> bool:
    """Whether a value from JSON is one of an annotation of the configurations."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        return isinstance(value, list) and all(_fits(v, parts[0]) for v in value)
    if origin in (types.UnionType, Union):
        return any(_fits(value, part) for part in parts)
    if hint is float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return not abs(value) > sys.float_info.max
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)

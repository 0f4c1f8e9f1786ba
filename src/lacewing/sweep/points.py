"""The models of a sweep: every combination of width, density, activation density and seed."""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path

from lacewing import artifacts
from lacewing.errors import ConfigError
from lacewing.pages.names import safe_name
from lacewing.sweep.config import SweepConfig
from lacewing.training.config import TrainConfig

MODEL, TASK = "sweep model", "sweep task"
"""Kinds of a job's folder."""
RESULT = "result.json"
"""What a job found."""


@dataclass(frozen=True)
class Point:
    """One sparse model, with its twin where there is one."""

    width: int
    """Residual channels."""
    density: float
    """Nonzero fraction of its block matrices."""
    activation: float
    """Fraction of channels that AbsTopK keeps; 1: all."""
    seed: int

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"w{self.width}-d{self.density:.6g}-a{self.activation:g}-s{self.seed}"

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"width {self.width}, density {_share(self.density)}, AbsTopK " + (
            "off" if self.activation == 1 else _share(self.activation)
        )

    def training(self, config: SweepConfig) -> TrainConfig:
        """The configuration its sparse model is trained with."""
        return dataclasses.replace(
            config.training,
            expansion=self.width / config.training.base_width,
            density=self.density,
            abs_topk=None if self.activation == 1 else self.activation,
            seed=self.seed,
        )


def points(config: SweepConfig) -> list[Point]:
    """All models of a sweep, each checked.

    Raises:
        ConfigError: a combination that cannot be trained, saying which.
    """
    found = []
    for width, density, activation, seed in product(
        config.widths, config.densities, config.activations, config.seeds
    ):
        if config.density_at == "base":
            density = density * (config.training.base_width / width) ** 2
        point = Point(width, density, activation, seed)
        if density >= 1:
            raise ConfigError(
                f"{point.label} is no sparse model: lower the densities or leave out this width"
            )
        try:
            training = point.training(config)
            training.model(training.vocab_size)
        except ConfigError as error:
            raise ConfigError(f"{point.label}: {error}") from error
        found.append(point)
    return found


def task_folder(output: Path, point: Point, task: str) -> Path:
    """Where the circuits of one model and task are."""
    return artifacts.own(output, f"jobs/{point.name}/tasks/{safe_name(task)}")


def model_folder(output: Path, point: Point) -> Path:
    """Where a model and its twin are."""
    return artifacts.own(output, f"jobs/{point.name}/model")


def _share(value: float) -> str:
    """1/20 rather than 0.05, where that is what it is."""
    near = Fraction(value).limit_denominator(4096)
    exact = abs(float(near) - value) < 1e-9 * value
    return str(near) if exact and near.numerator == 1 else f"{value:.3g}"

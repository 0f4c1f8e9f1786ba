"""The verb `lacewing sweep`: run a sweep, or only write its summary."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Interval

from lacewing.cli.flags import given
from lacewing.errors import ConfigError
from lacewing.sweep.config import SweepConfig, read_config

Processes = Annotated[int, Interval(ge=0, le=4096)]
"""Of this machine or a cluster; 0 where lacewing is to choose."""
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class Sweep:
    """Train and prune over widths, densities, activation densities and seeds; draw the frontier."""

    output: Path | None = None
    """The sweep's folder; the same command goes on where an interrupted one stopped."""
    config: Path | None = None
    """JSON file of settings, such as recipes/sweep_laptop.json; flags go before
    it."""
    summary: Path | None = None
    """Only write the summary of this sweep's folder, finished or not."""
    processes: Processes = 0
    """Jobs at once; 0: as many as there are cores."""
    training_processes: Processes = 0
    """Models trained at once, where that is another number (1 on a machine with one GPU)."""
    threads: Processes = 0
    """Threads of a job; 0: cores / processes, and 1 on a cluster."""
    cluster: str | None = None
    """Run on the Ray cluster at this address (host:port, or auto), through joblib."""
    settings: Annotated[SweepConfig, tyro.conf.arg(name="")] = field(default_factory=SweepConfig)
    json: Switch = False
    """End with one JSON object on standard output."""

    @classmethod
    def begin(cls, words: Sequence[str]) -> "Sweep | None":
        """What the flags change: the settings of the file.

        Raises:
            ConfigError: the file holds no configuration.
        """
        file = given(words, "--config")
        return None if file is None else cls(settings=read_config(Path(file)))

    def run(self) -> dict[str, Any]:
        """Sweep, or summarise."""
        if self.summary is not None:
            if self.output is not None or self.config is not None:
                raise ConfigError("--summary stands alone: leave out --output and --config")
            from lacewing.sweep.summary import summarise

            return summarise(self.summary)
        if self.output is None:
            raise ConfigError("a sweep needs --output DIR, or --summary DIR for its summary")
        from lacewing.sweep.pool import Pool
        from lacewing.sweep.run import sweep

        pool = Pool(
            processes=self.processes,
            training_processes=self.training_processes,
            threads=self.threads,
            cluster=self.cluster,
        )
        return sweep(self.settings, self.output, pool)

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people: the tables."""
        from lacewing.sweep.writing import short

        return short(result)

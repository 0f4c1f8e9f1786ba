"""Run a sweep: first all models, then all prunings, on joblib's processes or a Ray cluster.

    OUTPUT/sweep.json           the configuration
    OUTPUT/tokenizer.json       one tokenizer for all models
    OUTPUT/tokens/              the text as tokens
    OUTPUT/jobs/                a whole folder per finished job (see `jobs`)
    OUTPUT/frontier.json        the frontier, for programs (docs/sweep.md)
    OUTPUT/summary/             tables and figures

Every job is found by its folder, so that the same command goes on wherever the last one ended.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.shards import prepare, tokenizer_for
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ConfigError
from lacewing.progress import duration, say
from lacewing.sweep.config import SweepConfig, read_config
from lacewing.sweep.jobs import TOKENIZER
from lacewing.sweep.points import points
from lacewing.sweep.pool import Pool
from lacewing.sweep.summary import summarise
from lacewing.sweep.twins import TOKENS
from lacewing.sweep.work import Job, Outcome, finished
from lacewing.tasks.registry import get, names

CONFIG = "sweep.json"


def sweep(
    config: SweepConfig, output: Path, pool: Pool | None = None, *, quiet: bool = False
) -> dict[str, Any]:
    """Train, prune and summarise; the same call goes on with, or returns, a finished sweep.

    Args:
        config: What to try.
        output: The sweep's folder.
        pool: Where jobs run; by default on this machine's cores.
        quiet: Report no progress.

    Returns:
        What `summarise` returns.

    Raises:
        ConfigError: the folder holds another sweep or something else, another process is sweeping
            there, or the configuration cannot be trained.
        DataError: the corpus is empty, or a task is unknown.
    """
    pool = pool or Pool()
    models = [Job(point, None) for point in points(config)]
    tasks = {get(name).name: name for name in config.tasks or names()}
    _check_place(output, config)
    busy = f"another sweep is running in {output}: wait for it, or choose another --output"
    with artifacts.locked(output, busy):
        _open(output, config)
        prunings = [Job(m.point, name) for m in models for name in tasks.values()]
        ledger = _Ledger(len(models) + len(prunings), quiet)
        _all(models, output, config, pool.training(), ledger, "training")
        _all(prunings, output, config, pool, ledger, "pruning")
        return summarise(output)


@dataclass
class _Ledger:
    """How many jobs are done, and what the rest will take."""

    total: int
    quiet: bool
    done: int = 0

    def phase(self, name: str, jobs: int, left: int, width: int) -> None:
        """Say what begins now."""
        self.jobs, self.began, self.here, self.name = left, time.monotonic(), 0, name
        self.done += jobs - left
        if left:
            say(f"{name}: {left} of {jobs} jobs to do, {width} at a time", not self.quiet)

    def tell(self, outcome: Outcome) -> None:
        """Say what came of a job, and how long the rest of its kind will take."""
        self.done += 1
        self.here += 1
        rest = (time.monotonic() - self.began) / self.here * (self.jobs - self.here)
        left = f"{duration(rest)} of {self.name} left" if self.here < self.jobs else "none left"
        say(f"{self.done}/{self.total} jobs, {left}  {outcome.line}", not self.quiet)


def _all(
    jobs: Sequence[Job],
    output: Path,
    config: SweepConfig,
    pool: Pool,
    ledger: _Ledger,
    name: str,
) -> None:
    """Do those jobs that are not done and whose model is there."""
    possible = [job for job in jobs if job.task is None or finished(job.model, output)]
    waiting = [job for job in possible if not finished(job, output)]
    ledger.total -= len(jobs) - len(possible)
    ledger.phase(name, len(possible), len(waiting), pool.width(len(possible)))
    for outcome in pool.work(waiting, output, config, len(possible)):
        ledger.tell(outcome)


def _check_place(output: Path, config: SweepConfig) -> None:
    """Refuse, before anything is written, a folder that holds something else than this sweep."""
    path = output / CONFIG
    if path.exists():
        old, new = _flat(_plain(read_config(path))), _flat(_plain(config))
        old["corpus"] = Corpus.parse(str(old["corpus"])).spec  # sweeps of old have relative paths
        artifacts.check_same(output, "a sweep", old, new)
    elif output.exists() and not (
        output.is_dir()
        and all(p.name.startswith((artifacts.LOCK, f".{CONFIG}")) for p in output.iterdir())
    ):
        raise ConfigError(
            f"{output} exists and is no sweep of lacewing: choose another --output; nothing was "
            "written"
        )


def _open(output: Path, config: SweepConfig) -> None:
    """Write what all jobs share, as far as it is not there."""
    _check_place(output, config)  # again, now that nobody else can write
    corpus = Corpus.parse(config.corpus)
    if not (output / TOKENIZER).exists():
        given = config.tokenizer
        made = (
            Tokenizer.load(Path(given))
            if given
            else tokenizer_for(corpus, config.training.vocab_size)
        )
        if not (output / CONFIG).exists():
            artifacts.write_json(output / CONFIG, _plain(config))
        made.save(output / TOKENIZER)
    tokenizer = Tokenizer.load(output / TOKENIZER)
    artifacts.recover(output / TOKENS)
    prepare(corpus, output / TOKENS, tokenizer=tokenizer, replace=False)


def _plain(config: SweepConfig) -> dict[str, Any]:
    """The configuration as it comes back from JSON."""
    import json

    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain | {"corpus": Corpus.parse(config.corpus).spec}


def _flat(saved: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in saved.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": v for inner, v in value.items()}
        else:
            flat[key] = value
    return flat

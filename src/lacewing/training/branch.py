"""Go on from a checkpoint that a run kept, with other settings, into a run of its own.

Branches of one checkpoint read the same text in the same order on the same schedule, as long as
their seeds are equal: what differs between them is what their settings differ in.
"""

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.shards import prepare
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.saved import SavedConfig
from lacewing.training.checkpoint import FOLDER, KEPT
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.run import Run, finished, open_run

SHAPE = ("base_width", "n_layer", "d_model", "d_head", "d_mlp", "context", "sinks", "d_position")
FIXED = (*SHAPE, "bigram", "vocab_size", "expansion", "tokens", "batch", "start", "start_step")
"""Settings that the checkpoint has already: a branch cannot have others."""


def kept_steps(run: Path) -> list[int]:
    """The steps whose whole checkpoint a run has kept, finished or not."""
    names = [place.name for place in (run / KEPT).glob("*") if place.name.isdecimal()]
    return sorted(int(name) for name in names)


def branch(
    run: Path,
    step: int,
    output: Path,
    changes: Mapping[str, Any],
    *,
    corpus: str | None = None,
    quiet: bool = False,
) -> Run:
    """Train on from a kept checkpoint, to the end of the run's schedule; resumable.

    Args:
        run: The run, finished or not, that was trained with --keep.
        step: The checkpoint's.
        output: Folder of the branch.
        changes: Settings that differ from the run's.
        corpus: Where the run's text is now, if it was moved.
        quiet: Report no progress.

    Raises:
        ArtifactError: the run has not kept that step.
        ConfigError: a setting that a branch cannot change, or `output` holds another run.

    Example:
        >>> kept, arm = Path("runs/kept"), Path("runs/arm")
        >>> branch(kept, 5, arm, {"idle_price": 0.1}).steps  # doctest: +SKIP
        10
    """
    begun = finished(output) or (output / FOLDER).exists()
    if not begun and step not in kept_steps(run):
        raise ArtifactError(
            f"{run} has kept no whole checkpoint of step {step}: it has "
            f"{', '.join(map(str, kept_steps(run))) or 'none'}; train with --keep SHARE"
        )
    for name in changes:
        if name in FIXED:
            raise ConfigError(f"a branch cannot change {name}: its checkpoint has it already")
    saved = artifacts.read(run / "config.json", SavedConfig)
    config = _config(artifacts.typed(saved.training, TrainConfig, run / "config.json"), changes)
    text = Corpus.parse(corpus or saved.corpus)
    tokenizer = Tokenizer.load(run / "tokenizer.json")
    if not begun:
        if not (output / "tokens").exists() and (run / "tokens").is_dir():
            _link(run / "tokens", output / "tokens")
        shards = prepare(text, output / "tokens", config.vocab_size, tokenizer)
        open_run(output, config, config.model(shards.tokenizer.vocab_size), text, tokenizer)
        _link(run / KEPT / str(step), output / FOLDER)
    return train(config, text, output, tokenizer=tokenizer, quiet=quiet)


def _config(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """The run's settings with others; where it began in the middle, that lies behind it."""
    behind = {"start": None, "start_step": 0} if config.start_step else {}
    return dataclasses.replace(config, **{"snapshots": 0, "keep": (), **behind, **changes})


def _link(source: Path, place: Path) -> None:
    """The same folder elsewhere, whole or not at all, and its bytes but once where that goes."""
    new = place.with_name(f".{place.name}.new")
    shutil.rmtree(new, ignore_errors=True)

    def link(file: str, to: str) -> None:
        try:
            os.link(file, to)
        except OSError:  # another disk, or one that has no links
            shutil.copy2(file, to)

    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, new, copy_function=link)
    os.replace(new, place)

"""Train the dense twin of a run: same depth, tokenizer, text and context, same validation loss.

Training stops as soon as the twin's validation loss meets the sparse model's, within 0.02 nats. The
loss is looked at more often as it comes near, so that the twin does not run past.
"""

import dataclasses
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ConfigError
from lacewing.model.saved import SavedConfig, Summary
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.run import Run, training_of

SLOWER, SHORTER = 0.3, 0.5
"""Learning rate and tokens of the twin, as shares of the sparse run's (docs/log.md)."""
WITHIN = 0.02
"""Nats by which the twin's validation loss may differ."""
NEAREST, FARTHEST = 2, 100
"""Fewest and most steps between two looks at the loss."""


def twin_config(run: Path, changes: dict[str, Any] | None = None) -> TrainConfig:
    """The configuration of a run's dense twin: density 1, no AbsTopK, a slower, shorter schedule.

    Args:
        run: The sparse run.
        changes: Settings of the twin that differ from the run's.
    """
    saved = training_of(run)
    # Without the density factor the run's rate is too high, and a dense model needs fewer tokens.
    dense = {
        "density": 1.0,
        "abs_topk": None,
        "floor": 0,
        "learning_rate": saved.learning_rate * SLOWER,
        "tokens": int(saved.tokens * SHORTER),
        "start": None,  # the run's own start is no dense model
        "start_step": 0,
    }
    return dataclasses.replace(saved, **(dense | (changes or {})))


def corpus_of(run: Path) -> str:
    """The corpus of a finished run, as `Corpus.parse` reads it."""
    return artifacts.open_folder(run, "run").read("config.json", SavedConfig).corpus


def train_twin(
    run: Path,
    output: Path,
    changes: dict[str, Any] | None = None,
    *,
    corpus: str | None = None,
    quiet: bool = False,
) -> Run:
    """Train a dense model until its validation loss meets that of a finished run.

    Args:
        run: The sparse run.
        output: Folder of the twin.
        changes: Settings that differ from the run's (see `twin_config`).
        corpus: Where the run's text is now, if it was moved.
        quiet: Report no progress.

    Raises:
        ConfigError: the twin's tokens ran out before it met the loss, or it ran past.

    Example:
        >>> changes = {"tokens": 51_200, "learning_rate": 5e-5}
        >>> twin = train_twin(Path("runs/mine"), Path("runs/twin"), changes, quiet=True)
        >>> mine = artifacts.read_json(Path("runs/mine/summary.json"))
        >>> abs(twin.validation_loss - mine["validation_loss"]) <= WITHIN
        True
    """
    text = corpus or corpus_of(run)
    whole = artifacts.open_folder(run, "run")
    target = whole.read("summary.json", Summary).validation_loss
    pace = Pace(target)
    twin = train(
        twin_config(run, changes),
        Corpus.parse(text),
        output,
        tokenizer=Tokenizer.from_bytes(whole.bytes("tokenizer.json"), run / "tokenizer.json"),
        stop=pace.stop,
        check_every=pace.next_look,
        quiet=quiet,
    )
    difference = twin.validation_loss - target
    if abs(difference) > WITHIN:
        more = "give it more --tokens" if difference > 0 else "use a smaller --learning-rate"
        raise ConfigError(
            f"the twin's validation loss {twin.validation_loss:.3f} is not within {WITHIN} of the "
            f"sparse model's {target:.3f}: {more} and another --output"
        )
    return twin


class Pace:
    """When to look at the loss next: half of the steps the present slope would need."""

    def __init__(self, target: float) -> None:
        self.target = target
        self.seen: list[tuple[int, float]] = []

    def stop(self, step: int, loss: float) -> bool:
        """Whether the loss has met the target."""
        return loss <= self.target + WITHIN / 2

    def next_look(self, step: int, loss: float) -> int:
        """Steps until the loss should be looked at again."""
        self.seen.append((step, loss))
        if len(self.seen) < 2:
            return NEAREST * 5
        (before, worse), (now, better) = self.seen[-2:]
        fell, stride = worse - better, now - before
        # A loss that did not fall gives no slope, and may fall far at once.
        wanted = 0.5 * stride * (loss - self.target) / fell if fell > 0 else 2 * stride
        # Nor does one that hardly fell say how soon it will: strides at most double.
        return round(min(max(wanted, NEAREST), 2 * stride, FARTHEST))

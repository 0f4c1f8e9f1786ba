"""The dense twin of a sweep's model: trained again, slower or longer, until its loss fits.

A sweep's models differ so much that no one schedule fits all their twins.
"""

import shutil
from pathlib import Path
from typing import Any

from lacewing.errors import ConfigError
from lacewing.sweep.config import SweepConfig
from lacewing.training.run import Run, finished, read_run
from lacewing.training.twin import NEAREST, WITHIN, train_twin, twin_config

TOKENS = "tokens"
ATTEMPTS = 5
"""Twins trained before a model goes without one."""
FIRST_LOOK = 10
"""Steps before a twin's loss is first looked at; later looks follow its slope."""
SLOWER, LONGER = 2, 2
"""What the learning rate is divided by after a twin ran past the loss, and the tokens multiplied
with after one did not reach it."""


def fit_twin(output: Path, config: SweepConfig, folder: Path) -> tuple[Run | None, str | None]:
    """Train the twin of FOLDER/sparse into FOLDER/dense.

    Args:
        output: The sweep's folder, with its tokens.
        config: The sweep.
        folder: That of the model and its twin.

    Returns:
        The twin, or why there is none.

    Raises:
        ConfigError: the twin cannot be trained at all.
    """
    sparse, dense = folder / "sparse", folder / "dense"
    if finished(dense):
        return read_run(dense), None
    changes: dict[str, Any] = {} if config.twin_width is None else {"d_model": config.twin_width}
    rate, tokens = twin_config(sparse).learning_rate, twin_config(sparse).tokens
    rate = config.twin_learning_rate or rate
    look = FIRST_LOOK
    error = ""
    for attempt in range(ATTEMPTS):
        place = folder / f"twin-{attempt}"
        lend_tokens(output, place)
        try:
            pace = {"learning_rate": rate, "tokens": tokens, "evaluate_every": look}
            train_twin(sparse, place, changes | pace, quiet=True)
        except ConfigError as reason:
            if not finished(place):
                raise
            error = str(reason)
            if read_run(place).validation_loss < read_run(sparse).validation_loss - WITHIN:
                rate, tokens, look = rate / SLOWER, tokens * SLOWER, NEAREST
            else:
                tokens *= LONGER
        else:
            place.rename(dense)
            return read_run(dense), None
    return None, f"none of {ATTEMPTS} twins met the sparse model's loss; the last: {error}"


def lend_tokens(output: Path, run: Path) -> None:
    """Copy the sweep's tokens into a run that has not begun, so that it need not make them."""
    if not finished(run) and not (run / TOKENS).exists():
        shutil.copytree(output / TOKENS, run / TOKENS)

"""A pair whose twin misses the sparse model's loss is a row, not the end."""

from collections.abc import Callable
from pathlib import Path

import pytest
from recipes import densities

from lacewing import artifacts
from lacewing.errors import ConfigError
from lacewing.training.config import TrainConfig
from lacewing.training.run import read_run


def test_a_twin_that_is_off_is_a_row(
    run: Path, small: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Its text runs out far above the loss: kept, said, and the same when asked again."""
    recipe, sparse = densities.Recipe(tmp_path, tmp_path / "out"), read_run(run)
    few = {"tokens": small().batch * small().context * 2, "learning_rate": 1e-6}
    row = densities.paired(recipe, "8th", sparse, few)
    assert "is not within 0.02" in str(row["error"])
    assert row["dense"] - row["sparse"] > 0.02
    assert artifacts.read_json(tmp_path / "out" / "8th.json") == row
    assert densities.paired(recipe, "8th", sparse, few) == row


def test_a_twin_that_cannot_be_trained_is_an_error(run: Path, tmp_path: Path) -> None:
    """Settings that cannot work are nobody's outcome."""
    recipe = densities.Recipe(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="anneal"):
        densities.paired(recipe, "8th", read_run(run), {"anneal_start": 0.9, "anneal_end": 0.1})
    assert not (tmp_path / "out" / "8th.json").exists()

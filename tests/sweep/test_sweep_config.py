"""Configurations of sweeps: what is refused by name, and which models follow."""

import json
from pathlib import Path
from typing import Any

import pytest

from lacewing.errors import ConfigError
from lacewing.sweep.config import TARGETS, SweepConfig, read_config
from lacewing.sweep.points import points

RECIPES = Path(__file__).parents[2] / "recipes"


def read(folder: Path, value: object) -> SweepConfig:
    path = folder / "config.json"
    path.write_text(json.dumps(value))
    return read_config(path)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"width": [64]}, "unknown field 'width'"),
        ({"training": {"token": 1}}, "unknown field 'training.token'"),
        ({"widths": 64}, "widths must be tuple[int, ...], not 64"),
        ({"widths": [6.5]}, "widths must be"),
        ({"trials": True}, "trials must be int, not True"),
        ({"density_at": "some"}, "density_at must be"),
        ({"training": {"tokens": "many"}}, "training.tokens must be int, not 'many'"),
        ({"training": []}, "training. must hold an object"),
        ({"widths": []}, "widths is empty"),
        ({"widths": [64, 64]}, "widths holds a value twice"),
        ({"densities": [0.05, 1.0]}, "densities must be between 0 and 1, not 1"),
        ({"activations": [0]}, "activations must be above 0 and at most 1, not 0"),
        ({"targets": [0.15, 0.7]}, "targets must be between 0 and ln 2, not 0.7"),
        ({"targets": [0.5]}, "main_target 0.15 is not one of targets [0.5]"),
        ({"trials": 0}, "trials must be at least 1, not 0"),
        ({"training": {"density": 0.1}}, "training.density does not go into a sweep"),
        (
            {"training": {"start": "builtin:taught-sparse"}},
            "training.start does not go into a sweep",
        ),
        ({"training": {"batch": 0}}, "training.batch must be at least 1, not 0"),
        ({"pruning": {"batch": 0}}, "pruning.batch must be at least 1, not 0"),
        ([], "the file must hold an object"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, value: Any, says: str) -> None:
    """An unknown field, another type or a value out of range: the field, what came, the range."""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, value)
    assert says in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    """A missing file, or one that is no JSON, is a mistake of the user's."""
    with pytest.raises(ConfigError, match="no configuration of a sweep"):
        read_config(tmp_path / "none.json")


def test_defaults_are_the_papers_targets(tmp_path: Path) -> None:
    """Eight targets from 0.0015 to 0.5; an empty object is the default configuration."""
    assert SweepConfig() == read(tmp_path, {})
    assert (8, 0.0015, 0.5) == (len(TARGETS), TARGETS[0], TARGETS[-1])


def test_a_model_for_every_combination() -> None:
    """Widths x densities x activation densities x seeds, each with a folder name of its own."""
    config = SweepConfig(widths=(64, 128), densities=(0.1, 0.2), activations=(0.5, 1.0), seeds=(3,))
    made = points(config)
    assert 8 == len({point.name for point in made})
    assert {(64, 0.1, None, 3), (128, 0.2, 0.5, 3)} <= {
        (t.width, t.density, t.abs_topk, t.seed) for t in (p.training(config) for p in made)
    }


def test_the_same_nonzeros_at_every_width() -> None:
    """At the base width's density, twice the width has a quarter of the density."""
    config = SweepConfig(widths=(256, 512), densities=(0.1,), density_at="base")
    assert [0.1, 0.025] == pytest.approx([point.density for point in points(config)])


def test_an_impossible_model_is_named() -> None:
    """Heads that do not fit a width are refused before anything is trained."""
    with pytest.raises(ConfigError, match=r"width 100.*d_model 100 is not a multiple"):
        points(SweepConfig(widths=(100,)))
    with pytest.raises(ConfigError, match=r"width 64.*no sparse model"):
        points(SweepConfig(widths=(64,), densities=(0.5,), density_at="base"))


def test_the_main_target_is_tuned_first_and_hardest() -> None:
    """The budget by target, in the order of tuning."""
    config = SweepConfig(targets=(0.05, 0.15, 0.5), trials=6, trials_elsewhere=2)
    assert [(0.15, 6), (0.05, 2), (0.5, 2)] == list(config.trials_at.items())
    assert 10 == config.budget


@pytest.mark.parametrize("path", sorted(RECIPES.glob("sweep_*.json")), ids=lambda p: p.stem)
def test_recipes_can_be_read(path: Path) -> None:
    """Every recipe is a configuration whose models can be made."""
    config = read_config(path)
    assert len(points(config)) >= 3
    assert set(TARGETS) == set(config.targets)


def test_the_twins_rate_is_their_own(tmp_path: Path) -> None:
    """None by default, so that it is a share of the sparse models'; not zero."""
    assert read(tmp_path, {}).twin_learning_rate is None
    assert 0.003 == read(tmp_path, {"twin_learning_rate": 0.003}).twin_learning_rate
    with pytest.raises(ConfigError, match="twin_learning_rate"):
        read(tmp_path, {"twin_learning_rate": 0.0})

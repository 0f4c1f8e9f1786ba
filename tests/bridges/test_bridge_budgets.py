"""`recipes/budgets.py` on the micro models: every cell once, curves of what is there."""

import dataclasses
import json
from pathlib import Path

import pytest
from recipes.budgets import Recipe, main

from bridges.test_bridge_train import MICRO
from lacewing.bridges import folder as saved
from lacewing.errors import ConfigError
from lacewing.training.config import TrainConfig


def test_budgets(
    runs: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two budgets, both beginnings; interrupted in between, it goes on where it was."""
    recipe = Recipe(
        dense=str(runs / "dense"),
        sparse=str(runs / "sparse"),
        output=tmp_path / "budgets",
        corpus=str(letters),
        tokens=(512, 256),
        batch=8,
        held_out=256,
        training=TrainConfig(**MICRO),
    )
    assert main(dataclasses.replace(recipe, minutes=0.0)) == []
    names = "warm-256, scratch-256, warm-512, scratch-512"
    assert f"unfinished: {names}" in capsys.readouterr().out
    main(dataclasses.replace(recipe, tokens=(256,)))
    times = {p: p.stat().st_mtime_ns for p in recipe.output.glob("*-256/bridges.json")}
    assert len(times) == 2
    rows = main(recipe)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert "every training is there" in capsys.readouterr().out
    assert json.loads((recipe.output / "curves.json").read_text()) == rows
    assert len(rows) == 2 * 2 * 3 * 2  # budgets, beginnings, bridges, ways
    for name in names.split(", "):
        facts = saved.facts_of(recipe.output / name)
        assert facts.learned
        assert (facts.started is not None) == name.startswith("warm")
        assert facts.tokens == int(name.split("-")[1])
        mine = [r for r in rows if f"{r['beginning']}-{r['tokens']}" == name]
        one = facts.figures["sites"][0]["to_dense"]["explained"]
        assert mine[1]["explained"] == one
    svg = (recipe.output / "explained-to_dense.svg").read_text()
    assert svg.count("<title>resid_final") == 4
    assert len(list(recipe.output.glob("*.png"))) == 4
    with pytest.raises(ConfigError, match="held_out 256, this one has 128"):
        main(dataclasses.replace(recipe, held_out=128))

"""The estimate before a training: measured, in words, and without a trace in what is trained."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lacewing.data.corpus import Corpus
from lacewing.model.store import load
from lacewing.progress import about
from lacewing.training import estimate
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train

Small = Callable[..., TrainConfig]


def test_told_before_training_and_changes_nothing(
    text: Path,
    small: Small,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line before the first step; the model is the same as without it, bit for bit."""
    monkeypatch.setattr(estimate, "FEWEST", 10)
    train(small(), Corpus.files(str(text)), tmp_path / "told")
    told = capsys.readouterr().err
    assert re.search(r"^training: .*; about \d+ s on this machine$", told, re.MULTILINE)
    train(small(), Corpus.files(str(text)), tmp_path / "quiet", quiet=True)
    assert "" == capsys.readouterr().err
    assert load(tmp_path / "told").id == load(tmp_path / "quiet").id


def test_steps_are_weighed_by_the_schedule(monkeypatch: pytest.MonkeyPatch, small: Small) -> None:
    """Dense steps count until the annealing begins, sparse ones from its end on."""
    config = small(tokens=8 * 32 * 1000, evaluate_every=1000, anneal_start=0.2, anneal_end=0.4)
    at = {0: 3.0, 300: 2.0, 999: 1.0}
    monkeypatch.setattr(estimate, "_step_seconds", lambda *given: at[given[-1]])
    monkeypatch.setattr(estimate, "_look_seconds", lambda *_: 5.0)
    network = estimate.Transformer(config.model(300))
    tokens = torch.zeros(20_000, dtype=torch.int32).numpy()
    rows = torch.zeros((2, 33), dtype=torch.int64)
    autocast = torch.autocast("cpu", enabled=False)
    found = estimate.seconds_left(network, config, tokens, rows, 0, autocast)
    assert found == pytest.approx(300 * 2.5 + 100 * 1.5 + 600 + 5, rel=0.01)
    assert estimate.seconds_left(network, config, tokens, rows, 950, autocast) is None


def test_a_step_that_compiles_is_not_counted(monkeypatch: pytest.MonkeyPatch, small: Small) -> None:
    """Of several steps the quickest: others may wait for what a machine does once."""
    config = small(tokens=8 * 32 * 1000)
    network = estimate.Transformer(config.model(300))
    clock = iter([0.0, 9.0, 10.0, 12.0])
    monkeypatch.setattr(estimate, "_now", lambda network: next(clock))
    batches = estimate.Batches(np.zeros(20_000, np.int32), config.context, config.batch, 0)
    optimizer = estimate.adam(network, config)
    assert 1.0 == estimate._step_seconds(network, optimizer, config, batches, 0)


def test_words() -> None:
    """One unit, as people say it."""
    assert ["about 40 s", "about 12 min", "about 3 h"] == [about(40), about(700), about(3 * 3600)]

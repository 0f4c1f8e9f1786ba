"""Where dense products begin to win: measured once, then read."""

import json
from pathlib import Path

import pytest

from lacewing.kernels import crossover as module


def test_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process reads what the first found; a damaged file is measured anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module.crossover.cache_clear()
    found = module.crossover()
    assert 0 <= found <= module.MOST
    path = tmp_path / "lacewing" / "crossover.json"
    assert [found] == list(json.loads(path.read_text()).values())
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 0.125)))
    module.crossover.cache_clear()
    assert module.crossover() == 0.125
    path.write_text("{")
    module.crossover.cache_clear()
    assert 0 <= module.crossover() <= module.MOST
    module.crossover.cache_clear()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs a measurement per process, and nothing else."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    module.crossover.cache_clear()
    assert 0 <= module.crossover() <= module.MOST
    module.crossover.cache_clear()

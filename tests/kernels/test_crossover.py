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
    (path,) = (tmp_path / "lacewing").iterdir()
    assert {"density": found} == json.loads(path.read_text())
    path.write_text(json.dumps({"density": 0.125}))
    module.crossover.cache_clear()
    assert module.crossover() == 0.125
    path.write_text("{")
    module.crossover.cache_clear()
    assert 0 <= module.crossover() <= module.MOST
    module.crossover.cache_clear()


def test_the_first_answer_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that measures while another writes takes the other's answer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module.crossover.cache_clear()

    def slow() -> float:
        module._keep(module.cache_folder() / f"crossover-{module._machine()}.json", 0.0625)
        return 0.2

    monkeypatch.setattr(module, "_measure", slow)
    assert module.crossover() == 0.0625
    module.crossover.cache_clear()


def test_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured, so that all processes agree."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    module.crossover.cache_clear()
    assert module.UNKNOWN == module.crossover()
    module.crossover.cache_clear()

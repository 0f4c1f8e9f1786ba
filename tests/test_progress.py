"""Progress in a notebook: one line that is redrawn, and nothing on standard error."""

import sys
import types
from typing import Any

import pytest

from lacewing.progress import progress


class Handle:
    """What IPython's display gives back."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def update(self, content: dict[str, str], raw: bool) -> None:
        """Redraw the output."""
        assert raw
        self.seen.append(content["text/plain"])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A stand-in for IPython in a notebook: the lines of every output it made."""
    outputs: list[list[str]] = []

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        outputs.append([content["text/plain"]])
        return Handle(outputs[-1])

    shell: Any = types.ModuleType("IPython")
    shell.get_ipython = lambda: types.SimpleNamespace(kernel=True)
    shown: Any = types.ModuleType("IPython.display")
    shown.display = display
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return outputs


def test_one_line_is_redrawn(notebook: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """However often work reports, there is one output, empty at the end."""
    with progress("prune", 500, "steps") as bar:
        bar.printed -= 60  # the first line is due
        for step in range(501):
            bar.update(step, "loss 0.1")
    (lines,) = notebook
    assert lines[0].startswith("prune    0 %")
    assert "100 %" in lines[-2]
    assert "" == lines[-1]
    assert len(lines) < 20
    assert ("", "") == capsys.readouterr()


def test_quiet_work_shows_nothing(notebook: list[list[str]]) -> None:
    """Nor does it ask for an output."""
    with progress("prune", 5, "steps", shown=False) as bar:
        bar.update(5)
    assert notebook == []


def test_a_shell_is_no_notebook(
    notebook: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """IPython in a terminal has no kernel: lines go to standard error."""
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: types.SimpleNamespace())
    with progress("prune", 5, "steps") as bar:
        bar.update(5)
    assert notebook == []
    assert "100 %" in capsys.readouterr().err

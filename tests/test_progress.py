"""Progress in a notebook: one line that is redrawn, nothing on standard error; time limits."""

import io
import re
import signal
import sys
import time
import types
from typing import Any

import pytest

from lacewing.progress import OUT_OF_TIME, for_at_most, progress, say


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


class Terminal(io.StringIO):
    """A terminal that keeps what is drawn on it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize("width", [40, 100])
def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """A bar for each piece of work, one under the other; no line is broken; nothing is left."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.delenv("NO_COLOR", raising=False)
    with progress("outer", 4, "parts") as outer:
        outer.update(1)
        with progress("prune if_equals", 500, "steps") as inner:
            inner.printed -= 60
            inner.update(100, "loss 0.123, a note that is longer than a narrow terminal is wide")
            inner.printed -= 60
            inner.update(250)
            say("a line between")
            drawn = screen.getvalue()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert " 50 %" in text
    assert "outer" in text
    assert ("━" in text) == (width == 100)
    assert max(map(len, re.split(r"[\r\n]", text))) <= width
    assert "a line between" in text
    assert screen.getvalue().endswith("\x1b[2K") or "\x1b[?25h" in screen.getvalue()[-40:]


def test_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is heeded."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    with progress("work", 4, "parts") as bar:
        bar.printed -= 60
        bar.update(2)
    assert "50 %" in screen.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", screen.getvalue())


def test_a_dumb_terminal_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that cannot redraw is a log like any other."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with progress("work", 4, "parts") as bar:
        bar.update(4, "note")
    assert "work  100 %  note\n" == screen.getvalue()


def test_work_ends_when_its_time_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    """With a status of its own and a line; what ends by itself leaves no alarm behind."""
    with for_at_most(60):
        assert signal.alarm(60) > 0
    assert signal.alarm(0) == 0
    with pytest.raises(SystemExit) as ended, for_at_most(1):
        time.sleep(30)
    assert OUT_OF_TIME == ended.value.code
    assert "time is up; the same command goes on\n" == capsys.readouterr().err

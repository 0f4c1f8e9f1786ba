"""What the command line settles for its process, and that the library leaves it alone."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lacewing.cli import machine

PACKAGE = Path(machine.__file__).parents[1]
ASKS = ("kernels/memory.py", "cli/machine.py", "sweep/work.py")
"""The allocator itself, the command line, and the processes of a sweep, which do nothing else."""
SHOWN = """
import os, sys
from lacewing.cli import app
assert "torch" not in sys.modules
app.main(["models"])
print([os.environ[name] for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")])
"""
PLOTTED = """
from lacewing.cli.machine import settle
settle()
from lacewing.pages.plots import Plot
plot = Plot(200, 100, (20, 20, 180, 80))
plot.named("across", "up")
plot.svg()
"""


def test_threads_sleep_and_what_the_user_set_stays(
    program: Callable[[Sequence[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch is loaded, and only where the environment says nothing."""
    assert "['PASSIVE', '0']" in program(["-c", SHOWN])
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE", "XDG_CACHE_HOME": "/cache"})
    monkeypatch.setattr(machine, "cores", lambda: 3)
    machine.settle()
    assert os.environ == {
        "OMP_WAIT_POLICY": "ACTIVE",
        "KMP_BLOCKTIME": "0",
        "OMP_NUM_THREADS": "3",
        "XDG_CACHE_HOME": "/cache",
        "MPLCONFIGDIR": str(Path("/cache/lacewing/matplotlib")),
    }


def test_plotting_leaves_a_home_clean(tmp_path: Path, environment: dict[str, str]) -> None:
    """Of matplotlib, too, nothing is kept but in lacewing's cache folder."""
    theirs = ("HOME", "MPLCONFIGDIR")
    kept = {n: v for n, v in environment.items() if not n.startswith("XDG_") and n not in theirs}
    command = [sys.executable, "-c", PLOTTED]
    subprocess.run(command, env=kept | {"HOME": str(tmp_path)}, check=True, timeout=300)
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert [Path(".cache/lacewing/matplotlib")] == [file.parent for file in files]
    assert [".cache"] == [path.name for path in tmp_path.iterdir()]


def test_the_library_leaves_the_process_alone() -> None:
    """No other module changes the allocator or the environment of OpenMP."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        text = path.read_text(encoding="utf-8")
        called = {ast.unparse(n.func) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)}
        if name not in ASKS and ("keep_pages" in called or "OMP_WAIT_POLICY" in text):
            found.append(name)
    assert found == []

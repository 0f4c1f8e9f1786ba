"""What the command line settles for its process, and that the library leaves it alone."""

import ast
import os
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


def test_threads_sleep_and_what_the_user_set_stays(
    program: Callable[[Sequence[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch is loaded, and only where the environment says nothing."""
    assert "['PASSIVE', '0']" in program(["-c", SHOWN])
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE"})
    monkeypatch.setattr(machine, "cores", lambda: 3)
    machine.settle()
    assert os.environ == {
        "OMP_WAIT_POLICY": "ACTIVE",
        "KMP_BLOCKTIME": "0",
        "OMP_NUM_THREADS": "3",
    }


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

"""What the hook in a case's process tells of: every pickle, but kernels that numba compiled."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from hostile import judge

LOOP = """
import numba

@numba.njit(cache=True)
def twice(x):
    return 2 * x
"""


def compiled(folder: Path) -> Any:
    """Run a loop that is compiled, or read from where numba keeps it."""
    space: dict[str, Any] = {"__name__": "loops", "__file__": str(folder / "loops.py")}
    exec(compile((folder / "loops.py").read_text(), folder / "loops.py", "exec"), space)
    return space["twice"](21)


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """A module with a loop, whose machine code numba has kept beside it."""
    pytest.importorskip("numba")
    (tmp_path / "loops").mkdir()
    (tmp_path / "loops" / "loops.py").write_text(LOOP)
    assert compiled(tmp_path / "loops") == 42
    assert list((tmp_path / "loops" / "__pycache__").glob("*.nbi"))
    return tmp_path / "loops"


def outcome(folder: Path, probe: judge.Probe, figures: Any) -> judge.Outcome:
    """What came of a case."""
    judge.place(folder)
    return judge.sort(judge.watched(folder, probe), figures, False)


def test_kernels_that_numba_kept_are_no_code_of_the_case(loop: Path, tmp_path: Path) -> None:
    """They are read from beside the program, where only the user writes."""
    found = outcome(tmp_path / "case", lambda work: compiled(loop), 42)
    assert (found.kind, found.detail) == ("equal", "")


def test_kernels_in_the_folder_of_the_case_are_told(tmp_path: Path) -> None:
    """There they would be somebody else's."""
    pytest.importorskip("numba")
    judge.place(tmp_path / "case")
    (tmp_path / "case" / "work" / "loops").mkdir()
    (tmp_path / "case" / "work" / "loops" / "loops.py").write_text(LOOP)
    compiled(tmp_path / "case" / "work" / "loops")
    seen = judge.watched(tmp_path / "case", lambda work: compiled(work / "loops"))
    assert judge.sort(seen, 42, False).kind == "code"


def test_any_other_pickle_is_told(tmp_path: Path) -> None:
    """Also one that names nothing bad."""
    made = pickle.dumps(Path("x"))
    found = outcome(tmp_path / "case", lambda work: str(pickle.loads(made)), "x")
    assert found.kind == "code"
    assert "pickle.find_class" in found.detail

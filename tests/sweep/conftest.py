"""A corpus, a task, and one finished sweep of two small models that several tests read."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import letters

from lacewing.sweep.pool import Pool
from lacewing.sweep.run import sweep


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a task; configurations are written there."""
    folder = tmp_path_factory.mktemp("letters")
    letters.write_text(folder / "text")
    letters.write_task(folder)
    return folder


@pytest.fixture(scope="session")
def one() -> Pool:
    """One job at a time, here, on one thread."""
    return Pool(processes=1, threads=1)


@pytest.fixture(scope="session")
def done(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep; read only."""
    output = tmp_path_factory.mktemp("sweeps") / "done"
    sweep(letters.config(place), output, Pool(processes=2, threads=1), quiet=True)
    return output

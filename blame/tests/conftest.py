"""What the tests share; while they run, every call within the package is checked for its types."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_package

# As Python itself would say it: what a log holds in the wrong place is caught as that.
beartype_package("lacewing_blame", conf=BeartypeConf(violation_type=TypeError))

SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture(scope="session")
def program() -> Callable[[Sequence[str]], str]:
    """Run Python on one CPU thread to its end; its standard output. A failure fails the test."""

    def execute(arguments: Sequence[str]) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return execute

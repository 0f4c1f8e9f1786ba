"""A few hundred mutations of what is quickly made; `make campaign` tries ten thousand of all."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
QUICK = "model,compact,circuit,training,twin,tokenizer,task,wheel,weights,--models"
QUICK += ",whoandwhen,otel,langchain,autogen,openai,jsonl,--blame"


def test_a_few_hundred(environment: dict[str, str], tmp_path: Path) -> None:
    """No traceback, no silent change, nothing outside, nothing run, nothing slow or large."""
    assert_clean(
        environment,
        "--mutations",
        "200",
        "--turns",
        "100",
        "--only",
        QUICK,
        "--no-kills",
        "--no-soak",
    )


def assert_clean(environment: dict[str, str], *flags: str) -> None:
    """Run a campaign in a process of its own, without the run-time type checks of the tests."""
    paths = os.pathsep.join([str(TESTS), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "hostile", *flags],
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

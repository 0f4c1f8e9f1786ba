"""The files test_cuda_*.py: on a GPU as they stand, elsewhere under Triton's interpreter.

Triton decides when it is first imported whether its kernels are compiled or interpreted, and torch
imports it early. So each of those files runs once in a fresh interpreter of its own, with
TRITON_INTERPRET set there and nowhere else; its tests report here what they did there.
"""

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch

HERE = "TRITON_INTERPRET" in os.environ or torch.cuda.is_available()


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where the tensors of kernel tests live."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a Triton test in the interpreter, unless this is it."""
    if not pyfuncitem.path.name.startswith("test_cuda_") or HERE:
        return None
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed (it comes with the extra `dev`, on Linux)")
    outcomes = pyfuncitem.config.stash.setdefault(OUTCOMES, {})
    file = pyfuncitem.path
    if file not in outcomes:
        outcomes[file] = in_interpreter(file, Path(pyfuncitem.config.rootpath))
    tests, log = outcomes[file]
    case = tests.get(pyfuncitem.name)
    if case is None:
        pytest.fail(f"did not run under Triton's interpreter:\n{log}", pytrace=False)
    for kind, report in (
        ("skipped", pytest.skip),
        ("failure", pytest.fail),
        ("error", pytest.fail),
    ):
        found = case.find(kind)
        if found is not None:
            report(found.text or found.get("message", ""))
    return True


Outcomes = tuple[dict[str, ET.Element], str]
OUTCOMES = pytest.StashKey[dict[Path, Outcomes]]()


def in_interpreter(file: Path, root: Path) -> Outcomes:
    """Run a test file with Triton's kernels interpreted: each test's outcome, and the log."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*program, f"--junitxml={report}", str(file)],
            cwd=root,
            env=os.environ | {"TRITON_INTERPRET": "1"},
            capture_output=True,
            text=True,
        )
        log = (done.stdout + done.stderr)[-4000:]
        if not report.exists():
            return {}, log
        cases = ET.parse(report).getroot().iter("testcase")
        return {case.get("name", ""): case for case in cases}, log

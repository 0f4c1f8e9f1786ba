"""What many tests share: a small corpus, a small trained run, the command line as a user calls it.

Everything is made anew in temporary folders: no network, no GPU, nothing from this machine.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import first_calls
import micro
from lacewing.circuit.prompts import PromptSets
from lacewing.data.corpus import Corpus
from lacewing.model.store import Model
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src"
LONG = (
    *("kernels/test_cuda_", "kernels/test_triton_compile", "sweep/test_sweep_run"),
    *("sweep/test_sweep_cluster", "pruning/test_small", "viewer/page/", "test_open_models"),
    *("hostile/test_hostile_campaign", "sweep/test_emergence"),
)
"""Files whose tests take long: GPU kernels interpreted and compiled, whole sweeps, prunings of the
models that ship, and pages in a browser. `make test-all` runs them."""
NAMES = ("count", "total", "value", "items", "name", "path", "result", "index", "line", "current")
SMALL: dict[str, Any] = {
    "expansion": 1.0,
    "base_width": 32,
    "density": 0.25,
    "n_layer": 2,
    "d_head": 8,
    "context": 32,
    "vocab_size": 300,
    "batch": 8,
    "tokens": 8 * 32 * 30,
    "learning_rate": 0.05,
    "anneal": "linear",
    "anneal_end": 0.5,
    "d_position": 0,
    "floor": 2,
    "precision": "fp32",
    "evaluate_every": 10,
    "validation_tokens": 1024,
}
"""A run of 30 steps that takes a second or two."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long tests."""
    for item in items:
        if item.path.is_relative_to(TESTS) and str(item.path.relative_to(TESTS)).startswith(LONG):
            item.add_marker(pytest.mark.long)


def pytest_runtest_setup() -> None:
    """Check the types of every function's first calls anew."""
    first_calls.begin()


def module(number: int) -> str:
    """A short Python file, another one for every number."""
    dice = random.Random(number)
    lines = [f"# module {number}", "import os", ""]
    for part in range(dice.randint(2, 5)):
        first, second, third = (dice.choice(NAMES) for _ in range(3))
        quote = dice.choice("'\"")
        lines += [
            f"def {first}_{second}({third}, limit={dice.randint(1, 99)}):",
            f"    {first} = {quote}{dice.choice(NAMES)}{quote}",
            f"    while {third} < limit:",
            f"        if {third} == {part}:",
            f"            return {first}",
            f"        {third} += {dice.randint(1, 9)}",
            f"    return [{second}, {third}]",
            "",
        ]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 300 short Python files."""
    folder = tmp_path_factory.mktemp("corpus") / "source"
    for number in range(300):
        path = folder / f"package{number % 7}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(module(number), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small() -> Callable[..., TrainConfig]:
    """A configuration of seconds, with changes."""

    def make(**changes: Any) -> TrainConfig:
        return TrainConfig(**(SMALL | changes))

    return make


@pytest.fixture(scope="session")
def flags() -> Callable[..., list[str]]:
    """The same configuration as flags of the command line."""

    def make(**changes: Any) -> list[str]:
        words = []
        for name, value in (SMALL | changes).items():
            words += ["--" + name.replace("_", "-"), str(value)]
        return words

    return make


@pytest.fixture(scope="session")
def run(
    text: Path, small: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished sparse run; read only."""
    folder = tmp_path_factory.mktemp("runs") / "sparse"
    train(small(), Corpus.files(str(text)), folder, quiet=True)
    return folder


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Variables under which a program of its own runs on one CPU thread."""
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


@pytest.fixture(scope="session")
def program(environment: dict[str, str]) -> Callable[[Sequence[str]], str]:
    """Run Python with some arguments to its end; its standard output. A failure fails the test."""

    def execute(arguments: Sequence[str]) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return execute


@pytest.fixture(scope="session")
def model() -> Model:
    """The micro model, whose circuit is known."""
    return micro.micro()


@pytest.fixture(scope="session")
def sets(model: Model) -> PromptSets:
    """Its prompts."""
    return micro.prompt_sets(model)


@pytest.fixture(scope="session")
def busy() -> Model:
    """Random sparse weights, eight channels."""
    return micro.busy(8)

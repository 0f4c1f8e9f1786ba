"""Models and text that bridges are tested on."""

from pathlib import Path

import pytest

import micro
from bridges.rotated import exact, rotated
from lacewing.bridges.folder import Coupling
from lacewing.model.store import Model, load


@pytest.fixture(scope="session")
def sparse() -> Model:
    """The micro model."""
    return micro.micro()


@pytest.fixture(scope="session")
def coupling(sparse: Model) -> Coupling:
    """It and itself in other coordinates, with the exact bridges."""
    return exact(sparse, rotated(sparse))


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text of the micro model's letters, in many files."""
    return micro.write_letters(tmp_path_factory.mktemp("bridges") / "text")


@pytest.fixture(scope="session")
def runs(sparse: Model, coupling: Coupling, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models as runs, `sparse` and `dense`."""
    folder = tmp_path_factory.mktemp("bridge-runs")
    micro.write_run(sparse, folder / "sparse")
    micro.write_run(coupling.dense, folder / "dense")
    return folder


@pytest.fixture(scope="session")
def dense(runs: Path) -> Model:
    """The rotated model, from its folder."""
    return load(runs / "dense")

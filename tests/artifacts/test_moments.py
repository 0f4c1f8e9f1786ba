"""What an Adam optimizer remembers, written to a file and put back: whole, or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.errors import ArtifactError

Change = Callable[[dict[str, Tensor]], object]


def learned(steps: int = 3) -> tuple[torch.optim.Adam, dict[str, Tensor]]:
    """An optimizer of two parameters, the second of which never got a gradient."""
    torch.manual_seed(0)
    parameters = {name: torch.nn.Parameter(torch.randn(2, 3)) for name in ("used", "idle")}
    optimizer = torch.optim.Adam(parameters.values(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        parameters["used"].square().sum().backward()
        optimizer.step()
    return optimizer, dict(parameters)


def test_what_was_taken_is_given_back() -> None:
    """Bit for bit, under whatever names; of the parameter that never learned, nothing."""
    optimizer, parameters = learned()
    for key in (artifacts.KEY, "mask/{name}/{moment}"):
        tensors = artifacts.moments(optimizer, parameters, key)
        assert len(tensors) == 3
        found = artifacts.checked_moments(tensors, parameters, Path("f"), key)
        assert found.keys() == {"used"}
        for moment, value in optimizer.state[parameters["used"]].items():
            assert torch.equal(found["used"][moment], value)
            assert found["used"][moment] is not value


DAMAGED: dict[str, tuple[Change, str]] = {
    "a moment is gone": (lambda t: t.pop("exp_avg_sq/used"), "exp_avg_sq/used is missing"),
    "its steps are gone": (lambda t: t.pop("step/used"), "step/used is missing"),
    "half of another": (lambda t: t.update({"step/idle": torch.tensor(1.0)}), "idle is missing"),
    "a shape": (lambda t: t.update({"exp_avg/used": torch.ones(6)}), r"is \(6,\), not \(2, 3\)"),
    "many steps": (lambda t: t.update({"step/used": torch.ones(1)}), r"is \(1,\), not \(\)"),
    "a type": (lambda t: t.update({"step/used": torch.tensor(3)}), "holds int64, not float32"),
    "no number": (lambda t: t["exp_avg/used"].fill_(torch.nan), "not finite"),
    "a square below zero": (lambda t: t["exp_avg_sq/used"].neg_(), "exp_avg_sq/used is below zero"),
    "steps below zero": (lambda t: t["step/used"].fill_(-1), "step/used is below zero"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_refused(case: str) -> None:
    """By name, with the file."""
    optimizer, parameters = learned()
    tensors = {name: t.clone() for name, t in artifacts.moments(optimizer, parameters).items()}
    change, said = DAMAGED[case]
    change(tensors)
    with pytest.raises(ArtifactError, match=f"^kept: .*{said}"):
        artifacts.checked_moments(tensors, parameters, Path("kept"))


def test_all_must_have_learned_where_that_is_asked() -> None:
    """An autoencoder's four parameters learn together."""
    optimizer, parameters = learned()
    tensors = artifacts.moments(optimizer, parameters)
    with pytest.raises(ArtifactError, match="step/idle is missing"):
        artifacts.checked_moments(tensors, parameters, Path("kept"), needed=True)

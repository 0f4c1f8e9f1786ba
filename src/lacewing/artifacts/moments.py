"""What an Adam optimizer remembers of its parameters, as tensors of a file: taken, checked, given.

    exp_avg/NAME  exp_avg_sq/NAME    running means of the gradient and of its square
    step/NAME                        steps so far

Whoever changed one of them would steer what is learned next, so all are looked at before one is
used: all three of a parameter or none, of its shape, finite, and no square below zero.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lacewing.artifacts.tensors import check_values
from lacewing.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
KEY = "{moment}/{name}"
"""The name of a tensor in a file."""


def moments(
    optimizer: "Optimizer", parameters: "Mapping[str, Tensor]", key: str = KEY
) -> "dict[str, Tensor]":
    """All that an optimizer remembers; of a parameter that never learned, nothing.

    Args:
        optimizer: An Adam.
        parameters: Its parameters by name.
        key: The name of a tensor in the file, with {moment} and {name}.
    """
    return {
        key.format(moment=moment, name=name): value.detach()
        for name, parameter in parameters.items()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def checked_moments(
    tensors: "Mapping[str, Tensor]",
    parameters: "Mapping[str, Tensor]",
    where: Path,
    key: str = KEY,
    *,
    needed: bool = False,
) -> "dict[str, dict[str, Tensor]]":
    """What `moments` took, by parameter, fit for `optimizer.state`; nothing is changed yet.

    Args:
        tensors: What the file holds; others in it are passed by.
        parameters: As given to `moments`.
        where: The file, for the error.
        key: As given to `moments`.
        needed: Whether each parameter must have learned something.

    Returns:
        By name, for each parameter that had learned something.

    Raises:
        ArtifactError: one is missing, of another shape or type, not finite or below zero.
    """
    import torch

    found = {}
    for name, parameter in parameters.items():
        keys = {moment: key.format(moment=moment, name=name) for moment in MOMENTS}
        missing = [full for full in keys.values() if full not in tensors]
        if len(missing) == len(MOMENTS) and not needed:
            continue
        if missing:
            raise ArtifactError(f"{where}: {missing[0]} is missing: damaged")
        for moment, full in keys.items():
            value, shape = tensors[full], () if moment == "step" else tuple(parameter.shape)
            if tuple(value.shape) != shape:
                raise ArtifactError(
                    f"{where}: {full} is {tuple(value.shape)}, not {shape}: damaged"
                )
            check_values(value, where, full, (torch.float32,))
            if moment != "exp_avg" and bool((value < 0).any()):
                raise ArtifactError(f"{where}: {full} is below zero: damaged")
        found[name] = {
            moment: tensors[full].to(parameter.device, copy=True) for moment, full in keys.items()
        }
    return found

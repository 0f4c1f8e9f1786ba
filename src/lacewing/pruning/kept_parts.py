"""Where an editor and a learned calibration stand, written to a pruning's state and put back."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.editor import CircuitEditor
from lacewing.pruning.learned_calibration import LearnedCalibration
from lacewing.pruning.state import State, moments, named, put_back, set_moments


def calibration_state(calibration: LearnedCalibration) -> dict[str, Tensor]:
    """A learned calibration and its optimizer."""
    values = {"log_scale": calibration.log_scale.detach(), "bias": calibration.bias.detach()}
    return values | moments("optimizer", calibration.optimizer)


def set_calibration(calibration: LearnedCalibration, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `calibration_state` took."""
    put_back(calibration.log_scale, tensors, "log_scale")
    put_back(calibration.bias, tensors, "bias")
    set_moments("optimizer", calibration.optimizer, tensors)


def keep_editor(state: State, name: str, editor: CircuitEditor, phase: str) -> None:
    """Keep what an editor has switched off, and how far its elimination is.

    Its biases are kept too: edges that were tried and put back leave a rounding there.
    """
    gone = [edge for edge in editor.edges if editor.is_off(edge)]
    tensors = named("mask", editor.masks) | named("bias", editor.biases())
    state.put(name, {"phase": phase, "gone": gone}, tensors)


def resume_editor(state: State, name: str, editor: CircuitEditor) -> str | None:
    """Bring an editor to where it stood; the phase, none where nothing was kept.

    Raises:
        ArtifactError: what was kept is damaged.
    """
    if (found := state.get(name)) is None:
        return None
    values, tensors = found
    with artifacts.foreign(state.folder or Path()):
        for family, source, destination in values["gone"]:
            editor.switch((family, source, destination), on=False)
        phase = str(values["phase"])
    for key, mask in editor.masks.items():
        put_back(mask, tensors, f"mask/{key}")
    for key, bias in editor.biases().items():
        put_back(bias, tensors, f"bias/{key}")
    return phase

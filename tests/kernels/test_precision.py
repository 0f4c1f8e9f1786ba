"""bfloat16 is only used where it pays."""

import pytest
import torch

from lacewing.kernels.precision import half_pays
from lacewing.pruning.robust import losses as kinds
from lacewing.training import loop


@pytest.mark.parametrize("supported", [True, False])
def test_asks_the_processor(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    """A CPU by what torch says of it; other devices always; never one that has AVX2 and no more."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert half_pays("cpu") is supported
    assert half_pays("cuda")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not half_pays("cpu")


@pytest.mark.parametrize(("pays", "made"), [(True, torch.bfloat16), (False, torch.float32)])
def test_masks_are_learned_in_what_pays(
    monkeypatch: pytest.MonkeyPatch, pays: bool, made: torch.dtype
) -> None:
    """A product in the block of a mask's step has the type that pays."""
    monkeypatch.setattr(kinds, "half_pays", lambda device: pays)
    with kinds._precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == made


@pytest.mark.parametrize(
    ("precision", "pays", "used"),
    [("auto", True, "bf16"), ("auto", False, "no"), ("bf16", False, "bf16"), ("fp32", True, "no")],
)
def test_training_takes_what_pays(
    monkeypatch: pytest.MonkeyPatch, precision: str, pays: bool, used: str
) -> None:
    """`auto` follows the device; a precision that was asked for is used anyway."""
    monkeypatch.setattr(loop, "half_pays", lambda device: pays)
    assert loop.mixed_precision(precision, "cpu") == used

"""bfloat16 is only used where it pays."""

import platform

import pytest
import torch

from lacewing.kernels import precision
from lacewing.kernels.precision import half_pays
from lacewing.pruning.robust import losses as kinds
from lacewing.training import loop


@pytest.mark.parametrize("supported", [True, False])
def test_asks_the_processor(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    """A CPU by what torch says of it; other devices always; never one that has AVX2 and no more."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    monkeypatch.setattr(precision, "_multiplies_half", lambda: True)
    assert half_pays("cpu") is supported
    assert half_pays("cuda")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not half_pays("cpu")


@pytest.mark.parametrize(
    ("processor", "bf16", "amx", "pays"),
    [
        ("x86_64", False, False, False),  # AVX-512 of 2017 to 2021: converts every element
        ("x86_64", True, False, True),
        ("x86_64", False, True, True),
        ("AMD64", False, False, False),
        ("arm64", False, False, True),
    ],
)
def test_asks_x86_for_the_instructions(
    monkeypatch: pytest.MonkeyPatch, processor: str, bf16: bool, amx: bool, pays: bool
) -> None:
    """OneDNN says that it supports what it only emulates."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert half_pays("cpu") is pays


@pytest.mark.parametrize(("pays", "made"), [(True, torch.bfloat16), (False, torch.float32)])
def test_masks_are_learned_in_what_pays(
    monkeypatch: pytest.MonkeyPatch, pays: bool, made: torch.dtype
) -> None:
    """A product in the block of a mask's step has the type that pays."""
    monkeypatch.setattr(kinds, "half_pays", lambda device: pays)
    with kinds._precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == made


@pytest.mark.parametrize(
    ("wanted", "pays", "used"),
    [("auto", True, "bf16"), ("auto", False, "no"), ("bf16", False, "bf16"), ("fp32", True, "no")],
)
def test_training_takes_what_pays(
    monkeypatch: pytest.MonkeyPatch, wanted: str, pays: bool, used: str
) -> None:
    """`auto` follows the device; a precision that was asked for is used anyway."""
    monkeypatch.setattr(loop, "half_pays", lambda device: pays)
    assert loop.mixed_precision(wanted, "cpu") == used

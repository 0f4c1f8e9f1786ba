"""The optimizer's arithmetic in Triton against torch.optim.Adam, and a whole step of training."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lacewing.model.transformer import Transformer
from lacewing.training import optimizer as plain
from lacewing.training.config import TrainConfig


def tensors(device: torch.device, seed: int) -> list[Tensor]:
    """Sizes below, at and above a program's chunk."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((3,), (17, 19), (64, 128), (9000,))
    return [torch.randn(shape, generator=draw).to(device) for shape in shapes]


def test_gradient_rms(device: torch.device) -> None:
    """The RMS is over all entries of all gradients; entries without one count as zeros."""
    from lacewing.kernels.cuda import adam

    grads = tensors(device, 0)
    flat = torch.cat([g.flatten() for g in grads]).double()
    torch.testing.assert_close(adam.gradient_rms(grads).double(), flat.square().mean().sqrt())
    half = adam.gradient_rms(grads, 4 * len(flat))
    torch.testing.assert_close(half.double(), flat.square().mean().sqrt() / 2)


def test_three_steps_are_those_of_adam(device: torch.device) -> None:
    """Weights and moments follow torch.optim.Adam on scaled gradients; some are then decayed."""
    from lacewing.kernels.cuda import adam

    ours = tensors(device, 1)
    theirs = [torch.nn.Parameter(p.clone()) for p in ours]
    first, second = ([torch.zeros_like(p) for p in ours] for _ in range(2))
    reference = torch.optim.Adam(theirs, lr=0.01, betas=(0.9, 0.95), eps=0.1)
    scaled = [True, False, True, False]
    for step in (1, 2, 3):
        grads = tensors(device, 1 + step)
        rms = adam.gradient_rms(grads)
        for p, g in zip(theirs, grads, strict=True):
            p.grad = g / (float(rms) + 1e-5)
        reference.step()
        with torch.no_grad():
            for p, shrinks in zip(theirs, scaled, strict=True):
                p.mul_(0.9 if shrinks else 1.0)
        adam.update_(
            *(ours, grads, first, second, rms),
            rate=0.01,
            step=step,
            beta1=0.9,
            beta2=0.95,
            epsilon=0.1,
            guard=1e-5,
            factor=0.9,
            scaled=scaled,
            clear=step == 3,
        )
    assert all(not g.any() for g in grads)
    for i, p in enumerate(theirs):
        torch.testing.assert_close(ours[i], p.detach())
        torch.testing.assert_close(first[i], reference.state[p]["exp_avg"])
        torch.testing.assert_close(second[i], reference.state[p]["exp_avg_sq"])


def test_what_it_covers() -> None:
    """Dense single precision only."""
    from lacewing.kernels.cuda import adam

    assert adam.covers([torch.zeros(3), torch.zeros(2, 2)])
    assert not adam.covers([torch.zeros(3).double()])
    assert not adam.covers([torch.zeros(4, 2).t()])


def test_a_training_step(
    small: Callable[..., TrainConfig], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole steps with these kernels end with the weights and moments of the CPU's."""
    from lacewing.kernels import adam, keep_largest

    def together(matrices: list[keep_largest.Matrix]) -> None:
        for scale in {matrix.scale for matrix in matrices}:
            keep_largest._together([m for m in matrices if m.scale == scale], scale)

    config = small(tokens=8 * 32 * 4, n_layer=1)
    torch.manual_seed(0)
    network = Transformer(config.model(64)).to(device)
    other = copy.deepcopy(network)
    mine, theirs = plain.adam(network, config), plain.adam(other, config)
    draw = torch.Generator().manual_seed(0)
    for step in range(config.steps):
        for p, same in zip(network.parameters(), other.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=draw).to(device)
            same.grad = p.grad.clone()
        expected = plain.finish_step(other, theirs, config, step)
        with monkeypatch.context() as patch:
            patch.setattr(adam, "_on_cpu", adam._on_gpu)
            patch.setattr(keep_largest, "_on_cpu", together)
            rms = plain.finish_step(network, mine, config, step)
        assert float(expected) == pytest.approx(float(rms))
        for (name, p), same in zip(network.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, same, msg=lambda text, at=name: f"{at}: {text}")
            assert not p.grad.any()
            torch.testing.assert_close(mine.state[p]["exp_avg"], theirs.state[same]["exp_avg"])
            assert float(mine.state[p]["step"]) == step + 1
    assert float(torch.count_nonzero(network.blocks[0].c_fc.weight)) < 0.3 * 128 * 32

"""The Adam step: all tensors at once against torch's own optimizer, and the RMS by hand."""

import pytest
import torch

from lacewing.kernels.adam import Slot, Step, adam_step_, adam_step_reference_


def slots(sizes: tuple[tuple[int, ...], ...], shrink: float = 1.0) -> list[Slot]:
    """Tensors of some shapes with gradients, moments at zero."""
    generator = torch.Generator().manual_seed(0)
    return [
        Slot(
            torch.randn(size, generator=generator),
            torch.randn(size, generator=generator),
            torch.zeros(size),
            torch.zeros(size),
            shrink,
        )
        for size in sizes
    ]


def numbers(count: int = 1, guard: float = 1e-5) -> Step:
    """The constants of the paper, at rate 1/2."""
    return Step(0.5, 0.9, 0.95, 0.1, count, guard)


def test_gradients_are_divided_by_their_global_rms() -> None:
    """(3, 4) and (0, 0) have RMS 5/2 over four entries; small gradients grow, large ones shrink."""
    for scale in (1.0, 1e3, 1e-1):
        gradients = (scale * torch.tensor([3.0, 4.0]), torch.zeros(1, 2))
        held = [
            Slot(*(torch.zeros_like(g), g, torch.zeros_like(g), torch.zeros_like(g)))
            for g in gradients
        ]
        assert 2.5 * scale == pytest.approx(adam_step_(held, numbers()))
        expected = 0.1 * torch.tensor([3.0, 4.0]) * scale / (2.5 * scale + 1e-5)
        torch.testing.assert_close(held[0].first, expected)
        assert held[0].gradient.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("step", [adam_step_, adam_step_reference_])
def test_steps_equal_those_of_torch(step) -> None:  # type: ignore[no-untyped-def]
    """Five steps over tensors below, at and above a piece's size; decay comes after the step."""
    sizes = ((3,), (256, 256), (300, 300), (1, 1))
    held = slots(sizes, shrink=0.99)
    theirs = [slot.weight.clone().requires_grad_() for slot in held]
    optimizer = torch.optim.Adam(theirs, lr=0.5, betas=(0.9, 0.95), eps=0.1)
    generator = torch.Generator().manual_seed(1)
    for count in range(1, 6):
        gradients = [torch.randn(size, generator=generator) for size in sizes]
        total = sum(float(g.square().sum()) for g in gradients)
        rms = (total / sum(g.numel() for g in gradients)) ** 0.5
        for slot, weight, gradient in zip(held, theirs, gradients, strict=True):
            slot.gradient.copy_(gradient)
            weight.grad = gradient / (rms + 1e-5)
        assert rms == pytest.approx(step(held, numbers(count)))
        optimizer.step()
        with torch.no_grad():
            for weight in theirs:
                weight.mul_(0.99)
    for slot, weight in zip(held, theirs, strict=True):
        torch.testing.assert_close(weight.detach(), slot.weight, rtol=1e-4, atol=1e-5)


def test_the_fast_step_is_the_same_twice() -> None:
    """Sums are added in a fixed order, whatever thread is done first."""
    first, second = slots(((500, 500), (70_000,))), slots(((500, 500), (70_000,)))
    assert adam_step_(first, numbers()) == adam_step_(second, numbers())
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(first, second, strict=True))


def test_what_is_not_float32_takes_the_reference() -> None:
    """Doubles step too, as torch would."""
    weight = torch.ones(4, dtype=torch.float64)
    slot = Slot(weight, torch.ones_like(weight), torch.zeros_like(weight), torch.zeros_like(weight))
    adam_step_([slot], numbers(guard=0.0))
    torch.testing.assert_close(torch.full((4,), 1 - 0.5 / 1.1, dtype=torch.float64), weight)

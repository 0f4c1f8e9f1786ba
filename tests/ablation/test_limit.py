"""Losses that are only held against a limit."""

from collections.abc import Iterator

import pytest
import torch

from lacewing.ablation.calibration import calibrated_loss
from lacewing.ablation.limit import loss_within
from lacewing.tasks.batch import Prompts
from lacewing.tasks.pair import Pair
from lacewing.tasks.scoring import two_answer_loss


def answered(answer: torch.Tensor, vocab: int) -> Prompts:
    """Prompts of which only the answers matter; the other one is the token after."""
    rows = len(answer)
    return Prompts(
        tokens=torch.zeros(rows, 1, dtype=torch.long),
        last=torch.zeros(rows, dtype=torch.long),
        answer=answer,
        other=(answer + 1) % vocab,
        pairs=(Pair("", "", "", "", ""),) * (rows // 2),
    )


@pytest.mark.parametrize("calibrate", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_a_loss_within_its_limit_is_exact(seed: int, calibrate: bool) -> None:
    """What is within is measured in full; what stops early would have been above."""
    dice = torch.Generator().manual_seed(seed)
    pairs, vocab = 40, 7
    answer = torch.randint(2 + seed % 5, (2 * pairs,), generator=dice)
    logits = (0.1 + 3 * torch.rand(1, generator=dice)) * torch.randn(
        2 * pairs, vocab, generator=dice
    )
    logits[torch.arange(2 * pairs), answer] += 3 * torch.rand(1, generator=dice)
    prompts = answered(answer, vocab)
    pieces = logits.split(20)
    full = loss_within(float("inf"), pieces, prompts, calibrate)
    plain = float(two_answer_loss(logits, prompts).mean())
    assert (calibrated_loss(logits, prompts) if calibrate else plain) == pytest.approx(full)
    assert full == loss_within(full, pieces, prompts, calibrate)
    for limit in (0.2 * full, 0.8 * full, full - 1e-3):
        assert loss_within(limit, pieces, prompts, calibrate) is None


def test_a_hopeless_loss_runs_few_prompts() -> None:
    """At chance, a quarter of the prompts shows that 0.15 is out of reach."""
    ran = []

    def pieces() -> Iterator[torch.Tensor]:
        for number in range(8):
            ran.append(number)
            yield torch.zeros(10, 3)

    prompts = answered(torch.arange(80) % 2, 2)
    assert loss_within(0.15, pieces(), prompts, calibrate=True) is None
    assert [0, 1] == ran

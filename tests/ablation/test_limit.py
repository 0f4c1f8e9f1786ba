"""Losses that are only held against a limit."""

from collections.abc import Iterator

import pytest
import torch

from lacewing.ablation.calibration import calibrated_loss
from lacewing.ablation.limit import Hardest, loss_within
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


def _few_fail(pairs: int, vocab: int) -> tuple[torch.Tensor, Prompts]:
    """Logits that are right everywhere but in the last tenth of the pairs."""
    prompts = answered(torch.arange(2 * pairs) % vocab, vocab)
    logits = torch.zeros(2 * pairs, vocab)
    right = torch.where(torch.arange(2 * pairs) < 1.8 * pairs, 5.0, -2.0)
    logits[torch.arange(2 * pairs), prompts.answer] = right
    return logits, prompts


@pytest.mark.parametrize("calibrate", [True, False])
def test_the_hardest_pairs_show_a_miss_first(calibrate: bool) -> None:
    """The second time far fewer pairs run; what is said is the same, within and above.

    With calibration half the limit is asked: a scale near zero makes any few failures cheap.
    """
    logits, prompts = _few_fail(160, 7)
    hardest, ran = Hardest(160), list[int]()
    full = loss_within(float("inf"), [logits], prompts, calibrate)
    assert full is not None

    def asked(limit: float) -> float | None:
        order = hardest.order(mixed=calibrate)
        assert sorted(order) == list(range(160))
        own, count = prompts.take(order), 0
        rows = torch.tensor(order).repeat_interleave(2) * 2 + torch.arange(320) % 2

        def pieces() -> Iterator[torch.Tensor]:
            nonlocal count
            for piece in logits[rows].split(32):
                count += len(piece) // 2
                yield piece

        found = loss_within(limit, hardest.noting(pieces(), own, order), own, calibrate)
        ran.append(count)
        return found

    limit = (0.5 if calibrate else 0.8) * full
    assert asked(limit) is None
    assert asked(limit) is None
    assert asked(1.001 * full) == pytest.approx(full, abs=1e-6)
    first, second, within = ran
    assert first > 144
    assert within == 160
    assert second <= 64


def test_easy_pairs_keep_a_calibration_honest() -> None:
    """Pairs that are all wrong are right with a negative scale: one in four is an easy one."""
    logits, prompts = _few_fail(40, 7)
    hardest = Hardest(40)
    list(hardest.noting([logits], prompts, range(40)))
    wrong = set(range(36, 40))
    assert set(hardest.order(mixed=False)[:4]) == wrong
    assert len(wrong & set(hardest.order(mixed=True)[:4])) == 3

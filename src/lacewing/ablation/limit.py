"""Losses that only matter where they are at most a limit.

Most circuits that are tried while pruning miss their target, by much. No prompt has a loss below
zero, so the first prompts can show it before the others have run: then nothing more is measured.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.calibration import least_loss, loss_of
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss

SLACK = 1e-4
"""Nats above the limit from which a loss is called certain: more than rounding makes."""


def loss_within(
    limit: float,
    pieces: Iterable[Float[Tensor, "sequence vocab"]],
    prompts: Prompts,
    calibrate: bool,
) -> float | None:
    """The mean task loss in nats if it is at most the limit, else none.

    Args:
        limit: Nats.
        pieces: The logits at the answer position, in the order of the prompts, some at a time.
        prompts: What they are computed on.
        calibrate: Whether the loss is that with the calibration that is best for these prompts.
    """
    logits, rows, enough = torch.empty(0), 0, limit + SLACK
    for piece in pieces:
        logits = logits if rows else piece.new_empty(len(prompts.last), piece.shape[1])
        logits[rows : rows + len(piece)] = piece
        rows += len(piece)
        if rows == len(logits) or math.isinf(limit):
            continue
        share, first = rows / len(logits), prompts.take(range(rows // 2))
        least = share * loss_of(logits[:rows], first, calibrate=False)  # not less than the best
        if calibrate and least > enough:
            least = share * least_loss(logits[:rows], first)
        if least > enough:
            return None
    loss = loss_of(logits, prompts, calibrate)
    return loss if loss <= limit else None


class Hardest:
    """Which pairs had the largest losses when they ran last, so that they can run first.

    A selection that misses its target by little does so on few pairs. Which order they run in
    changes how soon that is certain, and not the loss.
    """

    def __init__(self, pairs: int) -> None:
        """All pairs, in their own order as long as nothing is known.

        Args:
            pairs: How many.
        """
        self._loss = torch.zeros(pairs)

    def order(self, *, mixed: bool) -> list[int]:
        """The pairs, the hardest first.

        Args:
            mixed: After every three of them comes one of the easiest. Where the loss is that with
                the best calibration, pairs that are all wrong would show nothing by themselves: a
                negative scale makes them right.
        """
        hard = torch.sort(self._loss, descending=True, stable=True).indices.tolist()
        if not mixed or not self._loss.any():
            return hard
        easy = len(hard) // 4
        left, found = hard[: len(hard) - easy], list[int]()
        for number, one in enumerate(reversed(hard[len(hard) - easy :])):
            found += [*left[3 * number : 3 * number + 3], one]
        return found + left[3 * easy :]

    def noting(
        self, pieces: Iterable[Tensor], prompts: Prompts, order: Sequence[int]
    ) -> Iterator[Tensor]:
        """The same pieces of logits; the losses of what runs are remembered.

        Args:
            pieces: Logits at the answer position, in the order of the prompts.
            prompts: What they are computed on.
            order: Which pair each of the prompts is.
        """
        done = 0
        for piece in pieces:
            rows = range(done, done + len(piece) // 2)
            losses = two_answer_loss(piece, prompts.take(rows)).view(-1, 2).sum(1)
            self._loss[torch.tensor(order[rows.start : rows.stop])] = losses.float()
            done = rows.stop
            yield piece

"""Losses that only matter where they are at most a limit.

Most circuits that are tried while pruning miss their target, by much. No prompt has a loss below
zero, so the first prompts can show it before the others have run: then nothing more is measured.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.calibration import least_loss, loss_of
from lacewing.tasks.batch import Prompts

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

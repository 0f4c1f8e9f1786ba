"""Batches of token windows: seeded, resumable at the exact token, cheap.

An epoch cuts the tokens into windows of `context` + 1, from a start drawn anew each epoch, and
deals them out in a random order. Everything follows from the seed and the position, so a stream
needs no state but its position.
"""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lacewing.errors import DataError


class Batches:
    """An endless stream of batches; `position` counts those already taken.

    With several processes, each takes its own rows of one global batch, so that all together see
    exactly what one process with the global batch would.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        context: int,
        batch: int,
        seed: int,
        position: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.tokens, self.context, self.seed = tokens, context, seed
        self.position, self.rank, self.batch, self.world = position, rank, batch, world
        # One window fewer than fit, so that any start within the first window leaves enough.
        self.windows = (len(tokens) - 1) // context - 1
        self.per_epoch = self.windows // (batch * world)
        if self.per_epoch < 1:
            raise DataError(
                f"{len(tokens)} training tokens do not fill one batch of {batch * world} "
                "sequences of "
                f"{context}: give more text or a smaller batch"
            )
        self._epoch = -1
        self._order = np.zeros(0, dtype=np.int64)
        self._start = 0

    def next(self) -> Int64[Tensor, "batch token"]:
        """The next batch, [batch, context + 1] token ids: inputs and, one on, targets."""
        epoch, place = divmod(self.position, self.per_epoch)
        if epoch != self._epoch:
            self._deal(epoch)
        first = place * self.batch * self.world + self.rank * self.batch
        windows = self._order[first : first + self.batch]
        starts = self._start + windows * self.context
        self.position += 1
        taken = self.tokens[starts[:, None] + np.arange(self.context + 1)]
        return torch.from_numpy(taken.astype(np.int64))

    def _deal(self, epoch: int) -> None:
        generator = np.random.default_rng([self.seed, epoch])
        self._start = int(generator.integers(self.context))
        self._order = generator.permutation(self.windows)
        self._epoch = epoch


def sequences(tokens: np.ndarray, context: int, limit: int) -> Int64[Tensor, "sequence token"]:
    """Fixed windows, evenly spread over the tokens: at most `limit` tokens of targets.

    Raises:
        DataError: the tokens do not fill one window.
    """
    available = (len(tokens) - 1) // context
    if available < 1:
        raise DataError(
            f"{len(tokens)} validation tokens do not fill one sequence of {context}: give more text"
        )
    count = max(1, min(available, limit // context))
    starts = np.linspace(0, available - 1, count).astype(np.int64) * context
    taken = tokens[starts[:, None] + np.arange(context + 1)]
    return torch.from_numpy(taken.astype(np.int64))

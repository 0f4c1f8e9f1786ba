"""Unique prefixes: the different beginnings of some prompts, so that each is computed once.

The model looks back only, so a token's values depend on the prompt up to it alone. The two members
of a pair share a long beginning, and padding is not computed: of the tokens of a task's prompts
less than half are left. What the first block reads depends on the tokens alone, not on the circuit;
it can be kept for all circuits that run on the same prompts.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.kernels.abs_topk import abs_topk
from lacewing.model.protocol import Network
from lacewing.model.transformer import Block, Transformer
from lacewing.tasks.batch import Prompts

PIECE = 64
"""Pairs run at once: few, so that the values stay in the processor's cache."""


@dataclass(frozen=True)
class UniquePrefixes:
    """The tokens at which a circuit has to be computed, and how sequences are made of them."""

    tokens: Int[Tensor, " prefix"]
    position: Int[Tensor, " prefix"]
    ends: Int[Tensor, " sequence"]
    """The prefix of each sequence whose next token is asked for: all of it."""
    last: Int[Tensor, " sequence"]
    """Its position."""
    width: int
    """Tokens of the longest sequence."""
    rows: Int[Tensor, "sequence token"] | None = None
    """Prefix that ends at each token, of padding any; none if every token has its own."""
    first: Int[Tensor, " prefix"] | None = None
    """A token at which each prefix ends, counted through all sequences."""
    read: Float[Tensor, "prefix channel"] | None = None
    """What the first block reads, where it is kept, of `channels`."""
    channels: Int[Tensor, " channel"] | None = None

    @classmethod
    def every(
        cls, tokens: Int[Tensor, "sequence token"], last: Int[Tensor, " sequence"]
    ) -> "UniquePrefixes":
        """One for each token of each sequence; quick to make, for prompts that run once."""
        count, width = tokens.shape
        position = torch.arange(width).expand(count, -1).flatten()
        return cls(tokens.flatten(), position, torch.arange(count) * width + last, last, width)

    @classmethod
    def of(
        cls, tokens: Int[Tensor, "sequence token"], last: Int[Tensor, " sequence"]
    ) -> "UniquePrefixes":
        """Each different beginning up to the last tokens once."""
        ids, ends = tokens.numpy(), last.numpy()
        rows, first, count = np.zeros(ids.shape, dtype=np.int64), [], 0
        for at in range(int(ends.max()) + 1):  # a beginning is its last token after a shorter one
            on = np.flatnonzero(ends >= at)
            before = rows[on, at - 1] if at else np.zeros(len(on), dtype=np.int64)
            pairs = before * (int(ids.max()) + 1) + ids[on, at]
            _, some, prefix = np.unique(pairs, return_index=True, return_inverse=True)
            rows[on, at] = count + prefix
            first.append(on[some] * ids.shape[1] + at)
            count += len(some)
        known = torch.from_numpy(np.concatenate(first))
        placed = torch.from_numpy(rows)
        return cls(
            tokens.flatten()[known],
            known % ids.shape[1],
            placed.gather(1, last[:, None])[:, 0],
            last,
            ids.shape[1],
            placed,
            known,
        )

    def keeping(
        self, network: Transformer, channels: Int[Tensor, " channel"] | None = None
    ) -> "UniquePrefixes":
        """The same, with what the first block reads there, of some channels or all.

        Args:
            network: Whose embedding and first norm are used; cutting edges leaves them alone.
            channels: Ascending; all that will run freely.
        """
        block: Block = network.blocks[0]  # type: ignore[assignment]
        normed = network.normed_positions(self.width)
        positions = None if normed is None else normed[self.position]
        x = block.kept("resid_pre", network.embedded(self.tokens, self.position))
        read = block.attn_read(x, positions)
        keep = network.config.survivors("attn_in", read.shape[-1])
        read = read if keep is None else abs_topk(read, keep)
        kept = torch.arange(read.shape[-1]) if channels is None else channels
        return dataclasses.replace(self, read=read[:, kept], channels=kept)

    def by_sequence(
        self, values: Float[Tensor, "prefix *channel"]
    ) -> Float[Tensor, "sequence token *channel"]:
        """Values put back into sequences."""
        if self.rows is None:
            return values.view(len(self.last), self.width, *values.shape[1:])
        return values[self.rows]

    def by_prefix(
        self, values: Float[Tensor, "sequence token *channel"]
    ) -> Float[Tensor, "prefix *channel"]:
        """Values of sequences, one per prefix."""
        flat = values.flatten(0, 1)
        return flat if self.first is None else flat[self.first]


def in_pieces(count: int) -> Iterator[range]:
    """The rows of some pairs, as many at a time as are run at once."""
    return (range(start, min(start + PIECE, count)) for start in range(0, count, PIECE))


def unique_prefixes(
    network: Network, prompts: Prompts, channels: Int[Tensor, " channel"] | None = None
) -> list[UniquePrefixes]:
    """Prompts in pieces, for many runs: shared, and with what the first block reads.

    Args:
        network: The model.
        prompts: Prompts.
        channels: What of its first site will run freely; by default all of it is kept.
    """
    pieces = [prompts.take(rows) for rows in in_pieces(len(prompts))]
    shared = [UniquePrefixes.of(p.tokens, p.last) for p in pieces]
    if not isinstance(network, Transformer):  # nothing is compiled there, so no read is kept
        return shared
    with torch.no_grad():
        return [piece.keeping(network, channels) for piece in shared]

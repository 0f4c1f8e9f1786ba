"""Unique prefixes: the different beginnings of some prompts, so that each is computed once.

The model looks back only, so a token's values depend on the prompt up to it alone. The two members
of a pair share a long beginning, and padding is not computed: of the tokens of a task's prompts
less than half are left. What the first block reads depends on the tokens alone, not on the circuit;
it can be kept for all circuits that run on the same prompts.
"""

import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.prefix_attention import Layout
from lacewing.model.protocol import Network
from lacewing.model.sites import site_widths
from lacewing.model.transformer import Block, Transformer
from lacewing.tasks.batch import Prompts

PIECE = 64
"""Pairs run at once: few, so that the values stay in the processor's cache."""
RECORDED = 1e9
"""Bytes of values of all sites held for other prompts, in float32."""


@dataclass(frozen=True)
class UniquePrefixes:
    """The tokens at which a circuit has to be computed, and how sequences are made of them."""

    tokens: Int[Tensor, " prefix"]
    position: Int[Tensor, " prefix"]
    ends: Int[Tensor, " wanted"]
    """The prefixes after which the next token is asked for: of each sequence all of it, mostly."""
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
    throughout: bool = False
    """Whether the next token is asked for after every prefix, not at the ends of sequences."""

    @classmethod
    def all_of(cls, tokens: Int[Tensor, "sequence token"]) -> "UniquePrefixes":
        """One for each token of each sequence, each with its own next token."""
        last = torch.full((len(tokens),), tokens.shape[1] - 1)
        every = cls.every(tokens, last)
        return dataclasses.replace(every, ends=torch.arange(tokens.numel()), throughout=True)

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
        token = np.arange(ids.shape[1])
        ids = np.where(token <= ends[:, None], ids, -1)
        order = np.lexsort(ids.T[::-1])  # what begins alike stands together, the shortest first
        ids, length = ids[order], ends[order] + 1
        alike = np.zeros(len(ids), dtype=np.int64)  # tokens that it shares with the one before
        alike[1:] = np.logical_and.accumulate(ids[1:] == ids[:-1], axis=1).sum(1)
        alike = np.minimum(alike, length)
        # A sequence has the prefixes of its own in one run of rows, in the order of its tokens.
        own = np.zeros(len(ids), dtype=np.int64)
        own[order] = length - alike
        start = (own.cumsum() - own)[order]
        new = token >= alike[:, None]
        origin = np.maximum.accumulate(np.where(new, np.arange(len(ids))[:, None], 0), axis=0)
        rows = np.empty_like(ids)
        rows[order] = start[origin] + token - alike[origin]
        rows = np.where(token <= ends[:, None], rows, 0)
        owner = np.repeat(np.arange(len(ids)), own)
        position = np.arange(len(owner)) + np.repeat(ends + 1 - own.cumsum(), own)
        placed, known = torch.from_numpy(rows), torch.from_numpy(owner * len(token) + position)
        return cls(
            tokens.flatten()[known],
            torch.from_numpy(position),
            placed.gather(1, last[:, None])[:, 0],
            last,
            len(token),
            placed,
            known,
        )

    @classmethod
    def joined(cls, parts: Sequence["UniquePrefixes"]) -> "UniquePrefixes":
        """Those of several sets of prompts, which share nothing: of several circuits, say."""
        width, done, sequences = max(part.width for part in parts), 0, 0
        ends, rows, first = [], [], []
        for part in parts:
            assert part.rows is not None
            assert part.first is not None
            ends.append(part.ends + done)
            rows.append(F.pad(part.rows + done, (0, width - part.width)))
            first.append((sequences + part.first // part.width) * width + part.position)
            done, sequences = done + len(part.tokens), sequences + len(part.last)
        return cls(
            torch.cat([part.tokens for part in parts]),
            torch.cat([part.position for part in parts]),
            torch.cat(ends),
            torch.cat([part.last for part in parts]),
            width,
            torch.cat(rows),
            torch.cat(first),
        )

    @cached_property
    def own(self) -> Layout:
        """Of every sequence the queries that no sequence before it has."""
        assert self.rows is not None
        assert self.first is not None
        count = torch.bincount(self.first // self.width, minlength=len(self.last))
        start = count.cumsum(0) - count
        return Layout(self.rows, torch.stack([start, self.last + 1 - count, count], 1))

    @cached_property
    def at_ends(self) -> Layout:
        """Of every sequence the query of its last token, one row each."""
        assert self.rows is not None
        start = torch.arange(len(self.last))
        return Layout(self.rows, torch.stack([start, self.last, torch.ones_like(start)], 1), True)

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


def in_pieces(count: int, most: int = PIECE) -> Iterator[range]:
    """The rows of some pairs, as many at a time as are run at once.

    Args:
        count: Pairs.
        most: Pairs at once.
    """
    return (range(start, min(start + most, count)) for start in range(0, count, most))


def recorded_at_once(network: Network, tokens: int) -> int:
    """Pairs of so many tokens each of which every site can be held, at most as many as run at once.

    Sixty-four pairs of 128 tokens of SmolLM2 would take 9.5 GB.
    """
    channels = sum(site_widths(network.config).values())
    return min(PIECE, max(1, int(RECORDED / (2 * tokens * 4 * max(1, channels)))))


def shared(prompts: Prompts) -> list[UniquePrefixes]:
    """The unique prefixes of some prompts in pieces, found once while the prompts live."""
    found = _KNOWN.get(id(prompts))
    if found is None:
        pieces = [prompts.take(rows) for rows in in_pieces(len(prompts))]
        found = _KNOWN[id(prompts)] = [UniquePrefixes.of(p.tokens, p.last) for p in pieces]
        weakref.finalize(prompts, _KNOWN.pop, id(prompts), None)
    return found


_KNOWN: dict[int, list[UniquePrefixes]] = {}
"""Pieces by the identity of prompts that are still there."""


def unique_prefixes(
    network: Network, prompts: Prompts, channels: Int[Tensor, " channel"] | None = None
) -> list[UniquePrefixes]:
    """Prompts in pieces, for many runs: shared, and with what the first block reads.

    Args:
        network: The model.
        prompts: Prompts.
        channels: What of its first site will run freely; by default all of it is kept.
    """
    pieces = shared(prompts)
    if not isinstance(network, Transformer):  # nothing is compiled there, so no read is kept
        return pieces
    with torch.no_grad():
        return [piece.keeping(network, channels) for piece in pieces]

"""Prompts of a model of transformers in few rows: what some pairs begin with alike runs once.

    row        <begin> When Mary and John | Mary gave ... | John gave ... | Then Ann ...
    position   0       1    2    3   4      5    6          5    6          1    2

Every token sees the beginning of its own prompt and itself, by a mask that transformers takes
beside the row; its position is the one it has in its prompt. A row begins with the token that all
texts begin with, which no ablation touches (see `hooks.ablate`). Hooks see [row place channel] and
have to treat all other tokens alike, as those of masks do.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lacewing.ablation.prefixes import UniquePrefixes, in_pieces
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.protocol import Network
from lacewing.tasks.batch import Prompts

PAIRS, PLACES = 8, 256
"""Pairs in a row, at most, and tokens of their longer prompts: what attention costs grows with the
square of a row."""
TOGETHER = 32
"""Pairs run at once: with a few hundred tokens a product of matrices waits for the weights."""


@dataclass(frozen=True)
class Packed:
    """Some sets of prompts, each in a row of its own."""

    parts: tuple[UniquePrefixes, ...]
    """The beginnings of each row, one place each."""
    order: tuple[Tensor, ...]
    """Which of them stands at each place: one of the first token first."""

    @classmethod
    def of(cls, parts: Sequence[Prompts]) -> "Packed":
        """One row for each set of prompts, all of which begin with the same token."""
        found = [UniquePrefixes.of(part.tokens, part.last) for part in parts]
        order = [torch.argsort((one.position > 0).int(), stable=True) for one in found]
        return cls(tuple(found), tuple(order))

    @property
    def width(self) -> int:
        """Places of a row."""
        return max(len(part.tokens) for part in self.parts)

    @property
    def numel(self) -> int:
        """Places of all rows."""
        return len(self.parts) * self.width

    @cached_property
    def tokens(self) -> Int[Tensor, "row token"]:
        """What stands at each place; after the end of a row 0."""
        return self._by_row([part.tokens for part in self.parts])

    @cached_property
    def position(self) -> Int[Tensor, "row token"]:
        """Where it stands in its prompt."""
        return self._by_row([part.position for part in self.parts])

    @cached_property
    def sees(self) -> Bool[Tensor, "row 1 token token"]:
        """What each place attends to: those before it in its prompt, and itself."""
        width = self.width
        sees = torch.eye(width, dtype=torch.bool).repeat(len(self.parts), 1, 1)
        for row, (part, place) in enumerate(zip(self.parts, self._place, strict=True)):
            assert part.rows is not None
            assert part.first is not None
            before = place[part.rows[part.first // part.width]]  # [prefix token]
            there = torch.arange(part.width) <= part.position[:, None]
            at = place[:, None].expand_as(before)
            sees[row, at[there], before[there]] = True
        return sees.unsqueeze(1)

    @cached_property
    def ends(self) -> Int[Tensor, " sequence"]:
        """The last place of each prompt, counted through all rows."""
        return torch.cat(
            [
                row * self.width + place[part.ends]
                for row, (part, place) in enumerate(zip(self.parts, self._place, strict=True))
            ]
        )

    def by_sequence(self, values: Tensor, width: int) -> Tensor:
        """Values [row place channel] put back into prompts, [sequence token channel].

        Args:
            values: What a site has.
            width: Tokens of the longest prompt; what stands in padding says nothing.
        """
        found = []
        for row, (part, place) in enumerate(zip(self.parts, self._place, strict=True)):
            assert part.rows is not None
            own = values[row][place[part.rows]]
            found.append(torch.nn.functional.pad(own, (0, 0, 0, width - part.width)))
        return torch.cat(found)

    @cached_property
    def _place(self) -> list[Tensor]:
        """At which place of its row each beginning stands."""
        return [torch.argsort(order) for order in self.order]

    def _by_row(self, values: Sequence[Tensor]) -> Tensor:
        ordered = [value[order] for value, order in zip(values, self.order, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(ordered, batch_first=True)


def runs_packed(network: Network, *batches: Prompts) -> TypeGuard[HuggingFaceNetwork]:
    """Whether a model can run prompts so: one of transformers, all of them beginning alike."""
    if not isinstance(network, HuggingFaceNetwork):
        return False
    tokens = [batch.tokens for batch in batches]
    if any(t.device.type != "cpu" or not t.numel() for t in tokens):
        return False
    first = torch.cat([t[:, 0] for t in tokens])
    return network.packs(max(t.shape[1] for t in tokens)) and bool((first == first[0]).all())


def packed(*batches: Prompts) -> Packed:
    """The prompts of some circuits, of each in rows of its own."""
    return Packed.of([b.take(row) for b in batches for row in rows_of(b)])


def rows_of(prompts: Prompts, most: int | None = None) -> list[range]:
    """Some pairs in as few rows as take them, all with nearly as many.

    Args:
        prompts: The pairs.
        most: Pairs in a row; by default as many as pay.
    """
    count, tokens = len(prompts), prompts.tokens.shape[1]
    most = most or min(PAIRS, max(1, PLACES // max(1, tokens)))
    rows = math.ceil(count / most)
    bounds = [round(number * count / rows) for number in range(rows + 1)] if rows else [0]
    return [range(start, end) for start, end in itertools.pairwise(bounds)]


def packed_pieces(prompts: Prompts) -> Iterator[Packed]:
    """The prompts of one circuit, as many rows at a time as are run at once."""
    for rows in rows_of(prompts, TOGETHER):
        yield packed(prompts.take(rows))


def fitting(network: Network, prompts: Prompts, *, sharing: bool = True) -> list[Prompts]:
    """Prompts in as few parts as have a backward pass that fits.

    Args:
        network: The model.
        prompts: Pairs.
        sharing: Whether hooks treat all tokens alike, so that beginnings can be shared.
    """
    count, tokens = len(prompts), prompts.tokens.shape[1]
    at_once = network.pairs_at_once(tokens)
    if at_once is None or at_once >= count:
        return [prompts]
    if not (sharing and runs_packed(network, prompts)):
        return [prompts.take(rows) for rows in in_pieces(count, at_once)]
    most = 2 * network.pairs_at_once(1)  # tokens
    for number in range(1, count + 1):
        size = math.ceil(count / number)
        parts = [prompts.take(rows) for rows in in_pieces(count, size)]
        if all(packed(part).numel <= most for part in parts):
            break
    return parts

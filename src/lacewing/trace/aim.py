"""What an edit or a training is to reach: a mistake, with others like it, and when it is mended."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.model.layers import sparse_products
from lacewing.model.transformer import Transformer
from lacewing.trace.elsewhere import Ends, padded
from lacewing.trace.onwards import Kept, keep, onwards


@dataclass(frozen=True)
class Aim:
    """Prompts, the first of which is to be mended by a margin, and half of the others at all."""

    kept: Kept
    right: Int[Tensor, " sequence"]
    wrong: Int[Tensor, " sequence"]
    margin: float

    def differences(
        self, network: Transformer, first: int | None = None
    ) -> Float[Tensor, " sequence"]:
        """Right answers' logits less wrong ones', in nats, in a network changed from a half on.

        Where no half is given, anything of it may have changed.
        """
        return self.of(onwards(network, self.kept, first))

    def of(self, logits: Float[Tensor, "sequence vocab"]) -> Float[Tensor, " sequence"]:
        """The same from logits."""
        rows = torch.arange(len(logits))
        return logits[rows, self.right] - logits[rows, self.wrong]

    def reached(self, found: Float[Tensor, " sequence"]) -> bool:
        """Whether differences are enough."""
        others = int((found[1:] > 0).sum())
        return float(found[0]) >= self.margin and 2 * others >= len(found) - 1

    def alone(self) -> "Aim":
        """The mistake by itself."""
        assert self.kept.last is not None
        one = slice(0, 1)
        streams = tuple(stream[one] for stream in self.kept.streams)
        kept = Kept(self.kept.tokens[one], self.kept.last[one], streams)
        return Aim(kept, self.right[one], self.wrong[one], self.margin)


def aim(network: Transformer, prompts: Sequence[Ends], margin: float) -> Aim:
    """Prepare prompts.

    Args:
        network: The model, before any edit.
        prompts: The mistake, and others like it.
        margin: Nats by which the mistake's right answer has to win.
    """
    tokens, last, right, wrong = padded(prompts)
    with sparse_products(network):
        return Aim(keep(network, tokens, last), right, wrong, margin)

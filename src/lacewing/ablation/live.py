"""A circuit that runs: compiled in lacewing's own models, by hooks in all others.

Both give the same for the same masks, up to the order of sums; only the first is many times faster
than the model itself.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import replacing
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network
from lacewing.model.transformer import Transformer


class MaskedCircuit:
    """A model in which only some nodes run freely, by hooks."""

    def __init__(
        self, network: Network, masks: Mapping[str, Tensor], ablation_values: Mapping[str, Tensor]
    ) -> None:
        """Put a circuit together.

        Args:
            network: The model.
            masks: Per site key, which channels run freely.
            ablation_values: Per site key, what stands for the others.
        """
        self.network, self.edits = network, replacing(masks, ablation_values)

    @torch.no_grad()
    def __call__(
        self, tokens: Int[Tensor, "batch token"], at: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch vocab"]:
        """Next-token logits, in nats, at one token per sequence."""
        with ablate(self.network, self.edits):
            return self.network(tokens, at)

    def logits(
        self, prefixes: UniquePrefixes, wanted: Int[Tensor, " wanted"] | None = None
    ) -> Float[Tensor, "sequence vocab"]:
        """Next-token logits, in nats, at the ends of sequences; always of all tokens."""
        return self(prefixes.by_sequence(prefixes.tokens), prefixes.last)


def live_circuit(
    network: Network, masks: Mapping[str, Tensor], ablation_values: Mapping[str, Tensor]
) -> CompiledCircuit | MaskedCircuit:
    """A circuit ready to be asked for logits, the fastest way its model allows."""
    if isinstance(network, Transformer):
        return CompiledCircuit(network, masks, ablation_values)
    return MaskedCircuit(network, masks, ablation_values)

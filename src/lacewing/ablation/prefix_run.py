"""The whole model at unique prefixes: every different beginning of some prompts computed once.

As a pass over the prompts themselves, with hooks and gradients; only, a site has one row for each
beginning, as [prefix 1 channel], and after the last attention one for each prompt's end. Hooks have
to treat every token alike, wherever it stands, as those of masks do. Models of transformers do the
same in rows of several prompts (`packed`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.ablation.packed import Packed, packed, rows_of, runs_packed
from lacewing.ablation.prefixes import UniquePrefixes, in_pieces, shared
from lacewing.kernels.prefix_attention import prefix_attention
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.protocol import Network
from lacewing.model.sites import FINAL_SITE
from lacewing.model.transformer import Block, Transformer
from lacewing.tasks.batch import Prompts, joined

Owners = Callable[[str], Int64[Tensor, " row"]]
"""By site key, which circuit every row of its values belongs to."""
AFTER_ATTENTION = ("attn_out", "mlp_in", "mlp_neuron", "mlp_out")
"""Sites of the last block that have ends of prompts alone."""


@dataclass(frozen=True)
class Batch:
    """The prompts of some circuits of one model, as they run."""

    network: Network
    together: Prompts
    """All of them, circuit after circuit."""
    circuit: Int64[Tensor, " sequence"]
    """Which circuit every sequence belongs to."""
    prefixes: UniquePrefixes | None
    """Where they run, each beginning of each circuit's prompts once; none for every token."""
    packed: Packed | None = None
    """The same in a model of transformers: the rows in which they stand."""
    of_row: Int64[Tensor, " row"] | None = None
    """Which circuit every such row belongs to."""

    @classmethod
    def of(cls, network: Network, batches: Sequence[Prompts], *, sharing: bool = True) -> "Batch":
        """The prompts of each circuit; what they share runs once, where the model can do that.

        Args:
            network: The model.
            batches: The prompts of each circuit.
            sharing: Whether hooks treat all tokens alike, so that beginnings can be shared.
        """
        prefixes = None
        if sharing and runs_at_prefixes(network):
            prefixes = UniquePrefixes.joined([UniquePrefixes.of(b.tokens, b.last) for b in batches])
        counts = torch.tensor([2 * len(batch) for batch in batches])
        circuit = torch.arange(len(batches)).repeat_interleave(counts)
        together = joined(batches)
        circuit = circuit.to(together.tokens.device)
        if sharing and runs_packed(network, *batches):
            rows = torch.tensor([len(rows_of(batch)) for batch in batches])
            of_row = torch.arange(len(batches)).repeat_interleave(rows)
            return cls(network, together, circuit, None, packed(*batches), of_row)
        return cls(network, together, circuit, prefixes)

    def logits(self) -> Float[Tensor, "sequence vocab"]:
        """Next-token logits at the ends of prompts, under the hooks that are set."""
        if self.prefixes is not None and runs_at_prefixes(self.network):
            return logits_at_ends(self.network, self.prefixes)
        if self.packed is not None:
            return logits_packed(self.network, self.packed)
        return self.network(self.together.tokens, at=self.together.last)

    def by_sequence(self, values: Tensor) -> Float[Tensor, "sequence token channel"]:
        """What was recorded at a site up to the last attention, for every token of each prompt."""
        if self.packed is not None:
            return self.packed.by_sequence(values, self.together.tokens.shape[1])
        if self.prefixes is None or self.prefixes.rows is None:
            return values
        rows = self.prefixes.rows
        return values[:, 0].index_select(0, rows.flatten()).view(*rows.shape, -1)

    @property
    def owners(self) -> Owners:
        """Whose the rows of each site are."""
        if self.prefixes is not None and runs_at_prefixes(self.network):
            return owners(self.network, self.prefixes, self.circuit)
        rows = self.circuit if self.of_row is None else self.of_row
        return lambda key: rows


def whole_batches(network: Network, prompts: Prompts) -> Iterator[Batch]:
    """The prompts of one circuit, as many at a time as are run at once."""
    known = shared(prompts) if runs_at_prefixes(network) else None
    for number, rows in enumerate(in_pieces(len(prompts))):
        piece = prompts.take(rows)
        if runs_packed(network, piece):
            yield Batch.of(network, [piece])
            continue
        whose = torch.zeros(len(piece.last), dtype=torch.long, device=piece.last.device)
        yield Batch(network, piece, whose, known[number] if known else None)


def runs_at_prefixes(network: Network) -> TypeGuard[Transformer]:
    """Whether a model can: those of lacewing's own, on a CPU."""
    return isinstance(network, Transformer) and network.wte.weight.device.type == "cpu"


def logits_at_ends(
    network: Transformer, prefixes: UniquePrefixes
) -> Float[Tensor, "sequence vocab"]:
    """Next-token logits, in nats, at the ends of sequences, under the hooks that are set.

    Args:
        network: The model.
        prefixes: Where to run, with their rows.
    """
    ends, config = prefixes.ends, network.config
    x = network.embedded(prefixes.tokens, prefixes.position).unsqueeze(1)
    positions = network.normed_positions(prefixes.width)
    positions = None if positions is None else positions[prefixes.position].unsqueeze(1)
    for number in range(config.n_layer):
        block: Block = network.blocks[number]  # type: ignore[assignment]
        if number < config.n_layer - 1:
            x = block.through(x, positions, _attention(block, prefixes, None))
        else:
            x = block.through(
                x,
                positions,
                _attention(block, prefixes, ends),
                lambda values: values.index_select(0, ends),
            )
    return network.answered(x, prefixes.tokens[ends].unsqueeze(1)).squeeze(1)


def logits_packed(network: Network, rows: Packed) -> Float[Tensor, "sequence vocab"]:
    """Next-token logits, in nats, at the ends of packed prompts, under the hooks that are set."""
    assert isinstance(network, HuggingFaceNetwork)
    return network.packed(rows.tokens, rows.position, rows.sees, rows.ends)


def owners(
    network: Transformer, prefixes: UniquePrefixes, circuit: Int64[Tensor, " sequence"]
) -> Owners:
    """Which circuit every row of a site belongs to.

    Args:
        network: The model.
        prefixes: Where it runs; no beginning is shared between circuits.
        circuit: Which circuit every sequence belongs to.
    """
    assert prefixes.first is not None
    of_prefix = circuit[prefixes.first // prefixes.width]
    late = {f"{network.config.n_layer - 1}.{name}" for name in AFTER_ATTENTION} | {FINAL_SITE}
    return lambda key: circuit if key in late else of_prefix


def _attention(
    block: Block, prefixes: UniquePrefixes, ends: Tensor | None
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """What a block's heads see, at all prefixes or at the ends of sequences."""
    layout = prefixes.own if ends is None else prefixes.at_ends

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (values[:, 0] for values in (q, k, v))
        q = q if ends is None else q.index_select(0, ends)
        return prefix_attention(q, k, v, block.sink, layout, block.config.n_head).unsqueeze(1)

    return attend

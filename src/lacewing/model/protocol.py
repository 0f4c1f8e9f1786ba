"""What pruning, ablation, verification and the viewer ask of a model, whoever made it.

    network(tokens, at)       logits, at every token or at one of each sequence
    network.hooks             where `edit` and `record` put what looks at a site, or changes it
    network.config            sizes: how many layers, heads, channels of each site
    network.joined(layer)     which channels a nonzero weight joins
    network.attention(...)    what heads attend to, from recorded queries and keys
    network.norms()           the norms, so that their scales can be measured and frozen

`transformer.Transformer` is one such network, `huggingface.network.HuggingFaceNetwork` another.
What needs more, such as a compiled circuit, asks for ours by `own`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.nn import Module, Parameter

SiteHook = Callable[[Tensor], Tensor]
"""From a site's value, [batch token channel], to the value used instead."""
Head = tuple[int, int]
"""Layer and number."""


@runtime_checkable
class Shape(Protocol):
    """The sizes of a network."""

    @property
    def n_layer(self) -> int:
        """Blocks."""

    @property
    def d_model(self) -> int:
        """Residual channels."""

    @property
    def d_read(self) -> int:
        """Channels that attention and MLP read."""

    @property
    def d_head(self) -> int:
        """Channels of one head."""

    @property
    def d_mlp(self) -> int:
        """Neurons of one MLP."""

    @property
    def n_head(self) -> int:
        """Heads that ask, per block."""

    @property
    def n_key_head(self) -> int:
        """Heads that are asked: fewer where several queries share a key and value."""

    @property
    def vocab_size(self) -> int:
        """Token ids."""

    @property
    def context(self) -> int:
        """Tokens of a window of text."""


@dataclass(frozen=True)
class Norm:
    """A norm that can be told what to multiply by."""

    module: Module
    scale: Callable[[Tensor], Tensor]
    """From its input to what it multiplies by, [batch token 1]."""
    apply: Callable[[Tensor, Tensor], Tensor]
    """Its output for an input and a given scale."""


@runtime_checkable
class Network(Protocol):
    """A causal language model whose every site can be recorded and edited."""

    hooks: dict[str, list[SiteHook]]

    @property
    def config(self) -> Shape:
        """Its sizes."""

    def __call__(self, tokens: Tensor, at: Tensor | None = None) -> Tensor:
        """Next-token logits in nats, [batch token vocab], or with `at`, [batch vocab]."""

    @property
    def spared(self) -> int:
        """Tokens at the beginning that say nothing, which no ablation touches."""

    def joined(self, layer: int) -> Mapping[str, Tensor]:
        """For every written site of a block, [destination, source]: whether a weight joins them."""

    def biases(self, layer: int) -> Mapping[str, Tensor]:
        """The bias of every written site that has one."""

    def embedding(self) -> Tensor:
        """The embedding, [vocab channel]."""

    def unembedding(self) -> Tensor:
        """The unembedding, [vocab channel]."""

    def attention(
        self, seen: Mapping[str, Tensor], last: Tensor, heads: Sequence[Head]
    ) -> dict[Head, Tensor]:
        """What the last tokens attend to, [sequence token + 1]; last what the sink takes.

        Args:
            seen: Recorded queries and keys of the heads' layers.
            last: The last token of each sequence.
            heads: The heads wanted.
        """

    def norms(self) -> Mapping[str, Norm]:
        """The norms by name."""

    def pairs_at_once(self, tokens: int) -> int | None:
        """Pairs of so many tokens each whose backward pass fits; none where all do."""

    def modules(self) -> Iterator[Module]:
        """Its parts, as torch has them."""

    def parameters(self) -> Iterator[Parameter]:
        """Its weights."""

    def state_dict(self) -> Mapping[str, Any]:
        """The same by name, with what else it computes with."""


def key_head(config: Shape, head: int) -> int:
    """The head whose keys and values a head sees: its own, unless several share them."""
    return head // (config.n_head // config.n_key_head)

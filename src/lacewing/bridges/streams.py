"""The residual stream at every bridge, and a model run on from any of them.

    streams(network, tokens)            h_0 ... h_2L, each before the norm, and the logits
    onward(network, site, x, tokens)    the logits when the stream is x before sublayer `site`
    entering(network, site, x)          x after AbsTopK, where that acts on the stream itself

Stream values are those before AbsTopK acts on them, which is what sparse_pretrain's decoders read;
its encoders say what `entering` gives. In models without AbsTopK there, as ours, both are one.
"""

from collections.abc import Iterator
from typing import cast

from torch import Tensor

from lacewing.errors import ConfigError, MismatchError
from lacewing.model.store import Model
from lacewing.model.transformer import Block, Transformer


def streams(network: Transformer, tokens: Tensor) -> tuple[list[Tensor], Tensor]:
    """Everything bridges read, in one pass.

    Args:
        network: The model.
        tokens: Ids, [batch token].

    Returns:
        The residual stream at every bridge, and the logits.
    """
    begun = network.embedded(tokens)
    found = [begun, *_after(network, 0, begun, tokens)]
    last = 2 * network.config.n_layer
    return found, network.answered(entering(network, last, found[last]), tokens)


def onward(network: Transformer, site: int, x: Tensor, tokens: Tensor) -> Tensor:
    """The logits of a model whose residual stream is given at one of its bridges."""
    last = 2 * network.config.n_layer
    for value in _after(network, site, x, tokens):
        x = value
    return network.answered(entering(network, last, x), tokens)


def entering(network: Transformer, site: int, x: Tensor) -> Tensor:
    """A residual stream as the sublayer of a bridge finds it."""
    layer, part = divmod(site, 2)
    if part:
        return _block(network, layer).kept("resid_mid", x)
    if layer:
        x = _block(network, layer - 1).kept("resid_post", x)
    return x if layer == network.config.n_layer else _block(network, layer).kept("resid_pre", x)


def _after(network: Transformer, site: int, x: Tensor, tokens: Tensor) -> Iterator[Tensor]:
    """The streams at all bridges behind one, one after the other."""
    positions = network.normed_positions(tokens.shape[1])
    for place in range(site, 2 * network.config.n_layer):
        layer, part = divmod(place, 2)
        block, x = _block(network, layer), entering(network, place, x)
        x = block.computed(x, positions) if part else block.attended(x, positions)
        yield x


def _block(network: Transformer, layer: int) -> Block:
    return cast("Block", network.blocks[layer])


def own_network(model: Model, which: str) -> Transformer:
    """A model whose sublayers can be run one by one.

    Raises:
        ConfigError: it is another's.
    """
    if not isinstance(model.network, Transformer):
        raise ConfigError(
            f"{model.source} cannot be the {which} model of a bridge: paths cross between single "
            "sublayers, which only models of lacewing's own kind can be run from"
        )
    return model.network


def check_pair(dense: Model, sparse: Model) -> None:
    """Refuse two models that no bridges can join.

    Raises:
        ConfigError: one of them is not of lacewing's own kind.
        MismatchError: their tokenizers, vocabularies or numbers of layers differ.
    """
    one, other = own_network(dense, "dense").config, own_network(sparse, "sparse").config
    if dense.tokenizer.to_bytes() != sparse.tokenizer.to_bytes():
        raise MismatchError(
            f"{dense.source} has tokenizer {dense.tokenizer.id} and {sparse.source} "
            f"{sparse.tokenizer.id}: bridges join models that read the same tokens"
        )
    if one.vocab_size != other.vocab_size:
        raise MismatchError(
            f"{dense.source} answers with {one.vocab_size} tokens and {sparse.source} with "
            f"{other.vocab_size}: bridges compare answers, so take models with as many"
        )
    check_layers(one.n_layer, other.n_layer, dense.source, sparse.source)


def check_layers(dense: int, sparse: int, one: str, other: str) -> None:
    """Refuse models of different depths.

    Raises:
        MismatchError: naming both.
    """
    if dense != sparse:
        raise MismatchError(
            f"{one} has {dense} layers and {other} {sparse}: a bridge stands at each sublayer of "
            "both, so take as many layers"
        )

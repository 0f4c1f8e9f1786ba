"""Look at the values at any site, or change them, inside a with-block that always undoes itself.

    with record(network, ["0.attn_in"]) as seen:
        network(tokens)
    seen["0.attn_in"]                      # [batch token channel], after AbsTopK

    with edit(network, {"2.mlp_neuron": lambda x: x * 0}):
        network(tokens)

Blocks nest; hooks at one site run in the order they were set. No tensor is copied by recording, so
an edit that works in place would change what was seen: return a new tensor instead.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from lacewing.errors import DataError
from lacewing.model.protocol import Network, SiteHook
from lacewing.model.sites import site_widths


@contextmanager
def edit(network: Network, edits: Mapping[str, SiteHook]) -> Iterator[None]:
    """Pass the value of each named site through a function, for the length of the block.

    Args:
        network: The model.
        edits: For each site key a function from the site's value, [batch token channel], to the
            value used instead.

    Raises:
        DataError: a key is no site of this model.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> tokens = torch.tensor([model.tokenizer.encode("if x")])
        >>> with edit(model.network, {"0.mlp_neuron": lambda value: value * 0}):
        ...     without = model.network(tokens)
        >>> torch.equal(without, model.network(tokens))
        False
    """
    _check(network, edits)
    for key, hook in edits.items():
        network.hooks.setdefault(key, []).append(hook)
    try:
        yield
    finally:
        for key, hook in edits.items():
            network.hooks[key].remove(hook)


def ablate(network: Network, edits: Mapping[str, SiteHook]) -> AbstractContextManager[None]:
    """As `edit`, but the tokens that a network spares keep their values (see `protocol`)."""
    spared = network.spared

    def sparing(hook: SiteHook) -> SiteHook:
        def passed(value: Tensor) -> Tensor:
            return torch.cat([value[:, :spared], hook(value)[:, spared:].to(value.dtype)], dim=1)

        return passed

    return edit(network, {k: sparing(h) for k, h in edits.items()} if spared else edits)


@contextmanager
def record(network: Network, sites: Iterable[str] | None = None) -> Iterator[dict[str, Tensor]]:
    """Collect the values of sites while the block runs; each pass replaces the one before.

    Args:
        network: The model.
        sites: Site keys; every site where none are given.

    Yields:
        A dictionary from site key to value, filled as the model runs.

    Raises:
        DataError: a key is no site of this model.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> tokens = torch.tensor([model.tokenizer.encode("if x")])
        >>> with record(model.network, ["0.mlp_out"]) as seen:
        ...     logits = model.network(tokens)
        >>> seen["0.mlp_out"].shape == (*tokens.shape, 128)
        True
    """
    seen: dict[str, Tensor] = {}

    def keep(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            seen[key] = value
            return value

        return hook

    keys = list(site_widths(network.config)) if sites is None else list(sites)
    with edit(network, {key: keep(key) for key in keys}):
        yield seen


def _check(network: Network, keys: Iterable[str]) -> None:
    known = site_widths(network.config)
    for key in keys:
        if key not in known:
            raise DataError(
                f"no site {key!r} in a model of {network.config.n_layer} layers; "
                f"sites are LAYER.NAME, from {next(iter(known))} to {list(known)[-1]}"
            )

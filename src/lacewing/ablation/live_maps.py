"""A circuit inside a model of transformers: its modules work out what is live, and no more.

Most nodes stand at a constant. So each map of a block is exchanged for the few rows and columns
between live nodes (`live_map`), and attention and MLP for what their live heads and neurons do
(`live_blocks`). transformers runs all the rest: norms, rotations, attention itself, the residual
stream.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from lacewing.ablation.live_blocks import has_live_heads, live_heads, live_mlp
from lacewing.ablation.live_map import LiveMap, by_module, exchanged, live_map, live_rows
from lacewing.ablation.masks import Masks, few_live, replacing
from lacewing.model.hooks import ablate
from lacewing.model.huggingface.network import HuggingFaceNetwork
from lacewing.model.protocol import Network
from lacewing.model.sites import FINAL_SITE, site_widths

LIVE = 0.6
"""Share of the nodes up to which live ones alone are quicker: halves of a model are."""


class Ablating(AbstractContextManager[None]):
    """A block in which unmasked nodes have constant values; it can be entered again."""

    def __init__(
        self, network: Network, masks: Masks | None, ablation_values: Mapping[str, Tensor]
    ) -> None:
        """See `ablating`."""
        self.network, self.masks, self.values = network, masks, ablation_values
        self._made: dict[nn.Module, Callable[..., Any]] = {}
        self._inside = ExitStack()

    def __enter__(self) -> None:
        """Exchange modules, or set hooks."""
        network, masks = self.network, self.masks
        if masks is None:
            return
        if not _fits(network, masks):
            self._inside.enter_context(ablate(network, replacing(masks, self.values)))
            return
        assert isinstance(network, HuggingFaceNetwork)
        self._made = self._made or _live_modules(network, masks, self.values)
        self._inside.enter_context(exchanged(self._made))
        final = replacing({FINAL_SITE: masks[FINAL_SITE]}, self.values)
        self._inside.enter_context(ablate(network, final))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """All as it was."""
        self._inside.close()


def ablating(
    network: Network, masks: Masks | None, ablation_values: Mapping[str, Tensor]
) -> Ablating:
    """Replace the values of all unmasked nodes by constants, the fastest way a model allows.

    Inside, what is read at a site (`attn_in`, `mlp_in`) may still be recorded as it was before the
    replacement; queries, keys, values, neurons and what is written to the stream may not. The
    block can be entered again, and what was worked out for it is not worked out twice.

    Args:
        network: The model.
        masks: Nodes that run freely; none for all.
        ablation_values: Per site key, what stands for the others.

    Example:
        >>> model = load("hf:models/smollm2")  # doctest: +SKIP
        >>> with ablating(model.network, masks, model.means):  # doctest: +SKIP
        ...     logits = model.network(tokens)
    """
    return Ablating(network, masks, ablation_values)


def unwanted_left_out(network: Network, masks: Masks) -> AbstractContextManager[None]:
    """A block in which hooks give every unmasked node its value: maps need not work it out.

    Args:
        network: The model.
        masks: Nodes that run freely.

    Example:
        >>> with (  # doctest: +SKIP
        ...     unwanted_left_out(model.network, masks),
        ...     ablate(model.network, resampling(masks, given)),
        ... ):
        ...     logits = model.network(tokens)
    """
    if not _fits(network, masks):
        return nullcontext()
    assert isinstance(network, HuggingFaceNetwork)
    made: dict[nn.Module, Callable[..., Any]] = {}
    for layer, block in enumerate(network.blocks):
        for name, sites in by_module(network).items():
            module = block.get_submodule(name)
            made[module] = live_rows(network, layer, module, sites, masks)
    return exchanged(made)


def _fits(network: Network, masks: Masks) -> bool:
    """Whether maps can be exchanged: hooks of others may look at what is then not worked out."""
    return (
        isinstance(network, HuggingFaceNetwork)
        and not any(network.hooks.values())
        and not torch.is_grad_enabled()
        and masks.keys() == site_widths(network.config).keys()
        and few_live(masks, LIVE)
    )


def _live_modules(
    network: HuggingFaceNetwork, masks: Masks, values: Mapping[str, Tensor]
) -> dict[nn.Module, Callable[..., Any]]:
    """What stands for the modules of every block."""
    made: dict[nn.Module, Callable[..., Any]] = {}
    (out,) = network.layout.maps["attn_out"]
    for layer, block in enumerate(network.blocks):
        maps: dict[str, LiveMap] = {}
        for name, sites in by_module(network).items():
            module = block.get_submodule(name)
            maps[name] = made[module] = live_map(network, layer, module, sites, masks, values)
        mlp, live = live_mlp(network, layer, maps)
        made[mlp] = live
        if has_live_heads(network):
            attention, heads = live_heads(network, layer, maps[out], masks, values)
            made[attention] = heads
    return made

"""Values of other prompts, aligned from the answer backwards: what stands where one resamples."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.masks import Masks
from lacewing.ablation.prefix_run import AFTER_ATTENTION, logits_at_ends, runs_at_prefixes
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.model.hooks import record
from lacewing.model.protocol import Network, SiteHook
from lacewing.model.sites import FINAL_SITE
from lacewing.tasks.batch import Prompts

Donated = Mapping[str, Float[Tensor, "sequence token channel"]]
"""By site key, what a donor has where a prompt has each of its tokens."""


@torch.no_grad()
def donated(network: Network, prompts: Prompts, donors: Prompts, keys: Iterable[str]) -> Donated:
    """Other prompts' values, token by token counted from the answer backwards.

    Args:
        network: Where they come from.
        prompts: What they are for.
        donors: For every sequence of it the one whose values are taken.
        keys: The sites wanted.
    """
    keys, prefixes = list(keys), None
    with record(network, keys) as seen:
        if runs_at_prefixes(network):
            prefixes = UniquePrefixes.of(donors.tokens, donors.last)
            logits_at_ends(network, prefixes)
        else:
            network(donors.tokens, at=donors.last)
    shift = (donors.last - prompts.last)[:, None]
    # A spared token holds what no later one does: where the donor is shorter, its first other one.
    token = (torch.arange(prompts.tokens.shape[1])[None] + shift).clamp(min=network.spared)
    token = torch.minimum(token, donors.last[:, None])
    row = torch.arange(len(donors.last))[:, None]
    last = network.config.n_layer - 1
    late = {f"{last}.{name}" for name in AFTER_ATTENTION} | {FINAL_SITE}
    found = {}
    for key in keys:  # one after the other, so that not all of them are there twice
        values = seen.pop(key)
        if prefixes is None:
            # A token axis of length 1: it ran at the answer only.
            found[key] = values if values.shape[1] == 1 else values[row, token]
        else:
            assert prefixes.rows is not None
            rows = prefixes.rows[row, token]
            found[key] = values if key in late else values[:, 0][rows]
    return found


def resampling(masks: Masks, given: Donated) -> dict[str, SiteHook]:
    """Hooks that put donated values where nodes do not run freely."""

    def hook(key: str) -> SiteHook:
        return lambda value: torch.where(masks[key], value, given[key])

    return {key: hook(key) for key in masks}

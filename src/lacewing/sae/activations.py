"""What sites have over some text, and no more of the model than that takes."""

from collections.abc import Iterable
from contextlib import suppress

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.model.hooks import edit, record
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.sae.text import begun


class _Enough(Exception):  # noqa: N818  it is no error
    """All that was wanted of a pass is there."""


@torch.no_grad()
def activations(
    model: Model, keys: Iterable[str], windows: Int[Tensor, "batch token"]
) -> dict[str, Float[Tensor, "row channel"]]:
    """The values of some sites at every token of some windows, all windows one after the other.

    The pass ends at the last of the sites; tokens that the model spares are left out.
    """
    network, wanted = model.network, set(keys)
    last = [key for key in site_widths(network.config) if key in wanted][-1]

    def stop(value: Tensor) -> Tensor:
        raise _Enough

    rows = begun(model, windows).to(network.embedding().device)
    # Recording comes first, so that the last site is seen before the pass ends there.
    with record(network, wanted) as seen, edit(network, {last: stop}), suppress(_Enough):
        network(rows)
    return {key: value[:, network.spared :].flatten(0, 1).float() for key, value in seen.items()}

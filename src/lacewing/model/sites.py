"""The names of the places in a transformer where a node can live.

A site is a place in a block, after AbsTopK where it applies; a site key adds the layer
(`"3.mlp_neuron"`); a node adds the channel (`"3.mlp_neuron.412"`). `resid_final` has no layer.
"""

from typing import TYPE_CHECKING

from lacewing.errors import DataError
from lacewing.model.config import BLOCK_SITES

if TYPE_CHECKING:
    from lacewing.model.protocol import Shape


FINAL_SITE = "resid_final"
"""The residual stream after the last block, before the final norm."""


def site_widths(config: "Shape") -> dict[str, int]:
    """Channels at every site key, from the first block to the final residual.

    Where nodes are latents (`lacewing.sae`), the configuration says how many there are.
    """
    if has_latents(config):
        latents: dict[str, int] = vars(config)["latents"]
        return dict(latents)
    heads = config.n_head * config.d_head, config.n_key_head * config.d_head
    width = {
        "attn_in": config.d_read,
        **dict(zip(("attn_q", "attn_k", "attn_v"), (heads[0], heads[1], heads[1]), strict=True)),
        "mlp_in": config.d_read,
        "mlp_neuron": config.d_mlp,
    }
    keys = {
        f"{layer}.{site}": width.get(site, config.d_model)
        for layer in range(config.n_layer)
        for site in BLOCK_SITES
    }
    return keys | {FINAL_SITE: config.d_model}


def has_latents(config: "Shape") -> bool:
    """Whether nodes are latents rather than channels: then no weight joins two of them."""
    return hasattr(config, "latents")


def parse_node(node: str) -> tuple[str, int]:
    """Split `"3.mlp_neuron.412"` into its site key and channel.

    Raises:
        DataError: the text is no node name.
    """
    key, _, channel = node.rpartition(".")
    layer, _, site = key.rpartition(".")
    known = key == FINAL_SITE or (site in BLOCK_SITES and layer.isdigit())
    if not known or not channel.isdigit():
        raise DataError(f"{node!r} is no node; write LAYER.SITE.CHANNEL, like 3.mlp_neuron.412")
    return key, int(channel)

"""A circuit of tens of thousands of nodes in groups: those of a site, and those of one head.

3.mlp_neuron      all kept neurons of a block
3.attn_q:5        the kept query channels of head 5; keys and values by the head that has them
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import kept_at
from lacewing.errors import DataError
from lacewing.model.protocol import Shape
from lacewing.model.sites import has_latents, site_widths
from lacewing.model.weights import QKV

GROUP = re.compile(r"((?:\d{1,4}\.)?[a-z_]{1,20})(?::(\d{1,4}))?")
Strengths = Mapping[str, Tensor]
"""Per site key, what the loss would rise by without each node, to first order."""


@dataclass(frozen=True)
class Group:
    """Kept nodes of one site, or of one head of it."""

    name: str
    key: str
    channels: np.ndarray
    """The kept ones, in order."""


def group_of(name: str, circuit: Circuit, config: Shape) -> Group:
    """A group by its name.

    Raises:
        DataError: the model has no such site or head.
    """
    found = GROUP.fullmatch(name)
    widths = site_widths(config)
    if found is None or found[1] not in widths:
        raise DataError(
            f"{name[:60]!r} is no group: write LAYER.SITE, or LAYER.SITE:HEAD for queries, keys "
            "and values"
        )
    key, head = found[1], found[2]
    kept = kept_at(circuit.nodes, key)
    if head is None:
        return Group(name, key, kept)
    if not _by_head(key, config) or int(head) >= widths[key] // config.d_head:
        raise DataError(f"{key} of this model has no head {head}")
    return Group(f"{key}:{int(head)}", key, kept[kept // config.d_head == int(head)])


def listed(circuit: Circuit, config: Shape, strengths: Strengths | None) -> list[dict[str, Any]]:
    """Every site as a row with its count, width and strength, and its heads where it has some."""
    rows = []
    for key, width in site_widths(config).items():
        layer, _, site = key.rpartition(".")
        row = _row(Group(key, key, kept_at(circuit.nodes, key)), strengths)
        row |= {"layer": int(layer) if layer else None, "site": site, "width": width, "heads": []}
        if _by_head(key, config):
            heads = [group_of(f"{key}:{n}", circuit, config) for n in range(width // config.d_head)]
            row["heads"] = [_row(group, strengths) for group in heads]
        rows.append(row)
    return rows


def strongest(
    group: Group, means: Mapping[str, Tensor], strengths: Strengths | None, start: int, count: int
) -> list[dict[str, Any]]:
    """Some nodes of a group, those first that the loss depends on most; by channel until known."""
    channels = group.channels
    if strengths is not None:
        size = strengths[group.key].numpy()[channels]
        channels = channels[np.argsort(-np.abs(size), kind="stable")]
    return [
        {
            "node": f"{group.key}.{channel}",
            "mean": round(float(means[group.key][channel]), 5),
            "rise": _rise(strengths, group.key, np.array([channel])),
        }
        for channel in channels[start : start + count].tolist()
    ]


def _row(group: Group, strengths: Strengths | None) -> dict[str, Any]:
    rise = _rise(strengths, group.key, group.channels)
    return {"name": group.name, "nodes": len(group.channels), "rise": rise}


def _rise(strengths: Strengths | None, key: str, channels: np.ndarray) -> float | None:
    """To first order, what the loss rises by without some nodes; rises of several add up."""
    if strengths is None:
        return None
    found = float(strengths[key].numpy()[channels].sum())
    return round(found, 6) if np.isfinite(found) else None


def _by_head(key: str, config: Shape) -> bool:
    """Whether nodes belong to heads, as channels of queries, keys and values do."""
    return key.rpartition(".")[2] in QKV and not has_latents(config)

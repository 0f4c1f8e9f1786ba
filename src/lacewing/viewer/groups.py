"""Supernodes proposed: what belongs together by the wiring alone.

Two kinds. The kept queries, keys and values of one head are one: they only work together. And the
kept writes and reads of one residual channel are one: they are one number passed on.
"""

from typing import Any

from lacewing.circuit.circuit import Circuit
from lacewing.model.sites import FINAL_SITE, has_latents
from lacewing.model.store import Model
from lacewing.model.weights import QKV
from lacewing.viewer.reading import READ, TaskTokens, label


def proposal(model: Model, circuit: Circuit) -> list[dict[str, Any]]:
    """Groups of at least two nodes, heads first; each node is in one at most; none of latents."""
    if has_latents(model.network.config):
        return []
    heads: dict[str, list[str]] = {}
    channels: dict[int, list[str]] = {}
    tokens = TaskTokens.of(model, circuit)
    size, width = model.network.config.d_head, model.network.config.d_model
    for key, kept in circuit.nodes.items():
        layer, _, site = key.rpartition(".")
        for channel in kept.tolist():
            name = f"{key}.{channel}"
            if site in QKV:
                heads.setdefault(f"{layer}.{channel // size}", []).append(name)
            elif key == FINAL_SITE or site.endswith("_out") or (site in READ and channel < width):
                channels.setdefault(channel, []).append(name)
    found = [
        {
            "name": f"head {head}",
            "members": members,
            "why": f"the kept queries, keys and values of head {head}",
        }
        for head, members in heads.items()
        if len(members) > 1
    ]
    for channel, members in sorted(channels.items(), key=lambda item: -len(item[1])):
        if len(members) > 1:
            about = label(model, members[0].rsplit(".", 1)[0], channel, tokens)
            found.append(
                {
                    "name": f"channel {channel}" + (f": {about.split(',')[0]}" if about else ""),
                    "members": members,
                    "why": f"writes to and reads of residual channel {channel}",
                }
            )
    return found

"""What a node reads and writes, in words of the vocabulary.

A read site's channel is a channel of the residual stream: the embedding writes it, so its column of
the embedding names tokens. A written channel is read by the unembedding. Inside a block both are
seen through one matrix: the tokens whose embedding moves a query most, the tokens that a neuron's
output raises most. Norms are left out, so weights compare within one list only.
"""

from typing import Any

import torch
from torch import Tensor

from lacewing.model.sites import FINAL_SITE
from lacewing.model.store import Model
from lacewing.model.weights import writer
from lacewing.viewer.answers import Tokens, TokenWeight

SHOWN = 10
READ = ("attn_in", "mlp_in")


def reads(model: Model, key: str, channel: int) -> Tokens | None:
    """Tokens whose embedding moves a node most; None where it reads no token's embedding."""
    network, width = model.network, model.network.config.d_model
    if key == FINAL_SITE:
        return _top(model, network.wte.weight[:, channel], "embedding")
    site = key.split(".")[1]
    if site in READ:
        return _top(model, network.wte.weight[:, channel], "embedding") if channel < width else None
    if site in ("attn_out", "mlp_out"):
        return None
    weight = writer(network, key)[0][channel, :width]
    through = "mlp_in" if site == "mlp_neuron" else "attn_in"
    return _top(model, network.wte.weight @ weight, f"via {through}")


def writes(model: Model, key: str, channel: int) -> Tokens | None:
    """Tokens whose logit a node raises or lowers most; None for queries and keys."""
    network, width = model.network, model.network.config.d_model
    unembedding = network.lm_head.weight * network.ln_f.weight
    if key == FINAL_SITE:
        return _top(model, unembedding[:, channel], "unembedding")
    layer, site = key.split(".")
    if site in ("attn_out", "mlp_out") or (site in READ and channel < width):
        return _top(model, unembedding[:, channel], "unembedding")
    if site in ("attn_v", "mlp_neuron"):
        written = "attn_out" if site == "attn_v" else "mlp_out"
        weight = writer(network, f"{layer}.{written}")[0][:, channel]
        return _top(model, unembedding @ weight, f"via {written}")
    return None


def label(model: Model, key: str, channel: int) -> str:
    """A few words on a node for its hover: the tokens it is most about."""
    if key.endswith(READ) and channel >= model.network.config.d_model:
        return f"position channel {channel - model.network.config.d_model}"
    found = writes(model, key, channel) if key == FINAL_SITE or key.endswith("_out") else None
    found = found or reads(model, key, channel)
    if found is None:
        return ""
    both = sorted([*found.positive[:3], *found.negative[:3]], key=lambda t: -abs(t.weight))[:3]
    return ", ".join(f"{t.text!r} {t.weight:+.2f}" for t in both)


def _top(model: Model, weights: Tensor, how: str) -> Tokens | None:
    count = min(SHOWN, len(weights))

    def named(order: Tensor, sign: int) -> list[TokenWeight]:
        return [
            TokenWeight(token=t, text=model.tokenizer.token(t), weight=round(float(weights[t]), 5))
            for t in order.tolist()
            if sign * float(weights[t]) > 0
        ]

    with torch.inference_mode():
        high = named(weights.topk(count).indices, 1)
        low = named(weights.topk(count, largest=False).indices, -1)
    return Tokens(how=how, positive=high, negative=low) if high or low else None


def explanations(found: Any) -> dict[str, dict[str, Any]]:
    """Explanations by node, from what explanations.json holds: a mapping, or a list of rows."""
    if isinstance(found, dict):
        rows = found.get("nodes", found)
        if isinstance(rows, dict):
            return {n: e if isinstance(e, dict) else {"text": str(e)} for n, e in rows.items()}
        found = rows
    if isinstance(found, list):
        return {str(row["node"]): row for row in found if isinstance(row, dict) and "node" in row}
    return {}

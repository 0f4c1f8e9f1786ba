"""A second reader of OpenAI's release, in plain torch, that shares no line with lacewing's.

It was written from the description of the architecture alone (paper 2.1 and A.1 and the notes on
the published code), before the loader and without a look at it, so that the two can only agree by
being right. It takes the names and shapes of the release's own state dict, loops where a loop is
clearest, and is as slow as that.
"""

import math
from typing import Any

import torch
from torch import Tensor


def keep(x: Tensor, k: int) -> Tensor:
    """`x` with all but the `k` entries of largest absolute value of its last axis set to zero."""
    chosen = x.abs().topk(k, dim=-1).indices
    return torch.zeros_like(x).scatter(-1, chosen, x.gather(-1, chosen))


def norm(x: Tensor, gain: Tensor, bias: Tensor | None, rms: bool) -> Tensor:
    """RMSNorm with torch's default epsilon, or LayerNorm."""
    if rms:
        return x / (x.pow(2).mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt() * gain
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * gain
    return scaled if bias is None else scaled + bias


class Plain:
    """The published network over `config`, the JSON with old names resolved by hand."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
        self.config, self.weights = config, weights

    def sparsify(self, x: Tensor, site: str) -> Tensor:
        """AbsTopK where the configuration asks for it, over the whole last axis."""
        fraction = self.config.get("afrac")
        if fraction is None or site not in self.config.get("afrac_loctypes", "").split(","):
            return x
        return keep(x, int(fraction * x.shape[-1]))

    def linear(self, x: Tensor, name: str) -> Tensor:
        """One matrix, and its bias where there is one."""
        y = x @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def normed(self, x: Tensor, name: str) -> Tensor:
        """One norm by its name."""
        rms = self.config.get("rms_norm", False)
        return norm(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), rms)

    def read(self, residual: Tensor, positions: Tensor, block: str, which: int) -> Tensor:
        """What a sublayer reads: the normed residual and the normed positions beside it, if any."""
        x = self.normed(residual, f"{block}.ln_{which}")
        if self.config.get("d_pos_emb") is not None:
            beside = self.normed(positions, f"{block}.ln_p{which}").expand(*x.shape[:-1], -1)
            x = torch.cat([x, beside], dim=-1)
        return self.sparsify(x, "attn_in" if which == 1 else "mlp_in")

    def attention(self, x: Tensor, block: str) -> Tensor:
        """Causal attention, head by head, query by query; the sink joins the denominator."""
        heads, width = self.config["n_head"], self.config["d_head"]
        parts = self.linear(x, f"{block}.attn.c_attn").split(heads * width, dim=-1)
        q, k, v = (
            self.sparsify(part, site)
            for part, site in zip(parts, ("attn_q", "attn_k", "attn_v"), strict=True)
        )
        sink = self.weights.get(f"{block}.attn.attn_imp.sink_logit")
        out = torch.zeros_like(q)
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            for last in range(x.shape[1]):
                scores = k[:, : last + 1, own] @ q[:, last, own, None] / math.sqrt(width)
                peak = scores.max(1, keepdim=True).values
                terms = (scores - peak).exp()
                total = terms.sum(1, keepdim=True)
                if self.config.get("sink", False):
                    assert sink is not None
                    total = total + (sink.flatten()[head] - peak).exp()
                out[:, last, own] = (terms / total * v[:, : last + 1, own]).sum(1)
        return self.sparsify(self.linear(out, f"{block}.attn.c_proj"), "attn_out")

    def mlp(self, x: Tensor, block: str) -> Tensor:
        """Two matrices and the activation between them."""
        inner = self.linear(x, f"{block}.mlp.c_fc")
        if self.config.get("activation_type", "gelu") == "relu":
            inner = inner.clamp(min=0)
        else:
            inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        inner = self.sparsify(inner, "mlp_neuron")
        return self.sparsify(self.linear(inner, f"{block}.mlp.c_proj"), "mlp_out")

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits [batch, position, vocabulary] of `tokens` [batch, position]."""
        embedding = self.weights["transformer.wte.weight"]
        x = embedding[tokens]
        positions = self.weights["transformer.wpe.weight"][: tokens.shape[1]]
        if self.config.get("d_pos_emb") is None:
            x = x + positions
        for index in range(self.config["n_layer"]):
            block = f"transformer.h.{index}"
            x = x + self.attention(self.read(x, positions, block, 1), block)
            x = self.sparsify(x, "resid_post_attn")
            x = x + self.mlp(self.read(x, positions, block, 2), block)
            x = self.sparsify(x, "resid_post_mlp")
        x = self.normed(x, "transformer.ln_f")
        logits = (
            x @ (embedding if self.config.get("tied_unembed") else self.weights["lm_head.weight"]).T
        )
        if self.config.get("enable_bigram_table"):
            logits = logits + self.weights["bigram_table"][tokens]
        if "final_logits_bias" in self.weights:
            logits = logits + self.weights["final_logits_bias"]
        return logits

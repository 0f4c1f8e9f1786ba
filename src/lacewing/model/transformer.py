"""The weight-sparse transformer: a GPT-2-style decoder in one file.

    tokens -> wte -> [ attention block, MLP block ] x n_layer -> ln_f -> lm_head (+ bigram row)

    block:  attn_in = AbsTopK(ln_1(x))          mlp_in     = AbsTopK(ln_2(x))
            q, k, v = AbsTopK(c_attn(attn_in))  mlp_neuron = AbsTopK(GELU(c_fc(mlp_in)))
            x += AbsTopK(attn_proj(mix of v))   x         += AbsTopK(mlp_proj(mlp_neuron))

RMSNorm keeps zero special; embeddings are untied; every linear map but the unembedding has a bias;
the optional positions are concatenated to what each block reads, so they can be read but never
written (models of others may add them to the embedding instead). AbsTopK runs over the whole q, k
or v vector, not per head. Each value passes its site as `self.sites[key](value)`, where hooks may
look at it or change it. Paper section 2 and A.1.

Axes: batch, token, channel (of a site), head, vocab.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lacewing.errors import ConfigError
from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.gelu import gelu
from lacewing.kernels.rms_norm import EPSILON
from lacewing.kernels.sink_attention import sink_attention
from lacewing.model.config import ModelConfig
from lacewing.model.families import QKV, WRITERS
from lacewing.model.layers import Linear, RMSNorm
from lacewing.model.protocol import Head, Network, Norm, SiteHook
from lacewing.model.sites import FINAL_SITE, has_latents

__all__ = [
    "Block",
    "SiteHook",
    "Transformer",
    "beside",
    "own",
    "pick",
    "run_hooks",
    "thirds",
    "writers",
]


class Block(nn.Module):
    """One attention block and one MLP block, both added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int, hooks: dict[str, list[SiteHook]]) -> None:
        super().__init__()
        self.config, self.layer, self.hooks = config, layer, hooks
        d, read = config.d_model, config.d_read
        self.ln_1 = RMSNorm(d)
        gains = config.d_position if config.position_gains else None
        self.ln_p1 = None if gains is None else nn.Parameter(torch.ones(gains))
        self.ln_p2 = None if gains is None else nn.Parameter(torch.ones(gains))
        self.c_attn = Linear(read, 3 * d)
        self.attn_proj = Linear(d, d)
        self.sink = nn.Parameter(torch.zeros(config.n_head)) if config.sinks else None
        self.ln_2 = RMSNorm(d)
        self.c_fc = Linear(read, config.d_mlp)
        self.mlp_proj = Linear(config.d_mlp, d)

    def forward(self, x: Tensor, positions: Tensor | None, at: Tensor | None) -> Tensor:
        """Run the block; with `at`, everything after the attention pattern at one token only."""
        if at is None:
            return self.through(x, positions, self._attend)

        def ended(values: Tensor) -> Tensor:
            return pick(values.expand(len(at), *values.shape[-2:]), at)

        return self.through(x, positions, lambda q, k, v: ended(self._attend(q, k, v)), ended)

    def through(
        self,
        x: Tensor,
        positions: Tensor | None,
        attend: Callable[[Tensor, Tensor, Tensor], Tensor],
        ended: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> Tensor:
        """Run the block with another attention.

        Args:
            x: The residual stream, [batch token channel].
            positions: The position channels of these tokens, if there are any.
            attend: From queries, keys and values to what their heads see, after which only some
                tokens need be left.
            ended: Of values at all tokens, those that are left then.
        """
        x = self.attended(x, positions, attend, ended)
        positions = None if positions is None else ended(positions)
        return self.kept("resid_post", self.computed(x, positions))

    def attended(
        self,
        x: Tensor,
        positions: Tensor | None,
        attend: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        ended: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> Tensor:
        """The residual stream after the attention part, before AbsTopK; arguments as `through`."""
        x = self.kept("resid_pre", x)
        read = self._site("attn_in", self.attn_read(x, positions))
        q, k, v = self.c_attn(read).split(self.config.d_model, dim=-1)
        q, k, v = self._site("attn_q", q), self._site("attn_k", k), self._site("attn_v", v)
        mixed, x = (attend or self._attend)(q, k, v), ended(x)
        return x + self._site("attn_out", self.attn_proj(mixed))

    def computed(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """The residual stream after the MLP part, before AbsTopK."""
        x = self.kept("resid_mid", x)
        read = self._site("mlp_in", self.mlp_read(x, positions))
        neuron = self._site("mlp_neuron", self.activation(self.c_fc(read)))
        return x + self._site("mlp_out", self.mlp_proj(neuron))

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        """What the neurons go through."""
        return F.relu if self.config.activation == "relu" else gelu

    def attn_read(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """What attention reads, before AbsTopK."""
        return beside(self.ln_1(x), positions, self.ln_p1)

    def mlp_read(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """What the MLP reads, before AbsTopK."""
        return beside(self.ln_2(x), positions, self.ln_p2)

    def kept(self, name: str, x: Tensor) -> Tensor:
        """The residual stream, after AbsTopK where it acts on it."""
        keep = self.config.survivors(name, self.config.d_model)
        return x if keep is None else abs_topk(x, keep)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = (*q.shape[:2], self.config.n_head, self.config.d_head)
        q, k, v = (t.reshape(heads).transpose(1, 2) for t in (q, k, v))
        return sink_attention(q, k, v, self.sink).transpose(1, 2).flatten(2)

    def _site(self, name: str, value: Tensor) -> Tensor:
        keep = self.config.survivors(name, value.shape[-1])
        if keep is not None:
            value = abs_topk(value, keep)
        return run_hooks(self.hooks, f"{self.layer}.{name}", value)


class Transformer(nn.Module):
    """A decoder whose every site can be recorded and edited (see `hooks`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.hooks: dict[str, list[SiteHook]] = {}
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        width = config.d_model if config.added_positions else config.d_position
        self.wpe = nn.Embedding(config.context, width) if width else None
        self.blocks = nn.ModuleList(Block(config, i, self.hooks) for i in range(config.n_layer))
        self.ln_f = RMSNorm(config.d_model)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.bigram = (
            nn.Parameter(torch.empty(config.vocab_size, config.vocab_size))
            if config.bigram
            else None
        )
        bias = torch.zeros(config.vocab_size) if config.output_bias else None
        self.output_bias: Tensor | None
        self.register_buffer("output_bias", bias)
        self.initialise()

    def initialise(self) -> None:
        """Draw the weights: N(0, 0.02), projections to the residual less, biases 0 (gpt.py)."""
        shrink = 1 / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if name == "bigram":
                nn.init.uniform_(parameter, 0, 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "proj.weight" in name:
                nn.init.normal_(parameter, 0, 0.02 * shrink)
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, 0, 0.02)

    def forward(
        self, tokens: Int[Tensor, "batch token"], at: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch token vocab"] | Float[Tensor, "batch vocab"]:
        """Next-token logits.

        Args:
            tokens: Token ids; sequences shorter than the longest are padded on the right.
            at: Where given, the one token per sequence whose logits are wanted. Nothing that the
                logits there do not depend on is computed in the last block, so its sites after
                the attention have a token axis of length 1.

        Returns:
            Logits in nats, at every token or, with `at`, at one per sequence.
        """
        x = self.embedded(tokens)
        positions = self.normed_positions(tokens.shape[1])
        for block in self.blocks[:-1]:
            x = block(x, positions, None)
        x = self.blocks[-1](x, positions, at)
        logits = self.answered(x, tokens if at is None else pick(tokens, at))
        return logits if at is None else logits.squeeze(1)

    def answered(self, x: Tensor, current: Tensor) -> Tensor:
        """Next-token logits of the residual stream after the blocks, at some current tokens."""
        x = run_hooks(self.hooks, FINAL_SITE, x)
        logits: Tensor = self.lm_head(self.ln_f(x))
        if self.output_bias is not None:
            logits = logits + self.output_bias
        return logits if self.bigram is None else logits + F.embedding(current, self.bigram)

    def embedded(self, tokens: Tensor, position: Tensor | None = None) -> Tensor:
        """The residual stream before the first block.

        Args:
            tokens: Ids, [batch token], or with `position` of any shape.
            position: Where each token stands; by default in a sequence from the first on.
        """
        x: Tensor = self.wte(tokens)
        if self.wpe is None or not self.config.added_positions:
            return x
        known = self._known_positions(tokens.shape[-1] if position is None else 0)
        return x + (known if position is None else self.wpe.weight[position])

    def normed_positions(self, length: int) -> Tensor | None:
        """The position channels of the first tokens, normed, as blocks read them, if any."""
        if self.config.added_positions or self.wpe is None:
            return None
        return F.rms_norm(self._known_positions(length), (self.config.d_position,))

    def _known_positions(self, length: int) -> Tensor:
        assert self.wpe is not None
        if length > self.config.context:
            raise ValueError(f"{length} tokens exceed the {self.config.context} known positions")
        return self.wpe.weight[:length]

    @property
    def spared(self) -> int:
        """No token is spared: texts begin as they begin."""
        return 0

    def joined(self, layer: int) -> dict[str, Tensor]:
        """For every written site of a block, [destination, source]: whether a weight joins them."""
        written = writers(self.blocks[layer])
        return {site: weight.detach() != 0 for site, (weight, _) in written.items()}

    def biases(self, layer: int) -> dict[str, Tensor]:
        """The bias of every written site of a block."""
        return {site: bias.detach() for site, (_, bias) in writers(self.blocks[layer]).items()}

    def embedding(self) -> Tensor:
        """The embedding, [vocab channel]."""
        return self.wte.weight.detach()

    def unembedding(self) -> Tensor:
        """The unembedding, [vocab channel]."""
        return self.lm_head.weight.detach()

    def attention(
        self,
        seen: Mapping[str, Tensor],
        last: Tensor,
        heads: Sequence[Head],
        rows: Tensor | None = None,
    ) -> dict[Head, Tensor]:
        """What the last tokens attend to, and last what the sink takes; see `protocol.Network`.

        With `rows`, each of the tokens is one of that sequence of `seen`, of which any may have
        several; only what the heads need of it is copied.
        """
        size, found = self.config.d_head, {}
        every = torch.arange(len(last), device=last.device) if rows is None else rows
        for layer, number in heads:
            sinks = cast("Block", self.blocks[layer]).sink
            mine = slice(number * size, (number + 1) * size)
            keys, queries = (seen[f"{layer}.{name}"][..., mine] for name in ("attn_k", "attn_q"))
            keys, query = keys if rows is None else keys[rows], queries[every, last]
            scores = torch.einsum("sc,stc->st", query, keys)
            beyond = torch.arange(keys.shape[1])[None] > last[:, None]
            scores = (scores * size**-0.5).masked_fill(beyond, -torch.inf)
            sink = torch.tensor(-torch.inf) if sinks is None else sinks[number]
            column = sink.expand(len(scores), 1)
            found[layer, number] = torch.cat([scores, column], dim=1).softmax(1)
        return found

    def pairs_at_once(self, tokens: int) -> None:
        """All pairs of a batch go through together."""

    def norms(self) -> dict[str, Norm]:
        """The norms by name."""
        return {
            name: Norm(part, _rms_scale, lambda x, scale, norm=part: x * scale * norm.weight)
            for name, part in self.named_modules()
            if isinstance(part, RMSNorm)
        }


def own(network: Network, what: str) -> Transformer:
    """A network that has to be lacewing's own.

    Args:
        network: Any.
        what: What is asked for, as in the message.

    Raises:
        ConfigError: it is another's.
    """
    if has_latents(network.config):
        raise ConfigError(
            f"{what} is there for nodes that weights join, and no weight joins two latents: take "
            "the model under them, and circuits of its own nodes"
        )
    if not isinstance(network, Transformer):
        raise ConfigError(
            f"{what} is there for models of lacewing alone: it needs weights that are mostly zero, "
            "and this model has all of them"
        )
    return network


def writers(block: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight [destination, source] and bias [destination] that compute each written site."""
    found = {}
    for site, writer in WRITERS.items():
        linear = getattr(cast("Block", block), writer.matrix)
        weight, bias = linear.weight, linear.bias
        if writer.third is not None:
            weight, bias = thirds(weight)[writer.third], thirds(bias)[writer.third]
        found[site] = (weight, bias)
    return found


def thirds(rows: Tensor) -> tuple[Tensor, ...]:
    """The rows of `c_attn`, or of its bias, that write queries, keys and values."""
    return rows.chunk(len(QKV))


def _rms_scale(x: Tensor) -> Tensor:
    return (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt()


def run_hooks(hooks: dict[str, list[SiteHook]], key: str, value: Tensor) -> Tensor:
    """Pass a site's value through the hooks set on it, in the order they were set."""
    for hook in hooks.get(key, ()):
        value = hook(value)
    return value


def beside(x: Tensor, positions: Tensor | None, gain: Tensor | None = None) -> Tensor:
    """The residual stream with the position channels beside it, where there are any."""
    if positions is None:
        return x
    positions = positions if gain is None else positions * gain
    return torch.cat([x, positions.to(x.dtype).expand(*x.shape[:-1], -1)], dim=-1)


def pick(values: Tensor, at: Tensor) -> Tensor:
    """The entry of each sequence at its own token, keeping a token axis of length 1."""
    return values[torch.arange(len(at), device=at.device), at].unsqueeze(1)

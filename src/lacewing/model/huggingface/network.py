"""A causal language model of transformers as a `protocol.Network`: its own modules run, with hooks.

    network = HuggingFaceNetwork(AutoModelForCausalLM.from_pretrained(...))
    with record(network, ["3.mlp_neuron"]) as seen:
        network(tokens)

A hook lies on every module where a site passes. Where nobody looks, it hands on what it was given,
so that the logits are those of transformers to the bit; an edit also acts where the model is called
directly, as by `generate`, and ends with its block. `release` takes the hooks off for good.

Where gradients are wanted and would not fit, blocks are checkpointed: only what enters each is
kept, and the block runs again on the way back, under the same edits.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lacewing.errors import DataError
from lacewing.model.huggingface.layouts import (
    Layout,
    Tap,
    layout_of,
    norm_of,
    rotated,
    some,
    weight_of,
)
from lacewing.model.protocol import Head, Norm, SiteHook, key_head
from lacewing.model.sites import FINAL_SITE

CONTEXT = 128
"""Tokens of a window of text, at most; the model itself may know far longer ones."""
HELD = 1.2e9
"""Bytes of activations held for a backward pass, above which blocks are checkpointed."""


@dataclass(frozen=True)
class OpenShape:
    """The sizes of a model of transformers; see `protocol.Shape`."""

    n_layer: int
    d_model: int
    d_head: int
    d_mlp: int
    n_head: int
    n_key_head: int
    vocab_size: int
    context: int

    @property
    def d_read(self) -> int:
        """Channels that attention and MLP read: the residual stream."""
        return self.d_model

    @classmethod
    def of(cls, config: Any) -> "OpenShape":
        """The sizes in a configuration of transformers."""
        heads = config.num_attention_heads
        width = config.hidden_size
        mlp = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
        return cls(
            n_layer=config.num_hidden_layers,
            d_model=width,
            d_head=getattr(config, "head_dim", None) or width // heads,
            d_mlp=mlp or 4 * width,
            n_head=heads,
            n_key_head=getattr(config, "num_key_value_heads", None) or heads,
            vocab_size=config.vocab_size,
            context=min(CONTEXT, config.max_position_embeddings),
        )


class HuggingFaceNetwork(nn.Module):
    """A model of transformers whose every site can be recorded and edited."""

    def __init__(self, inner: Any) -> None:
        """Wrap a model in place.

        Args:
            inner: A causal language model, as `AutoModelForCausalLM` gives it.

        Raises:
            MismatchError: its architecture is not supported.
        """
        super().__init__()
        self.layout: Layout = layout_of(type(inner).__name__)
        self.inner = inner.eval().requires_grad_(False)
        self.config = OpenShape.of(inner.config)
        self.longest = int(inner.config.max_position_embeddings)
        self.hooks: dict[str, list[SiteHook]] = {}
        self.blocks: Sequence[nn.Module] = list(getattr(inner.base_model, self.layout.blocks))
        self._joined: dict[int, dict[str, Tensor]] = {}
        self._handles = list(self._taps())

    def forward(self, tokens: Tensor, at: Tensor | None = None) -> Tensor:
        """Next-token logits.

        Args:
            tokens: Token ids, [batch token]; padded on the right.
            at: Where given, the one token per sequence whose logits are wanted.

        Returns:
            Logits in nats, [batch token vocab], or with `at`, [batch vocab].

        Raises:
            DataError: more tokens than the model has positions for.
        """
        if tokens.shape[1] > self.longest:
            raise DataError(
                f"{tokens.shape[1]} tokens exceed the {self.longest} positions of this model: "
                "shorten the prompts"
            )
        with self._checkpointed() if self._large(tokens) else nullcontext():
            if at is None:
                logits: Tensor = self.inner(input_ids=tokens, use_cache=False).logits
                return logits
            states = self.inner.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        ends = states[torch.arange(len(at), device=at.device), at]
        unembedded: Tensor = self.inner.get_output_embeddings()(ends)
        return unembedded

    def packs(self, width: int) -> bool:
        """Whether prompts of so many tokens can run as `packed` rows.

        The kernel has to take any mask, and no token may see less than all before it.
        """
        config = self.inner.config
        sliding = getattr(config, "sliding_window", None) or self.longest
        return config._attn_implementation == "sdpa" and width <= min(self.longest, sliding)

    def packed(self, tokens: Tensor, position: Tensor, sees: Tensor, ends: Tensor) -> Tensor:
        """Next-token logits at some places of rows in which several prompts stand.

        Sites have the values of every place, [row place channel].

        Args:
            tokens: Token ids, [row place].
            position: Where each stands in its prompt, [row place].
            sees: Whether a place attends to another, [row 1 place place].
            ends: The places asked for, counted through all rows.

        Returns:
            Logits in nats, [end vocab].
        """
        with self._checkpointed() if self._large(tokens) else nullcontext():
            states = self.inner.base_model(
                input_ids=tokens, position_ids=position, attention_mask=sees, use_cache=False
            ).last_hidden_state
        asked = states.flatten(0, 1).index_select(0, ends)
        unembedded: Tensor = self.inner.get_output_embeddings()(asked)
        return unembedded

    def __deepcopy__(self, memo: object) -> "HuggingFaceNetwork":
        """The same weights in a model of its own, without hooks set on it."""
        twin = type(self.inner)(copy.deepcopy(self.inner.config))
        twin.load_state_dict(self.inner.state_dict())
        return HuggingFaceNetwork(twin)

    def release(self) -> None:
        """Take the hooks off: the model is then as it was before it was wrapped."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def spared(self) -> int:
        """The first token, which is the same in all texts (see `tokenizer`)."""
        return 1

    def joined(self, layer: int) -> dict[str, Tensor]:
        """For every written site of a block, [destination, source]: whether a weight joins them.

        A value channel that several heads share is joined with what any of them writes.
        """
        if layer not in self._joined:
            found = {site: some(self._weights(layer, site)) for site in self.layout.maps}
            shared = self.config.n_head // self.config.n_key_head
            if shared > 1:
                out, size = found["attn_out"], self.config.d_head
                found["attn_out"] = out.view(len(out), -1, shared, size).any(2).flatten(1)
            self._joined[layer] = found
        return self._joined[layer]

    def biases(self, layer: int) -> dict[str, Tensor]:
        """The bias of every written site of a block that has one."""
        found = {}
        for site, names in self.layout.maps.items():
            biases = [
                bias.detach()
                for name in names
                if (bias := self._part(layer, name).bias) is not None
            ]
            if biases:
                tap = self.layout.taps[site]
                found[site] = _of_part(tap, sum(biases[1:], start=biases[0]))
        return found

    def embedding(self) -> Tensor:
        """The embedding, [vocab channel]."""
        weight: Tensor = self.inner.get_input_embeddings().weight.detach()
        return weight

    def unembedding(self) -> Tensor:
        """The unembedding, [vocab channel]."""
        weight: Tensor = self.inner.get_output_embeddings().weight.detach()
        return weight

    def norms(self) -> dict[str, Norm]:
        """The norms by name."""
        found = {
            f"{layer}.{name}": norm_of(self.layout, self._part(layer, name))
            for layer in range(self.config.n_layer)
            for name in self.layout.norms
        }
        final = getattr(self.inner.base_model, self.layout.final_norm)
        return found | {self.layout.final_norm: norm_of(self.layout, final)}

    def attention(
        self, seen: Mapping[str, Tensor], last: Tensor, heads: Sequence[Head]
    ) -> dict[Head, Tensor]:
        """What the last tokens attend to; nothing goes to a sink. See `protocol.Network`."""
        found = {}
        rows = torch.arange(len(last))
        for layer in sorted({layer for layer, _ in heads}):
            query = self._by_head(seen[f"{layer}.attn_q"])
            keys = self._by_head(seen[f"{layer}.attn_k"])
            scaling = self._part(layer, self._attention).scaling
            beyond = torch.arange(keys.shape[2])[None] > last[:, None]
            for number in (n for at, n in heads if at == layer):
                asked = query[rows, number, last]
                given = keys[:, key_head(self.config, number)]
                scores = torch.einsum("sc,stc->st", asked, given) * scaling
                weights = scores.masked_fill(beyond, -torch.inf).softmax(1)
                found[layer, number] = torch.cat([weights, torch.zeros(len(last), 1)], dim=1)
        return found

    def activations(self) -> list[nn.Module]:
        """What the neurons of each block go through."""
        return [self._part(layer, self.layout.activation) for layer in range(self.config.n_layer)]

    @property
    def gated(self) -> bool:
        """Whether neurons are products of an activation and another map."""
        return self.layout.gated

    @property
    def _attention(self) -> str:
        return self.layout.taps["attn_out"].module.rpartition(".")[0]

    def _by_head(self, value: Tensor) -> Tensor:
        """Queries or keys [batch head token channel], rotated where the layout does."""
        split = value.view(*value.shape[:2], -1, self.config.d_head).transpose(1, 2)
        if not self.layout.rotary:
            return split
        positions = torch.arange(value.shape[1])[None]
        return rotated(self.inner.config, self.inner.base_model.rotary_emb, split, positions)

    def _part(self, layer: int, name: str) -> Any:
        return self.blocks[layer].get_submodule(name)

    def _weights(self, layer: int, site: str) -> list[Tensor]:
        """The matrices [destination, source] that write a site."""
        tap, names = self.layout.taps[site], self.layout.maps[site]
        rows = [weight_of(self._part(layer, name)) for name in names]
        return [_of_part(tap, weight) for weight in rows]

    def _taps(self) -> Iterator[Any]:
        """Put a hook on every module where a site passes."""
        for layer, block in enumerate(self.blocks):
            places: dict[tuple[str, str], list[tuple[str, Tap]]] = {}
            for site, tap in self.layout.taps.items():
                places.setdefault((tap.module, tap.side), []).append((f"{layer}.{site}", tap))
            for (name, side), sites in places.items():
                yield _tapped(block.get_submodule(name), side, partial(self._passed, sites))
        final = getattr(self.inner.base_model, self.layout.final_norm)
        tap = Tap(self.layout.final_norm, "input")
        yield _tapped(final, "input", partial(self._passed, [(FINAL_SITE, tap)]))

    def _passed(self, sites: Sequence[tuple[str, Tap]], value: Tensor) -> Tensor | None:
        """What goes on where sites pass; none where nobody looks."""
        if not any(self.hooks.get(key) for key, _ in sites):
            return None
        parts = [value] if len(sites) == 1 else list(value.chunk(3, dim=-1))
        for place, (key, _) in enumerate(sites):
            for hook in self.hooks.get(key, ()):
                parts[place] = hook(parts[place])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def pairs_at_once(self, tokens: int) -> int:
        """Pairs of so many tokens each whose backward pass fits without checkpoints."""
        return max(1, int(HELD / (2 * tokens * self._held())))

    def _held(self) -> float:
        """Bytes that a backward pass holds per token."""
        shape = self.config
        channels = 12 * shape.d_model + 6 * shape.d_mlp + 3 * shape.n_head * shape.d_head
        return 4.0 * shape.n_layer * channels

    def _large(self, tokens: Tensor) -> bool:
        """Whether a backward pass through these tokens would hold too much."""
        return torch.is_grad_enabled() and tokens.numel() * self._held() > HELD

    @contextmanager
    def _checkpointed(self) -> Iterator[None]:
        """Blocks keep only what enters them, for the length of one pass."""
        frozen = {key: list(hooks) for key, hooks in self.hooks.items() if hooks}

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), self._hooked(frozen)

        for block in self.blocks:
            block.forward = partial(
                checkpoint, block.forward, use_reentrant=False, context_fn=contexts
            )
        try:
            yield
        finally:
            for block in self.blocks:
                del block.forward

    @contextmanager
    def _hooked(self, hooks: Mapping[str, Sequence[SiteHook]]) -> Iterator[None]:
        """The hooks of an earlier pass, while a block of it runs again."""
        now = {key: list(set_) for key, set_ in self.hooks.items()}
        self.hooks.clear()
        self.hooks.update({key: list(set_) for key, set_ in hooks.items()})
        try:
            yield
        finally:
            self.hooks.clear()
            self.hooks.update(now)


def _of_part(tap: Tap, rows: Tensor) -> Tensor:
    """The rows of a map, or of its bias, that write one site."""
    return rows if tap.part is None else rows.chunk(3)[tap.part]


def _tapped(module: nn.Module, side: str, passed: Callable[[Tensor], Tensor | None]) -> Any:
    """A handle of a hook that passes a module's input or output through a function."""
    if side == "output":
        return module.register_forward_hook(lambda module, inputs, output: passed(output))

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        changed = passed(inputs[0])
        return None if changed is None else (changed, *inputs[1:])

    return module.register_forward_pre_hook(before)

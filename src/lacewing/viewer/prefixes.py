"""A circuit on many prompts at once, each shared beginning computed once.

The model looks back only, so tokens with the same prompt before them have the same values. The two
members of a pair differ late, and padding is nobody's beginning: of the test prompts of a task less
than half of the places are left. What the first block reads depends on the tokens alone, not on the
circuit; it is computed once for all edits. Equal to `LiveCircuit` up to the order of sums.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lacewing.circuits.live import LiveCircuit, _LiveBlock
from lacewing.kernels.abs_topk import abs_topk
from lacewing.kernels.sink_attention import sink_attention
from lacewing.model.transformer import Block, Transformer, beside
from lacewing.tasks.batch import Prompts

PIECE = 64
"""Pairs run at once, so that the values stay in the processor's cache."""


class Prefixes:
    """The different beginnings of some prompts."""

    def __init__(self, network: Transformer, prompts: Prompts) -> None:
        """Find them, and compute what the first block reads there.

        Args:
            network: Whose embedding and first norm are used; cutting edges leaves them alone.
            prompts: The prompts.
        """
        known: dict[tuple[int, int], int] = {}
        rows = torch.zeros_like(prompts.tokens)
        tokens: list[int] = []
        position: list[int] = []
        first: list[int] = []
        width = prompts.tokens.shape[1]
        for s, (ids, last) in enumerate(
            zip(prompts.tokens.tolist(), prompts.last.tolist(), strict=True)
        ):
            before = -1  # a beginning is its last token after a shorter beginning
            found = []
            for t in range(last + 1):
                before = known.setdefault((before, ids[t]), len(tokens))
                found.append(before)
                if before == len(tokens):
                    tokens.append(ids[t])
                    position.append(t)
                    first.append(s * width + t)
            rows[s, : last + 1] = torch.tensor(found)
        self.rows, self.last = rows, prompts.last
        """Beginning [sequence, token] of every place."""
        self.tokens, self.position = torch.tensor(tokens), torch.tensor(position)
        self.first = torch.tensor(first)
        """One place of each beginning, in the flattened sequences."""
        self.ends = rows.gather(1, prompts.last[:, None])[:, 0]
        self.embedded: Tensor = network.wte(self.tokens)
        normed = None if network.wpe is None else network.normed_positions(width)
        self.positions = None if normed is None else normed[self.position]
        block: Block = network.blocks[0]  # type: ignore[assignment]
        self.read: Tensor = beside(block.ln_1(self.embedded), self.positions)
        keep = network.config.survivors("attn_in", self.read.shape[-1])
        if keep is not None:
            self.read = abs_topk(self.read, keep)


def prefixes(network: Transformer, prompts: Prompts) -> list[Prefixes]:
    """Prompts in pieces, ready for `logits`."""
    count = len(prompts)
    with torch.inference_mode():
        return [
            Prefixes(network, prompts.take(range(start, min(start + PIECE, count))))
            for start in range(0, count, PIECE)
        ]


@torch.inference_mode()
def logits(live: LiveCircuit, pieces: Sequence[Prefixes]) -> Float[Tensor, "sequence vocab"]:
    """Next-token logits of a circuit at the end of each prompt, in nats."""
    return torch.cat([_logits(live, piece) for piece in pieces])


def _logits(live: LiveCircuit, at: Prefixes) -> Tensor:
    network, x = live.network, at.embedded
    for number, block in enumerate(live.blocks):
        read = at.read if number == 0 else None
        x = _block(block, x, read, at, ends=number == len(live.blocks) - 1)
    x = torch.where(live.final, x, live.final_fill)
    found: Tensor = network.lm_head(network.ln_f(x))
    if network.bigram is not None:
        found = found + F.embedding(at.tokens[at.ends], network.bigram)
    return found


def _block(block: _LiveBlock, x: Tensor, read: Tensor | None, at: Prefixes, ends: bool) -> Tensor:
    """A block at every beginning, or, the last one, at the ends of prompts only."""
    site = block.sites["attn_out"]
    update = x.new_zeros(0)
    if len(site.live):
        update = site.of_full(_written(block, x, read, at, ends))
    positions = at.positions
    if ends:
        x = x[at.ends]
        positions = None if positions is None else positions[at.ends]
    x = site.add(x, update)
    site = block.sites["mlp_out"]
    if not len(site.live):
        return site.add(x, x.new_zeros(0))
    update = block._mlp(x, positions)  # one row for all where no neuron is live
    return site.add(x, update.reshape(-1, update.shape[-1]))


def _written(block: _LiveBlock, x: Tensor, read: Tensor | None, at: Prefixes, ends: bool) -> Tensor:
    """What attention writes, before AbsTopK, [beginning, channel] or [sequence, channel]."""
    where = at.position[at.ends] if ends else at.position
    written = block._still_heads(at.rows.shape[1])[where]
    if not bool(block.heads.any()):
        return written
    site = block.sites["attn_in"]
    if read is not None:
        read = read[:, site.live]
    else:
        read = site.of_full(beside(block.block.ln_1(x), at.positions))
    q, k, v = (
        block._heads(name, read[None])[0].transpose(0, 1) for name in ("attn_q", "attn_k", "attn_v")
    )
    sink = None if block.block.sink is None else block.block.sink[block.heads]
    k, v = (t[at.rows].transpose(1, 2) for t in (k, v))  # [sequence, head, token, channel]
    if ends:
        mixed = _last_query(q[at.ends], k, v, sink, at.last)
    else:
        every = sink_attention(q[at.rows].transpose(1, 2), k, v, sink)
        mixed = every.transpose(1, 2).flatten(0, 1)[at.first]
    return F.linear(mixed.flatten(1), block.attn_proj) + written


def _last_query(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None, last: Tensor) -> Tensor:
    """Attention of one query per sequence, [sequence, head, channel]."""
    scores = (k @ q[..., None])[..., 0] * q.shape[-1] ** -0.5
    later = torch.arange(k.shape[2])[None] > last[:, None]
    scores = scores.masked_fill(later[:, None], -torch.inf)
    if sink is None:
        return (scores.softmax(-1)[..., None, :] @ v)[..., 0, :]
    whole = torch.cat([scores, sink[None, :, None].expand(len(q), -1, 1)], dim=-1)
    return (whole.softmax(-1)[..., None, :-1] @ v)[..., 0, :]

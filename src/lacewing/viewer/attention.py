"""Where a head looks: its pattern in the full model and in the circuit, for one prompt."""

import math
from typing import Any

import torch
from torch import Tensor

from lacewing.errors import DataError
from lacewing.model.hooks import edit, record
from lacewing.model.sites import has_latents
from lacewing.model.transformer import Block
from lacewing.viewer.edits import prepare
from lacewing.viewer.session import NO_CHANGES, Session


def patterns(session: Session, head: str, tokens: list[int], answer: str | None) -> dict[str, Any]:
    """Attention of a head over a prompt, [query][key up to the query], and what its sink takes.

    Raises:
        DataError: the model has no such head, or its nodes are latents.
    """
    if has_latents(session.model.network.config):
        raise DataError(
            "nodes are latents here: look at heads in a circuit of the model under them"
        )
    layer, number = (int(part) for part in head.split("."))
    config = session.model.network.config
    if layer >= config.n_layer or number >= config.n_head:
        raise DataError(
            f"no head {head}: the model has {config.n_layer} layers of {config.n_head} heads"
        )
    row = torch.tensor([tokens])
    prepared = prepare(session.circuit, session.model, session.circuit.ablation, NO_CHANGES)
    hooks = {
        key: lambda value, mask=mask, ablation_value=prepared.model.means[key]: torch.where(
            mask, value, ablation_value
        )
        for key, mask in prepared.masks.items()
    }
    found: dict[str, Any] = {
        "head": head,
        "tokens": [session.model.tokenizer.token(t) for t in tokens],
        "answer": answer,
    }
    with session.turns.person():
        for name, network, edits in (
            ("full", session.model.ours, {}),
            ("circuit", prepared.model.ours, hooks),
        ):
            keys = [f"{layer}.attn_q", f"{layer}.attn_k"]
            with edit(network, edits), record(network, keys) as seen, torch.inference_mode():
                network(row)
            block: Block = network.blocks[layer]  # type: ignore[assignment]
            pattern, sink = attend(block, seen[keys[0]][0], seen[keys[1]][0], number)
            found[name] = [
                [round(w, 4) for w in line[: q + 1]] for q, line in enumerate(pattern.tolist())
            ]
            found[f"{name}_sink"] = None if sink is None else [round(w, 4) for w in sink.tolist()]
    return found


def attend(block: Block, q: Tensor, k: Tensor, head: int) -> tuple[Tensor, Tensor | None]:
    """Attention weights [query, key] of one head, and the share of its sink."""
    size = block.config.d_head
    mine = slice(head * size, (head + 1) * size)
    scores = q[:, mine] @ k[:, mine].T / math.sqrt(size)
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, -torch.inf)
    if block.sink is None:
        return scores.softmax(1), None
    sink = block.sink[head].expand(len(scores), 1)
    weights = torch.cat([scores, sink], dim=1).softmax(1)
    return weights[:, :-1], weights[:, -1]

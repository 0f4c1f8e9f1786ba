"""What each node and edge is worth, guessed from one backward pass, so that the best come first.

Switching a node off moves its value to its fill; to first order the loss then changes by the
gradient times that move, summed over tokens and prompts. An edge passes its weight times its
source's move on to its destination; edges out of attn_v, where attention lies between, share their
source's guess by weight and gradient. A guess is too rough to be shown, but good enough to decide
what is measured first (attribution patching, Nanda 2023).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lacewing.ablation.masks import masks_of
from lacewing.circuit.circuit import Circuit
from lacewing.model.hooks import edit
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.model.weights import weight_of
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss
from lacewing.viewer.edits import edge_name


def estimates(
    model: Model, circuit: Circuit, prompts: Prompts, ablation_values: Mapping[str, Tensor]
) -> dict[str, float]:
    """Guessed size of the change in loss when a node is switched off or an edge is cut.

    Args:
        model: The model of the circuit.
        circuit: The circuit.
        prompts: A few test pairs.
        ablation_values: Per site key, what stands for what is off, [channel].

    Returns:
        Absolute change by node name and edge name; only the order means something.
    """
    slopes, moves = _run(model, circuit, prompts, ablation_values)
    change = {key: (slopes[key] * moves[key]).sum((0, 1)).abs() for key in moves}
    found = {
        f"{key}.{channel}": float(change[key][channel])
        for key, kept in circuit.nodes.items()
        for channel in kept.tolist()
    }
    for family, pairs in circuit.edges.items():
        layer, _, sites = family.partition(".")
        source, destination = (f"{layer}.{site}" for site in sites.split("-"))
        weight = weight_of(model.network, family)
        if sites == "attn_v-attn_out":
            share = weight.abs() * slopes[destination].abs().sum((0, 1))[:, None]
            passed = share / share.sum(0).clamp(min=1e-12) * change[source]
        else:
            passed = weight * torch.einsum("bts,btd->ds", moves[source], slopes[destination])
        passed = passed.abs()
        found |= {edge_name(family, s, d): float(passed[d, s]) for s, d in pairs.tolist()}
    return found


def _run(
    model: Model, circuit: Circuit, prompts: Prompts, ablation_values: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """At every site of the running circuit: gradients of the loss, and the way to the fill."""
    seen: dict[str, Tensor] = {}
    masks = masks_of(model.network, circuit.nodes)

    def keeper(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            # Weights have no gradients here, so the first sites have to begin the graph.
            seen[key] = value if value.requires_grad else value.detach().requires_grad_()
            seen[key].retain_grad()
            return torch.where(masks[key], seen[key], ablation_values[key])

        return hook

    with torch.enable_grad(), edit(model.network, {key: keeper(key) for key in masks}):
        logits = model.network(prompts.tokens)
        rows = torch.arange(len(prompts.last))
        loss = two_answer_loss(logits[rows, prompts.last], prompts).mean()
        loss.backward()  # type: ignore[no-untyped-call]
    slopes = {k: torch.zeros_like(v) if v.grad is None else v.grad for k, v in seen.items()}
    return slopes, {key: ablation_values[key] - value.detach() for key, value in seen.items()}

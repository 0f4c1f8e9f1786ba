"""How much the loss would rise without each component, to first order, from one backward pass.

    node    sum over tokens of (a - x) dL/dx
    edge    w (a dL/db - dL/dw), with b and w its destination's bias and its weight

with x the node's value and a the ablation value of the node, or of the edge's source.

Exact only for small changes: it ranks components, it decides nothing. Source: attribution patching
(Nanda 2023); method section 6.
"""

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.editor import CircuitEditor
from lacewing.ablation.masks import Masks, masks_of
from lacewing.ablation.packed import fitting
from lacewing.ablation.prefix_run import Batch
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.components import Component, ends
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network, SiteHook
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.model.weights import weight_of, writers
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import two_answer_loss


def first_order(editor: CircuitEditor, prompts: Prompts) -> dict[Component, float]:
    """Rise of the mean loss without each component that is on, in nats, to first order."""
    network, ablation_values = editor.network, editor.ablation_values
    network.requires_grad_(True)
    network.zero_grad()
    rises = node_rises(network, editor.masks, ablation_values, prompts)
    network.requires_grad_(False)
    found: dict[Component, float] = {
        node: float(rises[node[0]][node[1]]) for node in editor.nodes_on()
    }
    slopes = _slopes(network)
    for edge in editor.edges_on():
        (start, source), (key, destination) = ends(edge)
        weight, bias = slopes[key]
        moved = float(
            ablation_values[start][source] * bias[destination] - weight[destination, source]
        )
        found[edge] = float(editor.written(key)[0][destination, source]) * moved
    return found


def node_rises(
    network: Network, masks: Masks, ablation_values: Mapping[str, Tensor], prompts: Prompts
) -> dict[str, Float[Tensor, " channel"]]:
    """Rise of the mean loss without each node, to first order; zero where no gradient arrived.

    Args:
        network: The model; where its parameters ask for gradients, they get theirs too.
        masks: The nodes that are on.
        ablation_values: Per site key, what stands for the values of nodes that are off.
        prompts: What the loss is measured on.
    """
    return gated_rises(network, {k: m.float() for k, m in masks.items()}, ablation_values, prompts)


def gated_rises(
    network: Network,
    gates: Mapping[str, Float[Tensor, " channel"]],
    ablation_values: Mapping[str, Tensor],
    prompts: Prompts,
) -> dict[str, Float[Tensor, " channel"]]:
    """The same where nodes are on in part: at a gate of 0.5 halfway to their ablation values."""
    gates = {key: gate.clone().requires_grad_() for key, gate in gates.items()}

    def hook(key: str) -> SiteHook:
        def mixed(value: Tensor) -> Tensor:
            gate = gates[key]
            return value * gate + (1 - gate) * ablation_values[key]

        return mixed

    for part in fitting(network, prompts):
        with torch.enable_grad(), ablate(network, {key: hook(key) for key in gates}):
            logits = Batch.of(network, [part]).logits()
            loss = two_answer_loss(logits, part).mean() * (len(part) / len(prompts))
            loss.backward()  # type: ignore[no-untyped-call]
    return {
        key: torch.zeros_like(gate) if gate.grad is None else -gate.grad
        for key, gate in gates.items()
    }


def _slopes(network: Transformer) -> dict[str, tuple[Tensor, Tensor]]:
    """Gradients of the weight and the bias that write each site, zero where nothing arrived."""
    slopes = copy.deepcopy(network)
    for slope, parameter in zip(slopes.parameters(), network.parameters(), strict=True):
        slope.zero_() if parameter.grad is None else slope.copy_(parameter.grad)
    return {
        f"{layer}.{site}": pair
        for layer, block in enumerate(slopes.blocks)
        for site, pair in writers(block).items()
    }


def guessed_changes(
    model: Model, circuit: Circuit, prompts: Prompts, ablation_values: Mapping[str, Tensor]
) -> dict[Component, float]:
    """Guessed size of the change in loss without each component, from one pass, without a copy.

    An edge passes its weight times its source's move to the ablation value on to its destination;
    edges out of attn_v, where attention lies between, share their source's guess by weight and
    gradient. Rougher than `first_order`, and good enough to decide what is measured first.

    Args:
        model: The model of the circuit.
        circuit: The circuit.
        prompts: A few test pairs.
        ablation_values: Per site key, what stands for what is off, [channel].

    Returns:
        Absolute changes; only their order means something.
    """
    slopes, moves = _slopes_and_moves(model, circuit, prompts, ablation_values)
    change = {key: (slopes[key] * moves[key]).sum((0, 1)).abs() for key in moves}
    found: dict[Component, float] = {
        (key, channel): float(change[key][channel])
        for key, kept in circuit.nodes.items()
        for channel in kept.tolist()
    }
    for family, pairs in circuit.edges.items():
        if not len(pairs):  # of latents there is none, and no weight that could be one
            continue
        layer, _, sites = family.partition(".")
        source, destination = (f"{layer}.{site}" for site in sites.split("-"))
        weight = weight_of(model.ours, family)
        if sites == "attn_v-attn_out":
            share = weight.abs() * slopes[destination].abs().sum((0, 1))[:, None]
            passed = share / share.sum(0).clamp(min=1e-12) * change[source]
        else:
            passed = weight * torch.einsum("bts,btd->ds", moves[source], slopes[destination])
        passed = passed.abs()
        found |= {(family, s, d): float(passed[d, s]) for s, d in pairs.tolist()}
    return found


def _slopes_and_moves(
    model: Model, circuit: Circuit, prompts: Prompts, ablation_values: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """At every site of the running circuit: gradients of the loss, and moves to ablation values."""
    seen: dict[str, Tensor] = {}
    masks = masks_of(model.network, circuit.nodes)

    def keeper(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            # Weights have no gradients here, so the first sites have to begin the graph.
            seen[key] = value if value.requires_grad else value.detach().requires_grad_()
            seen[key].retain_grad()
            return torch.where(masks[key], seen[key], ablation_values[key])

        return hook

    with torch.enable_grad(), ablate(model.network, {key: keeper(key) for key in masks}):
        logits = model.network(prompts.tokens)
        rows = torch.arange(len(prompts.last))
        loss = two_answer_loss(logits[rows, prompts.last], prompts).mean()
        loss.backward()  # type: ignore[no-untyped-call]
    slopes = {k: torch.zeros_like(v) if v.grad is None else v.grad for k, v in seen.items()}
    return slopes, {key: ablation_values[key] - value.detach() for key, value in seen.items()}

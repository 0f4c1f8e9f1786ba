"""Attribution on any model of the protocol: one pass back from a logit difference.

What is not linear can be held as it was on the prompt, by rules of relevance propagation (RelP):

    norms          multiply by what they multiplied by
    activations    multiply by the ratio of what they gave to what they got
    products       of a gated MLP: each factor takes half
    attention      nothing goes back through where heads look; queries and keys have effects of
                   their own, but hand none on

With none of them this is attribution patching. The rules are set through the hooks of the network:
the forward pass is the model's own, and its logits do not change. A node's effect is its distance
from its mean over text, times what one unit of it adds: what ablating it to the mean should take
away. How far that is from what ablating does take away is measured (`check`); the rules that are
used by default are those that predicted best in docs/trace.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacewing.model.hooks import edit
from lacewing.model.protocol import Network, Norm, SiteHook
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.statistics import correlation, correlations, interval

Rule = Literal["norms", "activations", "products", "attention"]
RULES: tuple[Rule, ...] = ("norms", "activations", "products", "attention")
"""All: those of RelP."""
DEFAULT: tuple[Rule, ...] = ()
"""Those that are used."""
BATCH = 16
"""Ablations of one pass."""
RESAMPLES = 2000


@runtime_checkable
class Activated(Protocol):
    """A network whose activations are modules of their own."""

    def activations(self) -> Sequence[nn.Module]:
        """They."""

    @property
    def gated(self) -> bool:
        """Whether its neurons are products of an activation and another map."""


@dataclass(frozen=True)
class Attribution:
    """Every node of one prompt."""

    tokens: tuple[int, ...]
    values: Mapping[str, Float[Tensor, "token _"]]
    units: Mapping[str, Float[Tensor, "token _"]]
    """What one unit of each node adds to the logit difference, nats."""
    effects: Mapping[str, Float[Tensor, "token _"]]
    """What ablating it to its mean should take away, nats; 0 at tokens that are spared."""
    logits: Float[Tensor, " vocab"]
    difference: float


@contextmanager
def held_rules(network: Network, rules: Sequence[Rule]) -> Iterator[None]:
    """Hold what is not linear, on the way back alone, for the length of the block."""
    with ExitStack() as stack:
        for norm in network.norms().values() if "norms" in rules else ():
            handle = norm.module.register_forward_hook(_held_norm(norm))
            stack.callback(handle.remove)
        hooks: dict[str, SiteHook] = {}
        for key in site_widths(network.config) if "attention" in rules else ():
            if key.endswith((".attn_q", ".attn_k")):
                hooks[key] = Tensor.detach
        if isinstance(network, Activated):
            for module in network.activations() if "activations" in rules else ():
                stack.callback(module.register_forward_hook(_held_ratio).remove)
            if network.gated and "products" in rules:
                for layer in range(network.config.n_layer):
                    hooks[f"{layer}.mlp_neuron"] = _half
        stack.enter_context(edit(network, hooks))
        yield


def _held_norm(norm: Norm) -> Callable[..., Tensor]:
    def hook(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
        return norm.apply(given[0], norm.scale(given[0]).detach())

    return hook


def _held_ratio(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
    x = given[0]
    ratio = torch.where(x == 0, 0.0, out / torch.where(x == 0, 1.0, x)).detach()
    return x * ratio


def _half(value: Tensor) -> Tensor:
    return value / 2 + value.detach() / 2


def attribute(
    model: Model,
    tokens: tuple[int, ...],
    answer: int,
    rival: int,
    rules: Sequence[Rule] = DEFAULT,
) -> Attribution:
    """Run a prompt and walk back from a logit difference.

    Args:
        model: Any model of the protocol, with its means.
        tokens: The prompt.
        answer: Token id.
        rival: Token id.
        rules: What is held.
    """
    network, zeros, values = model.network, {}, {}

    def taken(key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            values[key] = value.detach()[0]
            zeros[key] = torch.zeros_like(value, requires_grad=True)
            bar.update(len(values))
            return value + zeros[key]

        return hook

    with ExitStack() as stack:
        stack.enter_context(held_rules(network, rules))
        hooks = {key: taken(key) for key in site_widths(network.config)}
        bar = stack.enter_context(progress("reading the prompt", len(hooks), "sites", shown=False))
        stack.enter_context(edit(network, hooks))
        stack.enter_context(torch.enable_grad())
        logits = network(torch.tensor([tokens]))[0, -1]
        difference = logits[answer] - logits[rival]
        difference.backward()  # type: ignore[no-untyped-call]
    units = {key: _gradient(part)[0] for key, part in zeros.items()}
    effects = {key: units[key] * (values[key] - model.means[key]) for key in units}
    for effect in effects.values():
        effect[: network.spared] = 0
    return Attribution(tokens, values, units, effects, logits.detach(), float(difference.detach()))


def _gradient(part: Tensor) -> Tensor:
    return torch.zeros_like(part) if part.grad is None else part.grad


Node = tuple[str, int]
"""Site key and channel, at every token that is not spared."""


@torch.inference_mode()
def ablated(
    model: Model, tokens: tuple[int, ...], answer: int, rival: int, nodes: Sequence[Node]
) -> Float[Tensor, " unit"]:
    """What each node takes away when it alone is at its mean at every token: measured, nats."""
    network = model.network
    whole = network(torch.tensor([tokens]), at=torch.tensor([len(tokens) - 1]))[0]
    before, found = whole[answer] - whole[rival], []
    for start in range(0, len(nodes), BATCH):
        part = nodes[start : start + BATCH]
        rows: dict[str, list[tuple[int, int]]] = {}
        for row, (key, channel) in enumerate(part):
            rows.setdefault(key, []).append((row, channel))
        hooks = {key: _at_mean(model, key, places) for key, places in rows.items()}
        last = torch.full((len(part),), len(tokens) - 1)
        with edit(network, hooks):
            logits = network(torch.tensor([tokens] * len(part)), at=last)
        found.append(before - (logits[:, answer] - logits[:, rival]))
    return torch.cat(found)


def _at_mean(model: Model, key: str, places: Sequence[tuple[int, int]]) -> SiteHook:
    spared, mean = model.network.spared, model.means[key]

    def hook(value: Tensor) -> Tensor:
        value = value.clone()
        for row, channel in places:
            begin = spared if value.shape[1] > 1 else 0  # the last block may keep one token
            value[row, begin:, channel] = mean[channel]
        return value

    return hook


@dataclass(frozen=True)
class Check:
    """How well effects that were predicted are those that were measured, over random nodes."""

    nodes: int
    rules: tuple[Rule, ...]
    correlation: float
    interval: tuple[float, float]
    error: float
    """Root mean square of predicted less measured, as a share of that of what is measured."""


def check(
    model: Model,
    tokens: tuple[int, ...],
    answer: int,
    rival: int,
    count: int,
    *,
    sets: Sequence[Sequence[Rule]] = (DEFAULT, RULES),
    seed: int = 0,
) -> tuple[Check, ...]:
    """Ablate random nodes of all sites, and compare with what each set of rules predicts.

    Args:
        model: Any model of the protocol.
        tokens: The prompt.
        answer: Token id.
        rival: Token id.
        count: Nodes.
        sets: Of rules.
        seed: Draws the nodes, and the intervals.
    """
    dice = np.random.default_rng(seed)
    widths = site_widths(model.network.config)
    places = [(key, channel) for key, width in widths.items() for channel in range(width)]
    chosen = dice.choice(len(places), size=min(count, len(places)), replace=False)
    nodes = [places[at] for at in chosen]
    measured = ablated(model, tokens, answer, rival, nodes).double()
    draws = torch.from_numpy(dice.integers(len(nodes), size=(RESAMPLES, len(nodes))))
    found = []
    for rules in sets:
        effects = attribute(model, tokens, answer, rival, rules).effects
        predicted = torch.stack([effects[key][:, c].sum() for key, c in nodes]).double()
        samples = correlations(predicted[draws].numpy(), measured[draws].numpy())
        error = (predicted - measured).square().mean() / measured.square().mean()
        r = correlation(predicted, measured)
        found.append(Check(len(nodes), tuple(rules), r, interval(samples), float(error.sqrt())))
    return tuple(found)

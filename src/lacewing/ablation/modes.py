"""Running a circuit, or the model without it, in the ablation modes that the tests ask for.

mean, zero   what is ablated has its mean over the pretraining text, or zero
resample     it has the values of a random prompt of another pair, of either answer: a donor of
             the same answer would carry the answer along
frozen       mean, with every norm dividing by what it divides by in the full model: ablation
             shrinks the residual stream, and a norm would make what is left louder
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module

from lacewing.ablation.donors import donated, resampling
from lacewing.ablation.editor import cut_model
from lacewing.ablation.live_maps import ablating, unwanted_left_out
from lacewing.ablation.masks import Masks, masks_of
from lacewing.ablation.prefix_run import whole_batches
from lacewing.ablation.prefixes import in_pieces, recorded_at_once
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.errors import DataError
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network, Norm
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts

AblationMode = Literal["mean", "zero", "resample", "frozen"]
Hook = Callable[[Module, tuple[Tensor, ...], Tensor], Tensor | None]
"""What torch calls after a module."""


def alone(
    model: Model, circuit: Circuit, prompts: Prompts, mode: AblationMode, seed: int
) -> Float[Tensor, "sequence vocab"]:
    """Logits of the circuit with everything outside ablated, after its calibration."""
    cut = cut_model(model, circuit, "zero" if mode == "zero" else "mean")
    masks = masks_of(model.network, circuit.nodes)
    logits = ablated(cut, prompts, masks, mode, seed, model.network)
    return calibrated(logits, circuit.calibration)


def without(
    model: Model, nodes: Nodes, prompts: Prompts, mode: AblationMode, seed: int
) -> Float[Tensor, "sequence vocab"]:
    """Logits of the full model with some nodes ablated."""
    masks = masks_of(model.network, nodes, complement=True)
    return ablated(model, prompts, masks, mode, seed, model.network)


def only(
    model: Model, nodes: Nodes, prompts: Prompts, mode: AblationMode, seed: int
) -> Float[Tensor, "sequence vocab"]:
    """Logits with all nodes ablated but some: a random circuit, say."""
    return ablated(model, prompts, masks_of(model.network, nodes), mode, seed, model.network)


def ablated(
    model: Model, prompts: Prompts, masks: Masks, mode: AblationMode, seed: int, full: Network
) -> Float[Tensor, "sequence vocab"]:
    """Logits at the answer position with all unmasked nodes ablated in one of the modes.

    Args:
        model: The model, or a circuit's copy of it with edges cut.
        prompts: What to run.
        masks: Nodes that run freely.
        mode: See the head of this file.
        seed: Draws the donors of `resample`.
        full: The model as it was trained, whose norms `frozen` borrows.
    """
    return ablated_together(model, prompts, [Running(model.network, masks)], mode, seed, full)[0]


@dataclass(frozen=True)
class Running:
    """What runs: some nodes of a model, or of a circuit's copy of it with edges cut."""

    network: Network
    masks: Masks


def ablated_together(
    model: Model,
    prompts: Prompts,
    running: Sequence[Running],
    mode: AblationMode,
    seed: int,
    full: Network,
) -> list[Float[Tensor, "sequence vocab"]]:
    """The same of several circuits: what they share, donors' values or norms, is found once.

    Args:
        model: The model.
        prompts: What to run.
        running: The circuits.
        mode: See the head of this file.
        seed: Draws the donors of `resample`, the same ones for all.
        full: The model as it was trained, whose norms `frozen` borrows.
    """
    if mode == "resample":
        return interchanged(prompts, some_donors(prompts, seed), running)
    if mode == "frozen":
        return _frozen_logits(model, prompts, running, full)
    models = [dataclasses.replace(model, network=one.network) for one in running]
    pairs = zip(models, running, strict=True)
    return [ablated_logits(own, prompts, one.masks, mode) for own, one in pairs]


@torch.no_grad()
def interchanged(
    prompts: Prompts, donors: Int64[Tensor, " sequence"], running: Sequence[Running]
) -> list[Float[Tensor, "sequence vocab"]]:
    """Logits of each when every unmasked node has its value in another sequence of the prompts.

    Args:
        prompts: What to run.
        donors: For every sequence the index of the one whose values are taken, aligned from the
            last token backwards.
        running: What runs; values are taken from the same network.
    """
    found: list[list[Tensor]] = [[] for _ in running]
    tokens = prompts.tokens.shape[1]
    most = min((recorded_at_once(one.network, tokens) for one in running), default=1)
    for rows in in_pieces(len(prompts), most):
        piece, giver = prompts.take(rows), donors[2 * rows.start : 2 * rows.stop]
        given = sequences(prompts, giver)
        for network, places in _by_network(running):
            values = donated(network, piece, given, site_widths(network.config))
            for place in places:
                masks = running[place].masks
                with unwanted_left_out(network, masks), ablate(network, resampling(masks, values)):
                    found[place].append(network(piece.tokens, at=piece.last))
    return [torch.cat(pieces) for pieces in found]


def _by_network(running: Sequence[Running]) -> list[tuple[Network, list[int]]]:
    """The networks, each once, with the places of what runs in them."""
    found: dict[int, tuple[Network, list[int]]] = {}
    for place, one in enumerate(running):
        found.setdefault(id(one.network), (one.network, []))[1].append(place)
    return list(found.values())


def partners(prompts: Prompts) -> Int64[Tensor, " sequence"]:
    """For every sequence the other member of its pair."""
    return torch.arange(2 * len(prompts)).view(-1, 2).flip(1).flatten()


def some_donors(prompts: Prompts, seed: int) -> Int64[Tensor, " sequence"]:
    """For every sequence a random one of another pair, of either answer.

    Raises:
        DataError: there is no other pair.
    """
    pairs = len(prompts)
    if pairs < 2:
        raise DataError("resampling takes values of another pair, but there is only one: add pairs")
    generator = np.random.default_rng(seed)
    own = np.arange(2 * pairs) // 2
    other = (own + generator.integers(1, pairs, 2 * pairs)) % pairs
    return torch.from_numpy(2 * other + generator.integers(0, 2, 2 * pairs))


@contextmanager
def measured_norms(network: Network) -> Iterator[dict[str, Tensor]]:
    """Collect what every norm multiplies by, [batch token 1], while the block runs."""
    scales: dict[str, Tensor] = {}

    def keep(name: str, norm: Norm) -> Hook:
        def hook(module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            scales[name] = norm.scale(inputs[0])

        return hook

    norms = network.norms()
    with _on_norms(norms, {name: keep(name, norm) for name, norm in norms.items()}):
        yield scales


@contextmanager
def frozen_norms(network: Network, scales: Mapping[str, Tensor]) -> Iterator[None]:
    """Make every norm multiply by given scales instead of its own, for the length of the block."""

    def use(norm: Norm, scale: Tensor) -> Hook:
        def hook(module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return norm.apply(inputs[0], scale)

        return hook

    norms = network.norms()
    with _on_norms(norms, {name: use(norms[name], scale) for name, scale in scales.items()}):
        yield


@torch.no_grad()
def _frozen_logits(
    model: Model, prompts: Prompts, running: Sequence[Running], full: Network
) -> list[Tensor]:
    found: list[list[Tensor]] = [[] for _ in running]
    for batch in whole_batches(full, prompts):
        with measured_norms(full) as scales:
            batch.logits()
        for one, pieces in zip(running, found, strict=True):
            cut = dataclasses.replace(batch, network=one.network)
            with (
                frozen_norms(one.network, scales),
                ablating(one.network, one.masks, model.means),
            ):
                pieces.append(cut.logits())
    return [torch.cat(pieces) for pieces in found]


@contextmanager
def _on_norms(norms: Mapping[str, Norm], set_: Mapping[str, Hook]) -> Iterator[None]:
    # Before other hooks: where a norm's output is a site, edits act on what is frozen.
    handles = [
        norms[name].module.register_forward_hook(hook, prepend=True) for name, hook in set_.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def sequences(prompts: Prompts, rows: Tensor | Sequence[int]) -> Prompts:
    """Some sequences of the prompts as donors; what their answers are does not matter."""
    last = prompts.last[rows]
    return Prompts(
        tokens=prompts.tokens[rows, : int(last.max()) + 1],
        last=last,
        answer=prompts.answer[rows],
        other=prompts.other[rows],
        pairs=(),
    )

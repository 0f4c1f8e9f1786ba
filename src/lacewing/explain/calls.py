"""All that explaining asks of a model. Nothing else in this room touches one.

    quickly(models)                             a block in which the rest is fast
    activations(model, keys, tokens)            what nodes do
    answers(model, prompts, edits)              what the model says when nodes are changed
    randomised(model, seed)                     the same shape with shuffled weights: a control

A node's value is its site's, after AbsTopK where that acts. Models of others put what they need at
a first token that says nothing (`Network.spared`): it is put before every sequence here and its
values are left out, so that the text need not know of it.
"""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.model.hooks import edit, record
from lacewing.model.layers import sparse_products
from lacewing.model.sites import FINAL_SITE, has_latents, site_widths
from lacewing.model.store import Model, model_id
from lacewing.model.transformer import SiteHook, pick, run_hooks
from lacewing.model.weights import WRITERS, writer

Edits = Mapping[str, SiteHook]
"""For each site key a function from its value [batch token channel] to the value used instead."""


def widths(model: Model) -> dict[str, int]:
    """Channels of every site key, from input to output."""
    return site_widths(model.network.config)


def context(model: Model) -> int:
    """The longest sequence of text the model takes, in tokens."""
    return model.network.config.context - model.network.spared


@contextmanager
def quickly(*models: Model) -> Iterator[None]:
    """Products through the nonzeros of some models, found once; their weights must stay."""
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(sparse_products(model.network))
        yield


def begun(model: Model, tokens: Int[Tensor, "batch token"]) -> Int[Tensor, "batch _"]:
    """Sequences with the tokens before them that the model spares, where it spares any."""
    spared = model.network.spared
    if not spared:
        return tokens
    first = torch.tensor(model.tokenizer.encode("")[:spared]).expand(len(tokens), -1)
    return torch.cat([first, tokens], dim=1)


class _Enough(Exception):  # noqa: N818  it is no error
    """All that was wanted of a pass is there."""


@torch.inference_mode()
def activations(
    model: Model, keys: Iterable[str], tokens: Int[Tensor, "batch token"]
) -> dict[str, Float[Tensor, "batch token channel"]]:
    """The values at some sites for some sequences, padded on the right."""
    keys = list(keys)
    wanted, spared = set(keys), model.network.spared
    last = [key for key in widths(model) if key in wanted][-1]

    def stop(value: Tensor) -> Tensor:
        raise _Enough

    network, rows = model.network, begun(model, tokens)
    # Recording comes first, so that the last site is seen before the pass ends there.
    with record(network, keys) as seen, edit(network, {last: stop}), sparse_products(network):
        with suppress(_Enough):
            network(rows)
        return {key: seen[key][:, spared:].float() for key in keys}


@torch.inference_mode()
def answers(
    model: Model,
    tokens: Int[Tensor, "batch token"],
    last: Int[Tensor, " batch"],
    edits: Edits | None = None,
) -> Float[Tensor, "batch vocab"]:
    """Logits at the last token of every sequence, with sites changed on the way.

    The whole sequence runs through every layer, so that an edit sees the same token axis at each
    site.
    """
    if model.is_open:
        with edit(model.network, edits or {}), sparse_products(model.network):
            logits = model.network(tokens)
        return logits[torch.arange(len(last)), last].float()
    network = model.ours
    x, positions = network.embedded(tokens), network.normed_positions(tokens.shape[1])
    with sparse_products(network):
        with edit(network, edits or {}):
            for block in network.blocks:
                x = block(x, positions, None)
            x = run_hooks(network.hooks, FINAL_SITE, x)
        # Its edits are done, so that the vocabulary is asked at one token of each sequence.
        return network.answered(pick(x, last), pick(tokens, last)).squeeze(1).float()


def randomised(model: Model, seed: int) -> Model:
    """The model with the entries of every matrix shuffled: its densities and sizes, no learning."""
    network = copy.deepcopy(model.network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                order = torch.randperm(weight.numel(), generator=generator)
                weight.copy_(weight.flatten()[order].view_as(weight))
    ids = model_id(network, model.means, model.tokenizer)
    return dataclasses.replace(
        model, network=network, id=ids, source=f"{model.source} shuffled {seed}"
    )


def incoming(model: Model, key: str, channel: int) -> list[tuple[str, float]]:
    """The nodes that write a node, with their weights, the largest first.

    A node that reads the residual stream is written by the same channel of the outputs before it.
    In models of others every node writes every other, so what is written there has none.
    """
    layer, _, site = key.partition(".")
    if has_latents(model.network.config):
        return []
    if site in WRITERS:
        if model.is_open:
            return []
        row = writer(model.ours, key)[0][channel]
        order = row.abs().argsort(descending=True)[: int((row != 0).sum())]
        return [(f"{layer}.{WRITERS[site].reads}.{int(c)}", float(row[c])) for c in order]
    before = model.network.config.n_layer if not site else int(layer)
    outputs = [f"{n}.{out}" for n in range(before) for out in ("attn_out", "mlp_out")]
    outputs += [f"{layer}.attn_out"] if site == "mlp_in" else []
    return [(f"{key}.{channel}", 1.0) for key in outputs if channel < widths(model)[key]]


def embedding(model: Model, key: str, channel: int) -> Float[Tensor, " vocab"] | None:
    """What every token puts into the residual channel that a node reads; none for other nodes."""
    site = key.rpartition(".")[2]
    reads = site in ("attn_in", "mlp_in", "resid_final")
    if has_latents(model.network.config):
        return None
    if not reads or channel >= model.network.config.d_model:
        return None
    return model.network.embedding()[:, channel].detach().float()

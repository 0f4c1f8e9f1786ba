"""What tests of circuits of latents share: a model, autoencoders of it, a circuit of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from opened import pairs

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.model.hooks import record
from lacewing.model.store import Model, load
from lacewing.sae.config import SaeConfig
from lacewing.sae.train import train
from lacewing.tasks.batch import encode
from lacewing.tasks.pair import Pair

SITES = ("0.attn_in", "0.mlp_out", "resid_final")
PER_SITE = 12
"""Latents kept at each, those that say most of the prompts."""
CONFIG = SaeConfig(tokens=8192, batch=8, expansion=3, k=16, held_out=256)


def served(
    root: Path, source: str | None = None, sites: tuple[str, ...] = SITES
) -> tuple[Path, Model, Circuit]:
    """A folder to serve: a model (the micro one, else another's), its autoencoders, a circuit."""
    if source is None:
        micro.write_run(micro.micro(dense=True), root / "dense")
    text = micro.write_letters(root / "text")
    below = load(source or root / "dense")
    train(below, sites, root / "saes", CONFIG, corpus=str(text), quiet=True)
    model = load(f"sae:{root / 'saes'}")
    ours = source is None
    circuit = of_latents(model, micro.prompts(24, 7, model.tokenizer).pairs if ours else pairs())
    circuit.save(root / "circuits" / "latents")
    return root, model, circuit


def of_latents(model: Model, asked: Sequence[Pair]) -> Circuit:
    """The latents that are largest on some prompts, and the planted channels of what they miss."""
    prompts = encode(asked, model.tokenizer, model.network.config.context)
    with record(model.network) as seen:
        model.network(prompts.tokens)
    nodes = dict[str, list[int]]()
    counts = model.network.counts  # type: ignore[attr-defined]
    for key, latents in counts.items():
        size = seen[key][..., :latents].abs().mean((0, 1))
        missed = torch.tensor([c + latents for c in micro.PLANTED.get(key, [0])])
        nodes[key] = torch.cat([size.topk(PER_SITE).indices, missed]).unique().tolist()
    return micro.make(
        model,
        nodes,
        answers=tuple(sorted(set(prompts.answer.tolist()))),
        config=PruneConfig(target_loss=0.15),
        losses={"full": 0.03, "circuit": 0.1},
        pairs=tuple(asked),
    )

"""Fitting a reference: what a circuit's places are usually like in the text it will be used on.

The text is dealt out in three parts, package by package (document by document where it has few),
so that none is judged by itself, nor by another of its package:

    first    where the middle of every signal is, and how far it spreads; how frequent tokens are
    second   how far out places are usually: the ranks behind every score
    third    the level of every detector: what the mean of its scores is at most
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.data.corpus import Corpus
from lacewing.errors import DataError
from lacewing.model.layers import sparse_products
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.watch.dealing import TOKENS, corpus_pieces, parts, texts_of
from lacewing.watch.detectors import LOOK, RUN_LENGTH
from lacewing.watch.levels import calibrated_levels
from lacewing.watch.measure import Measured, Prepared, Watching, joined
from lacewing.watch.probe import ask, probe_prompts
from lacewing.watch.reference import (
    CircuitFacts,
    Facts,
    Reference,
    circuit_id,
    names,
    sources,
    weights,
)
from lacewing.watch.scores import Usual, two_sided
from lacewing.watch.stream import Cutter, Piece, Windows
from lacewing.watch.wiring import wiring

FEWEST = 20
"""Places of a task that each part has to have, and looks."""
SAMPLE = 2000
"""Places that distances are kept of, at most."""


@dataclass
class _Parts:
    """What the passes over the three parts have found."""

    looks: tuple[list[list[Measured]], ...] = field(default_factory=lambda: ([], [], []))
    windows: tuple[list[Windows], ...] = field(default_factory=lambda: ([], [], []))
    squares: dict[str, Tensor] = field(default_factory=dict)
    tokens: int = 0


def fit(
    model: Model,
    circuits: Sequence[Circuit],
    text: Iterable[Piece] | None = None,
    *,
    told: str = "",
    tokens: int = TOKENS,
    run_length: int = RUN_LENGTH,
    quiet: bool = False,
) -> Reference:
    """Fit a reference.

    Args:
        model: The circuits' model.
        circuits: What will be watched.
        text: What it will be used on, clean; by default the model's own validation text.
        told: What the text is called.
        tokens: Tokens of it that are read, at most.
        run_length: Mean tokens to a false alarm that is promised.
        quiet: Report no progress.

    Raises:
        MismatchError: a circuit is of another model.
        DataError: the text is too short, or a circuit's task is nowhere decided in it.

    Example:
        >>> model, circuit = load("builtin:taught-tiny"), Circuit.load("runs/indent")
        >>> known = fit(model, [circuit], told="files", tokens=90_000, quiet=True)
        >>> known.facts.circuits[0].task
        'indent_for'
    """
    for circuit in circuits:
        circuit.check(model)
    watching = Watching(model, circuits)
    read = _read(watching, text or corpus_pieces(Corpus.parse(model.corpus)), tokens, quiet)
    told = told or model.corpus
    if min(map(len, read.looks)) < FEWEST:
        raise DataError(
            f"{told} has {read.tokens:,} tokens, in too few documents to deal out in three parts: "
            f"a reference needs {3 * FEWEST * LOOK:,} at least, and more where files are long"
        )
    usual = [_usual(read, number, one, told) for number, one in enumerate(watching.prepared)]
    surprise = _surprise(read.windows[0], model.network.config.vocab_size)
    windows = torch.cat([window_surprise(look, surprise) for look in read.windows[1]])
    windows = windows.sort().values
    rows = []
    for look, text_of_it in zip(read.looks[2], read.windows[2], strict=True):
        parts = [one.look(seen)[0] for one, seen in zip(usual, look, strict=True)]
        rows.append(np.concatenate([*parts, text_signal(text_of_it, surprise, windows)]))
    weight = weights(names(circuits, model.network.config.d_head))
    levels, slack, measured = calibrated_levels(np.stack(rows), weight, run_length)
    facts = Facts(
        model_id=model.id,
        model_source=model.source,
        tokenizer_id=model.tokenizer.id,
        text=told,
        tokens=read.tokens,
        look=LOOK,
        looks=len(read.looks[1]),
        windows=len(windows),
        run_length=run_length,
        slack=slack,
        measured=measured,
        circuits=tuple(
            _facts(read, number, circuit, usual[number]) for number, circuit in enumerate(circuits)
        ),
    )
    return Reference(
        facts=facts,
        usual=tuple(usual),
        probes=tuple(
            ask(model, one, probe_prompts(model, one.circuit)) for one in watching.prepared
        ),
        wirings=tuple(wiring(model.ours, circuit) for circuit in circuits),
        sizes={key: (total / read.tokens).sqrt() for key, total in read.squares.items()},
        surprise=surprise,
        windows=windows,
        levels=levels,
    )


def _usual(read: _Parts, number: int, one: Prepared, told: str) -> Usual:
    """What one circuit's places are like."""
    parts = [joined([look[number] for look in part]) for part in read.looks[:2]]
    if min(len(part.places) for part in parts) < FEWEST:
        rule = one.rule.told(one.tokenizer)
        raise DataError(
            f"the task {one.circuit.task} is decided at {parts[0].found + parts[1].found} places "
            f"in two thirds of the {read.tokens:,} tokens of {told}, and {2 * FEWEST} are needed "
            f"({rule}): fit on other or more text"
        )
    rates = torch.tensor([float(look[number].found) for look in read.looks[1]])
    return Usual.of(parts[0], parts[1].thinned(SAMPLE), rates)


def _facts(read: _Parts, number: int, circuit: Circuit, usual: Usual) -> CircuitFacts:
    """What is said of one circuit."""
    every = joined([look[number] for part in read.looks for look in part])
    count = sum(look.count for part in read.windows for look in part)
    return CircuitFacts(
        task=circuit.task,
        id=circuit_id(circuit),
        places=len(usual.carried),
        near=usual.near.shape[1],
        per_thousand=1000 * every.found / max(count, 1),
        agrees=every.agreement,
        carries=every.carried,
    )


def _read(watching: Watching, text: Iterable[Piece], most: int, quiet: bool) -> _Parts:
    """Run the model over the text, dealt out in three parts."""
    found, model = _Parts(), watching.model
    widths = site_widths(model.network.config)
    sites = sources(model)
    found.squares = {key: torch.zeros(widths[key]) for key in sites}

    def add(logits: Tensor, seen: Mapping[str, Tensor], lengths: Tensor) -> None:
        inside = (torch.arange(logits.shape[1]) < lengths[:, None]).flatten().float()
        for key in sites:
            found.squares[key] += inside @ seen[key].flatten(0, 1).square()

    cutters = [Cutter(model.network.config.context) for _ in range(3)]
    texts = texts_of(model.tokenizer, text, most)
    with (
        progress("fit reference", most, "tokens", not quiet) as bar,
        sparse_products(model.network),
    ):
        for one, part in zip(texts, parts([(t.document, len(t.ids)) for t in texts]), strict=True):
            for look in cutters[part].add(one.ids, one.ends):
                found.windows[part].append(look)
                found.looks[part].append(
                    watching.look(look.tokens, look.lengths, also=add, sites=sites)
                )
            found.tokens += len(one.ids)
            bar.update(found.tokens)
    return found


def _surprise(looks: Sequence[Windows], vocab: int) -> Float[Tensor, " vocab"]:
    """Minus the logarithm of how frequent every token is."""
    counts = torch.ones(vocab)
    for look in looks:
        ids = torch.tensor([token for row in look.each for token in row])
        counts += torch.bincount(ids, minlength=vocab)
    return -(counts / counts.sum()).log()


def window_surprise(look: Windows, surprise: Float[Tensor, " vocab"]) -> Float[Tensor, " batch"]:
    """Mean surprise of every window that is not much shorter than the others."""
    inside = torch.arange(look.tokens.shape[1]) < look.lengths[:, None]
    mean = (surprise[look.tokens] * inside).sum(1) / look.lengths
    return mean[2 * look.lengths >= look.tokens.shape[1]]


def text_signal(
    look: Windows, surprise: Float[Tensor, " vocab"], known: Float[Tensor, " sample"]
) -> Float[np.ndarray, " unit"]:
    """How unusual the text of one look is, whatever the model makes of it."""
    scores = two_sided(window_surprise(look, surprise), known)
    return scores.mean()[None].double().numpy()

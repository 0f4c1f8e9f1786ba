"""Fitting a reference: what a circuit's places are usually like in the text it will be used on.

The text is dealt out in three parts, document by document, so that none is judged by itself:

    first    where the middle of every signal is, and how far it spreads; how frequent tokens are
    second   how far out places are usually: the ranks behind every score
    third    the level of every detector: what the mean of its scores is at most

The levels have to hold given the past, and text is no row of independent looks: one file quotes
otherwise than the next, and the next hundred may be of the same package. So a level is the mean
over the third part, raised by a number of spreads of whole stretches; that number is the smallest
with which detectors that stay in stretches of the third part, drawn again and again, keep CAREFUL
times the run length that is promised.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.data.corpus import Corpus, is_built
from lacewing.errors import DataError
from lacewing.model.layers import sparse_products
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.watch.detectors import BETS, LOOK, RUN_LENGTH
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
from lacewing.watch.stream import Cutter, Piece, Windows, pieces
from lacewing.watch.wiring import wiring

TOKENS = 300_000
"""Tokens that a reference is fitted on, at most."""
FEWEST = 20
"""Places of a task that each part has to have, and looks."""
SAMPLE = 2000
"""Places that distances are kept of, at most."""
CHAPTER = 4096
"""Tokens of one long document after which the next part is dealt to."""
SIGNS = 4
"""Signs of text for each token that is wanted; some are left."""
OF_ONE = 40_000
"""Signs that are taken of one document of a corpus, so that none fills a part."""
STRETCH, LASTS = 8, 8
"""Looks that hang together, about what one file is long; and how often a drawn stretch is read
again, as if the text stayed with one package for that long."""
CAREFUL = 2.0
"""Times the promise, that has to be kept on the third part."""
SLACKS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Spreads that levels may be raised by."""
LEAST, HIGHEST = 0.01, 0.9
"""Levels are at least and at most this: a signal that never showed may still show once."""


@dataclass
class _Parts:
    """What the passes over the three parts have found."""

    looks: tuple[list[list[Measured]], ...] = field(default_factory=lambda: ([], [], []))
    windows: tuple[list[Windows], ...] = field(default_factory=lambda: ([], [], []))
    squares: dict[str, Tensor] = field(default_factory=dict)
    tokens: int = 0


def corpus_pieces(corpus: Corpus, seed: int = 0) -> Iterator[Piece]:
    """The beginnings of some of a corpus's documents that no model was trained on, in their order.

    Files of one package stay together, so that a stretch of them is as odd as a package can be.
    """
    documents = [one for one in corpus.documents() if one.split != "train"]
    order, signs, chosen = np.random.default_rng(seed).permutation(len(documents)), 0, []
    for index in order.tolist():
        chosen.append(index)
        signs += len(documents[index].text[:OF_ONE])
        if signs > SIGNS * TOKENS:
            break
    for number, index in enumerate(sorted(chosen)):
        one = documents[index]
        yield Piece(one.text[:OF_ONE], one.path, True, (number + 1) / len(chosen))


def text_of(spec: str) -> Iterator[Piece]:
    """Text to fit on: a file, a folder or standard input as `stream.pieces`, or a corpus.

    Raises:
        DataError: there is none.
    """
    if spec == "-" or (Path(spec).exists() and not is_built(Path(spec))):
        return pieces(spec)
    return corpus_pieces(Corpus.parse(spec))


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
    part, inside, dealt = 0, 0, [0, 0, 0]
    with (
        progress("fit reference", most, "tokens", not quiet) as bar,
        sparse_products(model.network),
    ):
        for piece in text:
            ids = model.tokenizer.encode(piece.text)[: max(0, most - found.tokens)]
            for look in cutters[part].add(ids, piece.ends):
                found.windows[part].append(look)
                found.looks[part].append(
                    watching.look(look.tokens, look.lengths, also=add, sites=sites)
                )
            found.tokens, inside = found.tokens + len(ids), inside + len(ids)
            bar.update(found.tokens)
            if piece.ends or inside >= CHAPTER:
                dealt[part], inside = dealt[part] + inside, 0
                part = dealt.index(min(dealt))  # the parts stay about equally long
            if found.tokens >= most:
                break
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


def calibrated_levels(
    x: Float[np.ndarray, "sample unit"],
    weight: Float[np.ndarray, " unit"],
    run_length: int,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " unit"], float, float]:
    """The levels of all signals, with which clean text keeps the promise.

    Args:
        x: Every signal of every look of the third part, in the order of the text.
        weight: What every signal counts.
        run_length: The promise, in tokens.
        seed: Draws stretches.

    Returns:
        Levels, the slack behind them, and the mean tokens to an alarm that was measured.
    """
    stretches = max(1, len(x) // STRETCH)
    cut = x[: stretches * STRETCH].reshape(stretches, -1, x.shape[1])
    seen = ~np.isnan(x)
    count = seen.sum(0)
    mean = np.where(seen, x, 0).sum(0) / np.maximum(count, 1)
    of_each = (~np.isnan(cut)).sum(1)
    sums = np.where(np.isnan(cut), 0, cut).sum(1)
    means = np.where(of_each > 0, sums / np.maximum(of_each, 1), mean)
    spread = means.std(0) if stretches > 1 else np.zeros(x.shape[1])
    dice = np.random.default_rng(seed)
    drawn = dice.integers(stretches, size=(RUNS, -(-LENGTH // (LASTS * cut.shape[1]))))
    drawn = drawn.repeat(LASTS, axis=1)
    levels, measured = mean, 0.0
    for slack in SLACKS:
        # One place more that is as odd as can be: what was never seen is not impossible.
        levels = (mean * count + 1) / (count + 1) + slack * spread
        levels = levels.clip(LEAST, HIGHEST)
        measured = _run_length(cut, drawn, levels, weight, run_length)
        if measured >= CAREFUL * run_length:
            return levels, slack, measured
    return levels, SLACKS[-1], measured


RUNS, LENGTH = 48, 600
"""Runs through drawn stretches, and looks of each."""


def _run_length(
    stretches: np.ndarray,
    drawn: np.ndarray,
    levels: np.ndarray,
    weight: np.ndarray,
    run_length: int,
) -> float:
    """Mean tokens to an alarm in runs through stretches of looks, as `Detectors` would raise it."""
    bets = np.array(BETS) / levels[:, None]
    filled = np.where(np.isnan(stretches), levels, stretches)
    gained = np.log1p(bets * (filled - levels)[..., None])
    threshold, alarms = max(1.0, run_length / LOOK), 0
    sums = np.full((len(drawn), *gained.shape[2:]), -np.inf)
    for column in drawn.T:
        for step in range(gained.shape[1]):
            sums = np.logaddexp(0.0, sums) + gained[column, step]
            average = (np.exp(np.minimum(sums, 50.0)).mean(2) * weight).sum(1)
            over = average >= threshold
            alarms += int(over.sum())
            sums[over] = -np.inf
    looks = len(drawn) * drawn.shape[1] * gained.shape[1]
    return looks * LOOK / max(alarms, 1)

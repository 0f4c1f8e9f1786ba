"""Everything but the mistake: what a repair is measured on, before and after.

Text is cut into windows, dealt in turns to three parts: one the curvature is measured on, one
edits are chosen on, one the report is of. The prompts of the tasks a model has learned are parted
the same way, by the files they come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lacewing.data import batches
from lacewing.data.corpus import Corpus
from lacewing.errors import DataError
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.model.transformer import Transformer
from lacewing.progress import progress
from lacewing.statistics import bootstrap, interval, wilson
from lacewing.tasks.batch import Prompts, prompts
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import LEARNED, is_right, two_answer_loss
from lacewing.trace.onwards import Kept, keep, onwards

PIECE = 32
BITS = 1 / np.log(2)


Ends = tuple[tuple[int, ...], int, int]
"""A prompt, its right answer and the wrong one, as tokens."""


@dataclass(frozen=True)
class Part:
    """Text and tasks, of one use, with what the model makes of them as it is."""

    text: Int[Tensor, "sequence token"]
    bytes: int
    """Of the predicted tokens."""
    tasks: Mapping[str, Prompts]

    def glance(self, windows: int) -> "Part":
        """The first windows of its text, without tasks; bits per byte are not meant to be read."""
        return Part(self.text[:windows], self.bytes, {})


@dataclass(frozen=True)
class Material:
    """What a model is measured on."""

    fit: Part
    choose: Part
    report: Part


def material(
    model: Model,
    corpus: str | None = None,
    *,
    tasks: Sequence[str] = (),
    tokens: int = 24_000,
    pairs: int = 32,
    seed: int = 0,
    quiet: bool = False,
) -> Material:
    """Text, and the prompts of the tasks that a model has learned.

    Args:
        model: The model.
        corpus: Where both come from; by default the model's.
        tasks: Names, or files of pairs; by default the paper's.
        tokens: Of text, at most, for all three parts.
        pairs: Of each task in the report; half of them in the other parts.
        seed: Which pairs.
        quiet: Report no progress.

    Raises:
        DataError: the corpus has no text long enough.
    """
    source, size = Corpus.parse(corpus or model.corpus), model.network.config.context
    ids: list[int] = []
    for document in source.documents("validation"):
        ids += [*model.tokenizer.encode(document.text), model.tokenizer.end_of_text]
    windows = batches.sequences(np.array(ids, dtype=np.int64), size, tokens)
    if len(windows) < 6:
        raise DataError(
            f"corpus {source.spec!r} has {len(windows)} windows of {size} tokens in its validation "
            "split: a repair needs at least 6 to be measured on; give more with --corpus"
        )
    lengths = torch.from_numpy(model.tokenizer.byte_lengths())
    found: tuple[dict[str, Prompts], ...] = ({}, {}, {})
    chosen = tuple(tasks) or names()
    with progress("tasks", len(chosen), "tasks", not quiet) as bar:
        for done, name in enumerate(chosen):
            sets = _learned(model, source, name, pairs, seed)
            for part, made in zip(found, sets, strict=False):
                part[get(name).name] = made
            bar.update(done + 1, name)
    parts = [windows[at::3] for at in range(3)]
    return Material(
        *(
            Part(text, int(lengths[text[:, 1:]].sum()), made)
            for text, made in zip(parts, found, strict=True)
        )
    )


def _learned(model: Model, source: Corpus, name: str, pairs: int, seed: int) -> tuple[Prompts, ...]:
    """Prompts of a task for each use; none where it is not learned, or has none."""
    longest, task = min(60, model.network.config.context), get(name)
    few = pairs // 2 or 1
    try:
        choose = prompts(task, source, model.tokenizer, "validation", few, longest, seed)
        if float(task_losses(model.ours, choose)[0].mean()) >= LEARNED:
            return ()
        fit = prompts(task, source, model.tokenizer, "train", few, longest, seed)
        return fit, choose, prompts(task, source, model.tokenizer, "test", pairs, longest, seed)
    except DataError:
        return ()


@torch.inference_mode()
def task_losses(
    network: Transformer, given: Prompts
) -> tuple[Float[Tensor, " sequence"], Float[Tensor, " sequence"]]:
    """Two-answer loss of every prompt in nats, and whether it is right."""
    return _scored([(network(part.tokens, at=part.last), part) for part in _pieces(given)])


def _pieces(given: Prompts) -> list[Prompts]:
    return [
        given.take(range(start, min(start + PIECE, len(given))))
        for start in range(0, len(given), PIECE)
    ]


def _scored(pieces: Sequence[tuple[Tensor, Prompts]]) -> tuple[Tensor, Tensor]:
    losses = [two_answer_loss(logits, part) for logits, part in pieces]
    return torch.cat(losses), torch.cat([is_right(logits, part).float() for logits, part in pieces])


@dataclass(frozen=True)
class Outputs:
    """What a network makes of a part."""

    chances: tuple[Tensor, ...]
    """Log-probabilities over the text, piece by piece."""
    tasks: Mapping[str, tuple[Float[Tensor, " sequence"], Float[Tensor, " sequence"]]]
    """Loss and rightness of every prompt."""


@dataclass(frozen=True)
class Yardstick:
    """A part, what the model makes of it, and where an edited model goes on from."""

    part: Part
    outputs: Outputs
    text: tuple[Kept, ...]
    tasks: Mapping[str, tuple[tuple[Prompts, Kept], ...]]

    def again(self, network: Transformer, first: int | None = None) -> Outputs:
        """What a network makes of it that differs from the model from some half on, or all over."""
        return _outputs(network, self.text, self.tasks, first)

    def damage(self, network: Transformer, first: int | None = None, seed: int = 0) -> "Damage":
        """How far such a network moved."""
        return damage(self.part, self.outputs, self.again(network, first), seed)


@torch.inference_mode()
def yardstick(network: Transformer, part: Part) -> Yardstick:
    """Measure a model as it is."""
    with sparse_products(network):
        text = tuple(keep(network, piece[:, :-1]) for piece in torch.split(part.text, PIECE))
        tasks = {
            name: tuple((piece, keep(network, piece.tokens, piece.last)) for piece in _pieces(made))
            for name, made in part.tasks.items()
        }
        return Yardstick(part, _outputs(network, text, tasks), text, tasks)


@torch.inference_mode()
def _outputs(
    network: Transformer,
    text: Sequence[Kept],
    tasks: Mapping[str, Sequence[tuple[Prompts, Kept]]],
    first: int | None = None,
) -> Outputs:
    with sparse_products(network):
        chances = tuple(onwards(network, one, first).log_softmax(2).flatten(0, 1) for one in text)
        found = {
            name: _scored([(onwards(network, kept, first), made) for made, kept in pieces])
            for name, pieces in tasks.items()
        }
    return Outputs(chances, found)


@dataclass(frozen=True)
class Damage:
    """How far everything else moved."""

    kl: float
    """Of the predictions of text, before to after: nats per token. What a damage is compared by."""
    kl_interval: tuple[float, float]
    bits_before: float
    """Bits per byte of the text."""
    bits_rise: float
    bits_interval: tuple[float, float]
    """Of the rise, over windows."""
    task_rise: float
    """Of the task loss, mean over tasks, nats."""
    task_interval: tuple[float, float]
    """Over prompts, each task counting alike."""
    tasks: Mapping[str, tuple[float, float]]
    """Loss of each task before and after."""
    broken: int
    """Prompts that were right, and are wrong now."""
    right: int
    """Prompts that were right."""
    broken_interval: tuple[float, float]
    """Of their share, Wilson."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def damage(part: Part, before: Outputs, after: Outputs, seed: int = 0) -> Damage:
    """Compare what a network made of a part with what it makes of it now."""
    kl, rise, was = [], [], 0.0
    length = part.text.shape[1] - 1
    for piece, old, new in zip(
        torch.split(part.text, PIECE), before.chances, after.chances, strict=True
    ):
        targets = piece[:, 1:].reshape(-1, 1)
        kl.append((old.exp() * (old - new)).sum(1).view(-1, length).mean(1))
        lost = (old - new).gather(1, targets)[:, 0]
        rise.append(lost.view(-1, length).mean(1))
        was -= float(old.gather(1, targets).double().sum())
    moved, rises = torch.cat(kl).double().numpy(), torch.cat(rise).double().numpy()
    per_byte = BITS * part.text[:, 1:].numel() / part.bytes
    low, high = bootstrap(rises, seed=seed)
    changes = [
        (after.tasks[name][0] - old).double().numpy() for name, (old, _) in before.tasks.items()
    ]
    broken = sum(
        int(((r == 1) & (after.tasks[n][1] == 0)).sum()) for n, (_, r) in before.tasks.items()
    )
    right = sum(int(r.sum()) for _, r in before.tasks.values())
    return Damage(
        kl=float(moved.mean()),
        kl_interval=bootstrap(moved, seed=seed),
        bits_before=was * BITS / part.bytes,
        bits_rise=float(rises.mean()) * per_byte,
        bits_interval=(low * per_byte, high * per_byte),
        task_rise=float(np.mean([c.mean() for c in changes])) if changes else 0.0,
        task_interval=_over_tasks(changes, seed),
        tasks={
            name: (float(old.mean()), float(after.tasks[name][0].mean()))
            for name, (old, _) in before.tasks.items()
        },
        broken=broken,
        right=right,
        broken_interval=wilson(broken, right),
    )


def _over_tasks(changes: Sequence[np.ndarray], seed: int) -> tuple[float, float]:
    """Interval of the mean over tasks, resampling the prompts of each."""
    if not changes:
        return 0.0, 0.0
    dice = np.random.default_rng(seed)
    means = [c[dice.integers(len(c), size=(1000, len(c)))].mean(1) for c in changes]
    return interval(np.mean(means, axis=0))


def padded(prompts: Sequence[Ends]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Prompts as one batch: tokens, places of the last of each, right and wrong answers."""
    width = max(len(tokens) for tokens, _, _ in prompts)
    rows = [[*tokens, *[0] * (width - len(tokens))] for tokens, _, _ in prompts]
    last = [len(tokens) - 1 for tokens, _, _ in prompts]
    right, wrong = ([one[at] for one in prompts] for at in (1, 2))
    return torch.tensor(rows), torch.tensor(last), torch.tensor(right), torch.tensor(wrong)


@torch.inference_mode()
def difference(network: Transformer, tokens: Sequence[int], answer: int, rival: int) -> float:
    """The logit of an answer less that of its rival, nats."""
    logits = network(torch.tensor([list(tokens)]))[0, -1].double()
    return float(logits[answer] - logits[rival])

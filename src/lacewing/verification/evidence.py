"""What a circuit is tested on: its saved test pairs, its task's other prompts, and natural text."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int64
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import SEEDS
from lacewing.circuit.natural_text import natural_text
from lacewing.circuit.prompts import PromptSets, prompt_sets
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts
from lacewing.tasks.registry import get, named
from lacewing.tasks.task import Task
from lacewing.verification.kept import Kept

FITTED_ON = 128
"""Validation pairs that calibrations are fitted on."""


@dataclass(frozen=True)
class Evidence:
    """Everything the tests of one circuit are run on."""

    test: Prompts
    """The saved test pairs, on which nothing was chosen."""
    sets: PromptSets
    """The task's prompts, made again with the circuit's configuration; no pair of `train` and
    `validation` is one of `test`."""
    text: Int64[Tensor, "sequence token"]
    """Natural text that the model was not trained on: windows of its context."""
    corpus: str
    """Where prompts and text come from, as `Corpus.parse` reads it."""
    seed: int
    """Seeds every draw and interval."""
    task: Task
    """What the circuit is for."""
    seeds: int = SEEDS
    """How many circuits of other seeds it is compared with."""
    kept: Kept | None = None
    """Where long tests keep what they have so far."""
    searches: Path | None = None
    """Where searches are kept, those of other suites too."""

    @property
    def fitted_on(self) -> Prompts:
        """Prompts for the calibration of an ablation that a circuit was not found under."""
        validation = self.sets.validation
        return validation.first(FITTED_ON)


def gather(
    model: Model,
    circuit: Circuit,
    test: Prompts,
    corpus: str | None = None,
    seed: int = 0,
    task: str | None = None,
) -> Evidence:
    """Make what a circuit is tested on.

    Args:
        model: The circuit's model.
        circuit: The circuit; its configuration says how many prompts there are, and how long.
        test: Its saved test pairs.
        corpus: Where prompts and text come from; by default the model's corpus.
        seed: Seeds the choice of text, and later every draw.
        task: The circuit's task, where it is a file of pairs; by default the one of its name.

    Raises:
        DataError: the task or its text is not there, or there is no validation text.
    """
    config, known = circuit.config, task_of(circuit, task)
    sets = prompt_sets(model, known, config, corpus)
    sets = dataclasses.replace(
        sets,
        train=_without(sets.train, test, "train"),
        validation=_without(sets.validation, test, "validation"),
        test=test,
    )
    spec = corpus or model.corpus
    return Evidence(test, sets, natural_text(model, spec, seed), spec, seed, known)


def task_of(circuit: Circuit, task: str | None = None) -> Task:
    """A circuit's task: the one of its name, or the file of pairs that is given.

    Raises:
        DataError: its name is not known, or the file cannot be read.
    """
    if task:
        return get(task)
    known = named(circuit.task)  # a circuit names no file: only the user does
    if known is None:
        raise DataError(
            f"the circuit's task {circuit.task!r} is none that is known by name: pass its file of "
            "pairs with --task, or run the short test alone with --quick"
        )
    return known


def _without(prompts: Prompts, test: Prompts, name: str) -> Prompts:
    """The pairs of a set that are no test pairs."""
    known = {(pair.clean, pair.corrupted) for pair in test.pairs}
    kept = [i for i, p in enumerate(prompts.pairs) if (p.clean, p.corrupted) not in known]
    if not kept:
        raise DataError(
            f"every {name} prompt is one of the circuit's test prompts: the text it was pruned on "
            "is not the text given; pass it with --corpus"
        )
    return prompts if len(kept) == len(prompts) else prompts.take(kept)

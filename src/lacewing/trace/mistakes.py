"""Where mistakes come from: prompts of a task that a model errs on, and what an attack found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.errors import ArtifactError, DataError
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts, prompts
from lacewing.tasks.registry import get
from lacewing.tasks.text import Part
from lacewing.trace.elsewhere import task_losses
from lacewing.trace.outcome import Kin

ATTACKS = "attacks.json"
"""What `lacewing attack` leaves in a circuit's folder."""


def of_task(model: Model, name: str, count: int, corpus: str | None = None) -> list[Kin]:
    """Test prompts of a task, both members of every pair.

    Args:
        model: Its tokenizer cuts them.
        name: Of the task, or a file of pairs.
        count: Pairs, at most.
        corpus: Where they come from; by default the model's.

    Raises:
        DataError: the task has none.
    """
    return one_by_one(_prompts(model, name, count, corpus))


def wrong(
    model: Model, name: str, count: int, corpus: str | None = None, split: Part = "test"
) -> tuple[list[Kin], list[Kin]]:
    """Prompts of a task that a model errs on, and the others."""
    made = _prompts(model, name, count, corpus, split)
    rows = list(zip(one_by_one(made), task_losses(model.ours, made)[1].tolist(), strict=True))
    return [kin for kin, right in rows if not right], [kin for kin, right in rows if right]


def _prompts(
    model: Model, name: str, count: int, corpus: str | None, split: Part = "test"
) -> Prompts:
    longest = min(60, model.network.config.context)
    source = Corpus.parse(corpus or model.corpus)
    return prompts(get(name), source, model.tokenizer, split, count, longest)


def one_by_one(made: Prompts) -> list[Kin]:
    """Both members of every pair, with the answer that is right and the one that is wrong."""
    return [
        kin
        for pair in made.pairs
        for kin in (
            Kin(pair.clean, pair.clean_answer, pair.corrupted_answer),
            Kin(pair.corrupted, pair.corrupted_answer, pair.clean_answer),
        )
    ]


@dataclass(frozen=True)
class _Hit:
    __pydantic_config__ = artifacts.LOOSE

    prompt: str
    right: str
    wrong: str
    hit: bool


@dataclass(frozen=True)
class _Attacks:
    __pydantic_config__ = artifacts.LOOSE

    task: str
    model_id: str
    attacks: Sequence[_Hit] = field(default=())


def of_attack(folder: Path) -> tuple[str, list[Kin]]:
    """The task of a circuit that was attacked, and the prompts that hit.

    Raises:
        ArtifactError: nothing was attacked there, or the file is damaged.
        DataError: no attack hit.
    """
    path = folder / ATTACKS
    if not path.is_file():
        raise ArtifactError(
            f"{folder} has no {ATTACKS}: run `lacewing attack --circuit {folder}` first"
        )
    found = artifacts.read(artifacts.own(folder, ATTACKS), _Attacks)
    hits = [Kin(a.prompt, a.right, a.wrong) for a in found.attacks if a.hit]
    if not hits:
        raise DataError(f"none of the {len(found.attacks)} attacks in {path} hit: nothing to mend")
    return found.task, hits

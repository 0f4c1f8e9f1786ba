"""The tasks there are: an example pair of each, or a model's loss and accuracy on them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.shards import tokenizer_for
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.model.registry import prefix_of
from lacewing.model.shipped import BUILTIN
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.tasks.batch import prompts
from lacewing.tasks.registry import get, names
from lacewing.tasks.scoring import evaluate
from lacewing.tasks.selection import pairs

TASKS = "tasks.json"
"""The file in a run's folder that says how well its model does them all."""


def list_tasks(
    model: Model | None,
    chosen: Sequence[str] = (),
    corpus: str | None = None,
    *,
    catalogue: str = "paper",
    evaluated: bool = False,
    count: int = 256,
    max_tokens: int = 64,
) -> dict[str, Any]:
    """Describe tasks, and score a model on them where asked to; then its folder keeps the scores.

    Args:
        model: Gives the tokenizer; without one, the corpus does.
        chosen: Names, or files of pairs; by default all tasks of the catalogue.
        corpus: Where prompts come from; by default the model's corpus.
        catalogue: The tasks listed where none are chosen: paper, everyday or english.
        evaluated: Whether to score the model.
        count: Test pairs per task.
        max_tokens: Longest prompt, in tokens.
    """
    text = Corpus.parse(corpus or (model.corpus if model else "standard_library"))
    tokenizer = model.tokenizer if model else tokenizer_for(text)
    wanted = tuple(chosen) or names(catalogue)
    rows = []
    with progress("tasks", len(wanted), "tasks") as bar:
        for done, name in enumerate(wanted):
            scored = model if evaluated else None
            rows.append(_row(name, text, tokenizer, scored, count, max_tokens))
            bar.update(done + 1, name)
    source = model.source if model else None
    result = {"tasks": rows, "model": source, "corpus": text.spec}
    if model and model.name:
        result["name"] = model.name
    if (
        evaluated
        and not chosen
        and catalogue == "paper"
        and source
        and not source.startswith(BUILTIN)
        and not prefix_of(source)
    ):
        artifacts.write_json(Path(source) / TASKS, result)  # where `report` looks for it
    return result


def _row(
    name: str, text: Corpus, tokenizer: Tokenizer, model: Model | None, count: int, longest: int
) -> dict[str, Any]:
    task = get(name)
    row: dict[str, Any] = {
        "name": task.name,
        "origin": task.origin,
        "description": task.description,
    }
    try:
        if model is None:
            example = pairs(task, text, "test", 1, tokenizer, longest)[0]
        else:
            longest = min(longest, model.network.config.context)
            made = prompts(task, text, tokenizer, "test", count, longest)
            example = made.pairs[0]
            row |= dataclasses.asdict(evaluate(model, made))
    except DataError as error:
        return row | {"learned": False, "error": str(error)}
    return row | {"example": dataclasses.asdict(example)}

"""The three sets of prompts one pruning needs: to learn on, to choose on, to report on."""

from dataclasses import dataclass

from lacewing.circuit.config import PruneConfig
from lacewing.data.corpus import Corpus
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts, prompts
from lacewing.tasks.task import Task
from lacewing.tasks.text import Part


@dataclass(frozen=True)
class PromptSets:
    """Prompts of one task, disjoint by source file."""

    name: str
    """The task's."""
    train: Prompts
    """What the mask is learned on."""
    validation: Prompts
    """What the circuit's size is chosen on."""
    test: Prompts
    """What losses are reported on; nothing is chosen on these."""


def prompt_sets(
    model: Model, task: Task, config: PruneConfig, corpus: str | None = None
) -> PromptSets:
    """Make a task's prompts for a model from the task text of a corpus.

    Args:
        model: Gives the tokenizer and, unless `corpus` does, the corpus.
        task: The task.
        config: How many pairs, and how long.
        corpus: Another corpus, as `Corpus.parse` reads it.

    Raises:
        DataError: the corpus has no prompts for the task, or the tokenizer no answers.
    """
    text = Corpus.parse(corpus or model.corpus)
    longest = min(config.max_tokens, model.network.config.context)

    def made(split: Part, count: int) -> Prompts:
        return prompts(task, text, model.tokenizer, split, count, longest, config.seed)

    return PromptSets(
        name=task.name,
        train=made("train", config.train_pairs),
        validation=made("validation", config.validation_pairs),
        test=made("test", config.test_pairs),
    )

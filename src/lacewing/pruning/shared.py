"""What several comparisons ask of the same models, found once.

    FOLDER/learned/KEY.json             a model's loss on a task's validation prompts
    FOLDER/searches/MODEL/TASK-SEED/    where a search for nodes ended

A search that prunes edges too begins with one for nodes alone: where that has ended, it starts from
there, and ends with the circuit that it finds otherwise.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lacewing import __version__, artifacts
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets, prompt_sets
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.pages.names import safe_name
from lacewing.pruning.kept_search import start_from
from lacewing.pruning.node_search import Wanted
from lacewing.pruning.state import State
from lacewing.tasks.scoring import evaluate
from lacewing.tasks.task import Task


@dataclass(frozen=True)
class _Learned:
    """learned/KEY.json."""

    __pydantic_config__ = artifacts.EXACT

    asked: dict[str, Any]
    loss: float | None = None
    error: str | None = None


@dataclass
class Shared:
    """Losses, prompts and searches that were made before; without a folder nothing is kept."""

    folder: Path | None = None
    made: dict[str, PromptSets] = field(default_factory=dict)
    """Prompts by what decides them, in memory alone."""

    def prompts(self, model: Model, task: Task, config: PruneConfig, text: str) -> PromptSets:
        """A task's prompts for a model; see `prompt_sets`.

        Raises:
            DataError: there are none.
        """
        key = artifacts.sum_of(_asked(model, task, config, text))
        if key not in self.made:
            self.made[key] = prompt_sets(model, task, config, text)
        return self.made[key]

    def loss(
        self,
        model: Model,
        task: Task,
        config: PruneConfig,
        text: str,
        sets: PromptSets | None = None,
    ) -> float:
        """A model's loss on a task's validation prompts, nats; measured where it is not known.

        Args:
            model: The model.
            task: The task.
            config: How many pairs, and how long.
            text: Where prompts come from.
            sets: The prompts, where they are already made.

        Raises:
            DataError: there are no prompts.
        """
        asked = _asked(model, task, config, text) | {"model": model.id}
        path = self._path(asked)
        known = artifacts.read(path, _Learned) if path and path.exists() else None
        if known is None or known.asked != asked:
            try:
                sets = sets or self.prompts(model, task, config, text)
                known = _Learned(asked, loss=evaluate(model, sets.validation).loss)
            except DataError as error:
                known = _Learned(asked, error=str(error))
            if path:
                artifacts.write_json(path, asdict(known))
        if known.loss is None:
            raise DataError(known.error or "no prompts")
        return known.loss

    def search(self, model: Model, wanted: Wanted) -> Wanted:
        """The same, started from where the search for its nodes ended, or to be kept there.

        Raises:
            ArtifactError: another search was kept there, or it is damaged.
        """
        if self.folder is None:
            return wanted
        assert wanted.sets is not None
        name = f"{safe_name(wanted.task.name)}-{wanted.config.seed}"
        place = artifacts.own(self.folder, f"searches/{safe_name(model.id)}/{name}")
        alone = wanted.config.nodes_alone().as_json()
        facts = {"task": wanted.task.name, "config": alone}
        nodes = State.open(place, model, facts, wanted.sets)
        if wanted.state.folder:
            start_from(wanted.state, nodes)
        return replace(wanted, nodes=nodes)

    def _path(self, asked: dict[str, Any]) -> Path | None:
        if self.folder is None:
            return None
        return artifacts.own(self.folder, f"learned/{artifacts.sum_of(asked)[:24]}.json")


def _asked(model: Model, task: Task, config: PruneConfig, text: str) -> dict[str, Any]:
    """What decides a task's prompts."""
    return {
        "lacewing": __version__,
        "task": [task.name, task.id],
        "text": text,
        "tokenizer": model.tokenizer.id,
        "longest": min(config.max_tokens, model.network.config.context),
        "pairs": [config.train_pairs, config.validation_pairs, config.test_pairs],
        "seed": config.seed,
    }

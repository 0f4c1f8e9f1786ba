"""One search for nodes, asked for circuits at many target losses.

In a model of ours the mask learns the same whatever the target: the target only decides how few of
the ranked nodes are kept, and that is a small part of the work. So one walk along the path of
penalties serves all targets, and gives for each the circuit that `prune` finds there.
"""

from dataclasses import dataclass, field, replace

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.pruning.node_search import Search, Wanted, check_there_is_a_circuit, step_together
from lacewing.pruning.prune import finish, prune
from lacewing.tasks.task import Task


@dataclass
class Walks:
    """The searches of one model and task that were walked to their end.

    Example:
        >>> from lacewing.circuit.prompts import prompt_sets
        >>> from lacewing.tasks.registry import get
        >>> model, task = load("builtin:taught-tiny"), get("indent_for")
        >>> few = PruneConfig(prompts=512, train_pairs=128, validation_pairs=64, test_pairs=32)
        >>> walks = Walks(model, task, prompt_sets(model, task, few), quiet=True)
        >>> walks.circuit(few) == prune(model, task, few, sets=walks.sets, quiet=True)
        True
    """

    model: Model
    task: Task
    sets: PromptSets
    quiet: bool = False
    ended: dict[PruneConfig, Search] = field(default_factory=dict, repr=False)
    """By their settings, whatever the target."""

    def circuit(self, config: PruneConfig) -> Circuit:
        """The circuit that `prune` finds; the path is walked once for all targets.

        A robust search, one that prunes edges and one in a model of others depend on the target on
        their way: those are walked each time.

        Raises:
            DataError: as `prune`.
        """
        if config.robust or config.prunes_edges or self.model.is_foreign:
            return prune(self.model, self.task, config, sets=self.sets, quiet=self.quiet)
        check_there_is_a_circuit(self.model, self.task.name, config, self.sets.validation)
        found = finish(self.model, self._ended(config).asked_for(self.model, config), _silent)
        if isinstance(found, DataError):
            raise found
        return found

    def _ended(self, config: PruneConfig) -> Search:
        key = replace(config, target_loss=PruneConfig.target_loss, validation_target=None)
        if key not in self.ended:
            # At one target or another there is a circuit: that was asked before.
            search = Search.begin(self.model, 0, Wanted(self.task, key, self.sets, anyway=True))
            if isinstance(search, DataError):
                raise search
            self._walk(search)
            self.ended[key] = search
        return self.ended[key]

    def _walk(self, search: Search) -> None:
        steps = search.wanted.config.steps
        title = f"prune {self.task.name}"
        with (
            progress(title, steps, "steps", not self.quiet) as bar,
            sparse_products(self.model.network),
        ):
            while not search.ended:
                bar.update(search.step + 1, step_together(self.model, [search]))
        state = search.wanted.state
        state.start(state.seconds)  # what it took stands still while it waits to be asked


def _silent(words: str) -> None:
    """Selections pass without a word."""

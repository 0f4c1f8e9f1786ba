"""`lacewing prune`: the smallest circuit that does a task."""

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from lacewing import artifacts
from lacewing.circuit.config import PruneConfig
from lacewing.cli.flags import AnyModel, Json
from lacewing.errors import ArtifactError
from lacewing.progress import say

if TYPE_CHECKING:
    from lacewing.circuit.circuit import Circuit
    from lacewing.model.store import Model as LoadedModel


@dataclass(frozen=True)
class Prune:
    """Prune a model to the smallest circuit that does a task at the target loss."""

    model: AnyModel
    task: str
    """A task's name, or a JSONL file of pairs."""
    output: Path
    """Folder of the circuit; must not exist. OUTPUT.unfinished is where the same command goes on
    after an interruption."""
    corpus: str | None = None
    """Where prompts come from; by default the model's corpus."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Prune and save."""
        from lacewing.model.store import load
        from lacewing.pruning.prune import prune

        state = artifacts.unfinished(self.output)
        if not state.exists():
            artifacts.check_free(self.output)
        model = load(self.model)
        if self.output.exists():
            return _facts(model, self._saved(model, state))
        if state.exists():
            say(f"going on where {state} stands")
        circuit = prune(model, self.task, self.config, corpus=self.corpus, state=state)
        circuit.save(self.output)
        shutil.rmtree(state)
        return _facts(model, circuit)

    def _saved(self, model: "LoadedModel", state: Path) -> "Circuit":
        """The circuit that this very command saved, where it was killed right after that."""
        from lacewing.circuit.circuit import Circuit
        from lacewing.tasks.registry import get

        circuit = Circuit.load(self.output)
        made = circuit.model_id, circuit.task, circuit.config
        if made != (model.id, get(self.task).name, self.config):
            raise ArtifactError(
                f"{self.output} exists already, of another pruning, and so does {state}: choose "
                "another --output; nothing was overwritten"
            )
        shutil.rmtree(state)
        return circuit

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        edges, loss = result["edges"], result["loss"]
        before = ""
        if "minimal" in result:
            before = "; none of them can go" if result["minimal"] else "; NOT minimal"
        if "nodes_only" in result:
            old = result["nodes_only"]
            before += (
                f" (nodes alone: {old['nodes']} nodes, {old['edges']} edges, test loss "
                f"{old['loss']:.3f})"
            )
        return (
            f"{result['nodes']} nodes, {edges['paper']} edges ({edges['all']} with embedding, "
            f"unembedding and biases); test loss {loss['circuit']:.3f} nats, full model "
            f"{loss['full']:.3f}, target {_target(result)}; {result['seconds']:.0f} s"
            + before
            + _warning(result)
        )


def _target(result: dict[str, Any]) -> str:
    """The target, and the lower one on validation prompts where there is one."""
    target, chosen_at = result["target_loss"], result["chosen_at"]
    lower = "" if chosen_at == target else f", on validation prompts {chosen_at:g}"
    return f"{target:g}{lower}"


def _warning(result: dict[str, Any]) -> str:
    """A line where test prompts miss the target, or may."""
    reached, target = result["reached"], f"the target {result['target_loss']:g}"
    if reached["verdict"]:
        return ""
    low, high = reached["interval"]
    of = f"{reached['pairs']} test pairs: [{low:.3f}, {high:.3f}]"
    missed = reached["verdict"] is False
    said = f"misses {target} on {of}" if missed else f"not shown to reach {target} on {of}"
    return f"\nwarning: {said}; prune to a lower target on validation prompts: --validation-target"


def _facts(model: "LoadedModel", circuit: "Circuit") -> dict[str, Any]:
    """What is said of a circuit."""
    from lacewing.circuit.edges import count_all
    from lacewing.verification.short import reached
    from lacewing.verification.verify import test_prompts

    facts: dict[str, Any] = {
        "task": circuit.task,
        "nodes": circuit.n_nodes,
        "edges": {
            "paper": circuit.n_edges,
            "all": count_all(model.network, circuit.nodes, circuit.edges, circuit.answers),
        },
        "loss": {"full": circuit.losses["full"], "circuit": circuit.losses["circuit"]},
        "target_loss": circuit.target_loss,
        "chosen_at": circuit.config.chosen_at,
        "reached": dataclasses.asdict(reached(model, circuit, test_prompts(model, circuit))),
        "seed": circuit.seed,
        "seconds": circuit.seconds,
    }
    if circuit.nodes_only:
        facts["nodes_only"] = dataclasses.asdict(circuit.nodes_only)
    if circuit.certificate:
        facts["minimal"] = circuit.certificate.minimal
    return facts

"""`lacewing prune`: the smallest circuit that does a task."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from lacewing.circuit.config import PruneConfig
from lacewing.cli.flags import Json, Model
from lacewing.errors import ArtifactError

if TYPE_CHECKING:
    from lacewing.circuit.circuit import Circuit
    from lacewing.model.store import Model as LoadedModel


@dataclass(frozen=True)
class Prune:
    """Prune a model to the smallest circuit that does a task at the target loss."""

    model: Model
    """Run folder, or builtin:sparse, :dense, :small or :tiny."""
    task: str
    """A task's name, or a JSONL file of pairs."""
    output: Path
    """Folder of the circuit; must not exist."""
    corpus: str | None = None
    """Where prompts come from; by default the model's corpus."""
    config: tyro.conf.OmitArgPrefixes[PruneConfig] = field(default_factory=PruneConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Prune and save."""
        from lacewing.model.store import load
        from lacewing.pruning.prune import prune

        if self.output.exists():
            raise ArtifactError(
                f"{self.output} exists already: choose another --output; nothing was overwritten"
            )
        model = load(self.model)
        circuit = prune(model, self.task, self.config, corpus=self.corpus)
        circuit.save(self.output)
        return _facts(model, circuit)

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
            f"{loss['full']:.3f}, target {result['target_loss']:g}; {result['seconds']:.0f} s"
            + before
        )


def _facts(model: "LoadedModel", circuit: "Circuit") -> dict[str, Any]:
    """What is said of a circuit."""
    from lacewing.circuit.edges import count_all

    facts: dict[str, Any] = {
        "task": circuit.task,
        "nodes": circuit.n_nodes,
        "edges": {
            "paper": circuit.n_edges,
            "all": count_all(model.network, circuit.nodes, circuit.edges, circuit.answers),
        },
        "loss": {"full": circuit.losses["full"], "circuit": circuit.losses["circuit"]},
        "target_loss": circuit.target_loss,
        "seed": circuit.seed,
        "seconds": circuit.seconds,
    }
    if circuit.nodes_only:
        facts["nodes_only"] = dataclasses.asdict(circuit.nodes_only)
    if circuit.certificate:
        facts["minimal"] = circuit.certificate.minimal
    return facts

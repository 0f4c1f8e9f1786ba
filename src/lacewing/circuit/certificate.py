"""The certificate of a minimal circuit: the loss without each of its nodes and edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lacewing.circuit.facts import SavedCertificate
from lacewing.tasks.pair import Pair

CERTIFICATE = "certificate.json"
"""Its file in a circuit's folder."""


@dataclass(frozen=True)
class Certificate:
    """Why nothing can go: the loss without each node and each edge."""

    target_loss: float
    """Nats."""
    loss: float
    """Of the circuit itself, on these pairs."""
    pairs: tuple[Pair, ...]
    """What the losses were measured on, which decided what could go."""
    nodes: Mapping[str, float]
    """Loss without each node, nats."""
    edges: Mapping[str, float]
    """Loss without each edge, nats."""

    @property
    def minimal(self) -> bool:
        """Whether the circuit reaches the target and would not without any one component."""
        without = [*self.nodes.values(), *self.edges.values()]
        return self.loss <= self.target_loss < min(without, default=float("inf"))

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the slack of every component: its loss less the target."""

        def rows(components: Mapping[str, float]) -> dict[str, dict[str, float]]:
            return {
                name: {"loss_without": loss, "slack": loss - self.target_loss}
                for name, loss in components.items()
            }

        facts = {"target_loss": self.target_loss, "loss": self.loss, "pairs": len(self.pairs)}
        return facts | {
            "minimal": self.minimal,
            "nodes": rows(self.nodes),
            "edges": rows(self.edges),
        }

    @classmethod
    def of(cls, saved: SavedCertificate, pairs: Sequence[Pair]) -> "Certificate":
        """What `as_json` wrote, with the pairs it was made on."""
        nodes, edges = (
            {name: row.loss_without for name, row in rows.items()}
            for rows in (saved.nodes, saved.edges)
        )
        return cls(saved.target_loss, saved.loss, tuple(pairs), nodes, edges)

"""`lacewing models`: the models that ship, and their circuits."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lacewing.cli.flags import Json
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType

MEANING = """\
density: nonzero share of each block matrix
loss: validation, nats per token; only models with as many tokens in their tokenizers compare
text: taught has lines of tasks mixed into it; code has no comments and docstrings
circuits of theirs: lacewing models --circuits"""


@dataclass(frozen=True)
class Models:
    """List the models that ship with lacewing, or with --circuits their circuits."""

    circuits: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """List circuits: their names are taken wherever a circuit's folder is."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """List them."""
        from lacewing.model.shipped import shipped

        if self.circuits:
            return {"circuits": _circuits()}
        return {"models": [dataclasses.asdict(facts) for facts in shipped()]}

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A table, with what its columns mean under it."""
        if "circuits" in result:
            return _table(result["circuits"])
        rows = [
            [
                row["name"],
                f"{row['layers']}",
                f"{row['width']}",
                f"{row['density']:.3g}",
                f"{row['validation_loss']:.3f}",
                f"{row['vocabulary']:,}",
                f"{row['bytes'] / 1e6:.1f} MB",
                row["corpus"],
            ]
            for row in result["models"]
        ]
        columns = ["model", ">layers", ">width", ">density", ">loss", ">tokens", ">size", "text"]
        return under(Table(columns, rows), MEANING)


def _circuits() -> list[dict[str, Any]]:
    """What is known of every circuit that ships."""
    from lacewing.circuit.circuit import Circuit
    from lacewing.circuit.shipped import circuit_names, folder_of
    from lacewing.verification.verify import saved_verification

    rows = []
    for name in circuit_names():
        circuit, proof = Circuit.load(name), saved_verification(folder_of(name))
        rows.append(
            {
                "name": name,
                "nodes": circuit.n_nodes,
                "edges": circuit.n_edges,
                "loss": circuit.losses.get("circuit"),
                "target_loss": circuit.target_loss,
                "verdict": proof.verdict if proof else None,
            }
        )
    return rows


def _table(circuits: list[dict[str, Any]]) -> "RenderableType":
    """The circuits as a table."""
    rows = [
        [
            row["name"],
            f"{row['nodes']}",
            f"{row['edges']:,}",
            "-" if row["loss"] is None else f"{row['loss']:.3f}",
            row["verdict"] or "not verified",
        ]
        for row in circuits
    ]
    return under(
        Table(["circuit", ">nodes", ">edges", ">test loss", "suite"], rows),
        "Take a name where a circuit's folder is asked for: --circuit NAME",
    )

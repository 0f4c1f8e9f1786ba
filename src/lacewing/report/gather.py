"""Everything a report says, as one plain dictionary: what becomes report.json."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacewing import __version__, artifacts
from lacewing.artifacts.folders import UNFINISHED
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import count_all
from lacewing.data.corpus import renamed
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.store import Model
from lacewing.pages.names import safe_name
from lacewing.report import latents, saved
from lacewing.report.commands import commands
from lacewing.verification.verify import saved_verification

Shown = tuple[Path, Circuit, Model]
"""A circuit's folder, it, and its model: the run's, or that with latents for nodes."""
MISSING = {
    "tasks": "No task has been scored: run `lacewing tasks --model {0} --run`.",
    "circuits": (
        "There is no circuit: run `lacewing prune --model {0} --task NAME --output "
        "{0}/circuits/NAME`."
    ),
    "comparison": (
        "There is no comparison: train a twin with `lacewing train --twin-of {0}` and run "
        "`lacewing compare --sparse {0} --dense TWIN --output {0}/comparison`."
    ),
}


def gather(
    run: Path,
    output: Path,
    model: Model,
    found: Sequence[Shown],
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Collect what a run's folder holds.

    Args:
        run: The run.
        output: Where the report is written.
        model: Its model.
        found: Its circuits, with their folders and models.
        left_out: What lies among them and is none, and why.
    """
    config = artifacts.read_json(run / "config.json")
    config |= {"corpus": renamed(str(config["corpus"]))}
    data: dict[str, Any] = {
        "lacewing": __version__,
        "run": str(run),
        "config": config,
        "summary": artifacts.read_json(run / "summary.json"),
        "metrics": saved.metrics(run),
        "tasks": saved.scores(run),
        "circuits": [_circuit(*one) for one in found],
        "comparison": saved.compared(run),
        "left_out": list(left_out),
    }
    data["commands"] = commands(run, output, data)
    data["missing"] = [sentence.format(run) for part, sentence in MISSING.items() if not data[part]]
    return data


def circuits_of(run: Path, model: Model) -> tuple[list[Shown], list[str]]:
    """The circuits under RUN/circuits, each checked to belong to the run's model or its latents.

    Returns:
        The circuits with their folders and models, and a sentence for each folder that is left
        out: one that is no whole circuit, is of another model, or whose autoencoders are gone or
        others by now, would otherwise be missed by nobody.
    """
    opened: dict[Path, Model] = {}
    found: list[Shown] = []
    left_out, root = [], os.path.realpath(run)
    for folder in sorted((run / "circuits").glob("[!.]*")):
        if folder.name.endswith(UNFINISHED):
            left_out.append(f"{folder} is a pruning on its way: its own command goes on")
        elif not Path(os.path.realpath(folder)).is_relative_to(root):
            left_out.append(f"{folder} is a link out of the run, which is not followed")
        elif os.path.lexists(folder / artifacts.MANIFEST):
            circuit = Circuit.load(folder)
            try:
                own = latents.with_latents(model, circuit, opened)
                circuit.check(own)
            except (ArtifactError, MismatchError) as error:
                left_out.append(f"{folder}: {error}")
                continue
            found.append((folder, circuit, own))
        elif folder.is_dir() or folder.is_symlink():
            left_out.append(
                f"{folder} has no {artifacts.MANIFEST}: it is not a finished circuit; run the "
                "command that makes it again, or take it away"
            )
    return found, left_out


def _circuit(folder: Path, circuit: Circuit, model: Model) -> dict[str, Any]:
    pairs, verification = circuit.pairs, saved_verification(folder)
    return {
        "folder": str(folder),
        "name": safe_name(folder.name),
        "task": circuit.task,
        "nodes": circuit.n_nodes,
        "edges": {
            "paper": circuit.n_edges,
            "all": count_all(model.network, circuit.nodes, circuit.edges, circuit.answers),
        },
        "latents": latents.facts(circuit, model),
        "node_names": circuit.node_names(),
        "losses": dict(circuit.losses),
        "target_loss": circuit.target_loss,
        "chosen_at": circuit.config.chosen_at,
        "seed": circuit.seed,
        "config": circuit.config.as_json(),
        "edited_from": circuit.edited_from,
        "example": {
            "clean": pairs[0].clean,
            "corrupted": pairs[0].corrupted,
            "clean_answer": pairs[0].clean_answer,
            "corrupted_answer": pairs[0].corrupted_answer,
        },
        "verification": verification.as_json() if verification else None,
        "explained": saved.explained(folder),
        "short_test": verification.short.verdict if verification else None,
        "short_test_passed": bool(verification and verification.short.passed),
    }

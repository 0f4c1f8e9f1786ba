"""Circuits of latents in a report: the run's model with the latents that a circuit names."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacewing.circuit.circuit import Circuit
from lacewing.errors import ArtifactError
from lacewing.model.registry import SPLICED
from lacewing.model.store import Model
from lacewing.sae import folder as saved
from lacewing.sae.config import SaeConfig
from lacewing.sae.splice import SplicedNetwork, spliced


def autoencoders_of(circuit: Circuit) -> Path | None:
    """Where a circuit's autoencoders are; none where its nodes are no latents."""
    source = circuit.model_source
    return Path(source.removeprefix(SPLICED)) if source.startswith(SPLICED) else None


def with_latents(model: Model, circuit: Circuit, opened: dict[Path, Model]) -> Model:
    """The model that a circuit is of: the run's, or that with latents for nodes.

    Args:
        model: The run's.
        circuit: The circuit.
        opened: Models with latents by the folder of their autoencoders; what is opened is added.

    Raises:
        ArtifactError: its autoencoders are missing or damaged.
        MismatchError: they are of another model.
    """
    place = autoencoders_of(circuit)
    if place is None:
        return model
    if not place.is_dir():
        raise ArtifactError(
            f"its autoencoders in {place} are missing: put them back, or prune again"
        )
    if place not in opened:
        opened[place] = spliced(model, saved.read(place, model), circuit.model_source)
    return opened[place]


def facts(circuit: Circuit, model: Model) -> dict[str, Any] | None:
    """What a report says of a circuit's latents; none where nodes are channels."""
    place, network = autoencoders_of(circuit), model.network
    if place is None or not isinstance(network, SplicedNetwork):
        return None
    counts = network.counts
    missed = sum(int((circuit.nodes[key] >= count).sum()) for key, count in counts.items())
    known = saved.facts_of(place)
    return {
        "folder": str(place),
        "sites": counts,
        "missed": missed,
        "trained": known.config,
        "corpus": known.corpus,
    }


def commands(run: Path, circuits: Sequence[dict[str, Any]]) -> list[str]:
    """The training of all autoencoders that circuits name, each once."""
    made = {}
    for circuit in circuits:
        if (found := circuit["latents"]) is None:
            continue
        if found["trained"] is None:
            made[found["folder"]] = f"# {found['folder']} are autoencoders that others trained"
            continue
        words = ["lacewing", "sae", "--model", str(run)]
        words += [word for site in found["sites"] for word in ("--site", site)]
        words += ["--corpus", found["corpus"], "--output", found["folder"]]
        default = SaeConfig().as_json()
        for name, value in found["trained"].items():
            if name in default and default[name] != value:
                flag = name.replace("_", "-")
                said = f"--{flag}" if value else f"--no-{flag}"
                words += [said] if isinstance(value, bool) else [f"--{flag}", str(value)]
        made[found["folder"]] = shlex.join(words)
    return list(made.values())

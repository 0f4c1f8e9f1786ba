"""Where a verb writes what belongs beside a circuit: into its folder, or a copy's."""

from pathlib import Path

from lacewing import artifacts
from lacewing.errors import ArtifactError, ConfigError


def place_of(circuit: Path, output: Path | None, made: str) -> Path:
    """The folder of a circuit that a verb may write in.

    Args:
        circuit: The circuit's folder, or the name of one that ships.
        output: Where a copy is to lie, with what the verb writes; made unless it is there already.
        made: What the verb writes.

    Raises:
        ConfigError: the circuit ships with the package, where nothing is written.
        ArtifactError: `output` holds something else than this circuit.
    """
    from lacewing.circuit.shipped import folder_of, is_shipped

    folder = folder_of(circuit)
    if output is None:
        if is_shipped(circuit):
            raise ConfigError(
                f"{circuit} is part of lacewing, where no {made} is written: add --output DIR, and "
                "a copy of the circuit lies there with it"
            )
        return folder
    from lacewing.circuit.circuit import Circuit

    wanted = Circuit.load(circuit)
    if output.exists():
        there = Circuit.load(output)
        same = there == wanted and (there.config, there.pairs) == (wanted.config, wanted.pairs)
        if not same:
            raise ArtifactError(f"{output} holds another circuit: choose another --output")
        return output
    wanted.save(output)
    for name in BESIDE:
        if (folder / name).is_file():
            artifacts.write_bytes(output / name, artifacts.read_bytes(folder / name))
    return output


BESIDE = ("verification.json", "explanations.json", "attacks.json")
"""What verbs left beside a circuit, and a copy has too."""

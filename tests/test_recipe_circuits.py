"""A circuit whose suite cannot be run is a cell that says so."""

from pathlib import Path

from recipes import circuits

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.model.store import Model


def test_a_suite_that_cannot_be_run_is_kept(model: Model, tmp_path: Path) -> None:
    """Its task is a file that nobody names: the cell is done, with its sizes and the reason."""
    given = circuits.Recipe("micro", tmp_path)
    (cell,) = circuits.cells(given, ["first_letter"])[:1]
    circuit = micro.make(model, micro.PLANTED)
    circuit.save(cell.folder)
    circuits.judged(given, cell, model, Circuit.load(cell.folder), "standard_library")
    row = circuits.done(cell, given.skip)
    assert row is not None
    assert "none that is known by name" in row["unjudged"]
    said = circuits.table([cell])
    assert "| 15 / 8 | 0.020 | not judged: the circuit's task" in said
    assert "0 of 1 cells are not done" in said

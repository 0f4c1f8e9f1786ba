"""A pruning that was killed while it wrote goes on."""

from pathlib import Path

from lacewing.circuit.prompts import PromptSets
from lacewing.model.store import Model
from lacewing.pruning.state import State


def test_half_written_parts_are_passed_over(model: Model, sets: PromptSets, tmp_path: Path) -> None:
    """What was being written beside a part when the process was killed is no part."""
    wanted = {"task": "first_letter", "config": {}}
    state = State.open(tmp_path / "state", model, wanted, sets)
    state.put("search", {"step": 1}, {})
    (tmp_path / "state" / ".search.000000.1.abcdefgh").mkdir()
    again = State.open(tmp_path / "state", model, wanted, sets)
    found = again.get("search")
    assert found is not None
    assert 1 == found[0]["step"]

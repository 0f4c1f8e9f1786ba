"""The row over training seeds: printed once every pair has circuits, and not before."""

from pathlib import Path
from typing import Any

from recipes import compare

from lacewing import artifacts


def pair(folder: Path, dense: dict[str, int], cells: int = 2) -> None:
    """A comparison's files: circuits of 10 edges, and those of its twin."""
    plan = {"sparse": "a", "dense": "b", "target_loss": 0.15, "seeds": [0], "skipped": {}}
    artifacts.write_json(folder / "plan.json", plan | {"tasks": list(dense)})
    for task, edges in dense.items():
        for side, count in list({"sparse": 10, "dense": edges}.items())[:cells]:
            row: dict[str, Any] = {"task": task, "seed": 0, "side": side, "edges": count}
            row |= {"edges_all": count, "nodes": 5, "losses": {"circuit": 0.1}}
            artifacts.write_json(folder / side / f"{task}-0.json", row)


def test_seeds_are_joined_over_the_tasks_they_share(tmp_path: Path) -> None:
    """20 and 80 edges, and 40 and 160 of the second: 64 by hand, whatever else the second has."""
    pairs = ("one", "twin-one", "two", "twin-two")
    given = compare.Recipe(pairs, tmp_path, kinds=("nodes",), joined=True)
    pair(tmp_path / "one" / "nodes", {"var_if": 20, "with_as": 80})
    assert "1 pairs without circuits or NOT DONE" in compare.joined(given)[0]
    pair(tmp_path / "two" / "nodes", {"var_if": 40, "with_as": 160, "for_while": 9999})
    (row,) = compare.joined(given)
    assert row == "| all 2 seeds | - | - | nodes | 2 | 10 | 57 | 5.7 [2.0, 16.0] |"
    pair(tmp_path / "two" / "nodes", {"var_if": 40, "with_as": 160, "if_equals": 1}, cells=2)
    (tmp_path / "two" / "nodes" / "dense" / "if_equals-0.json").unlink()
    assert compare.joined(given)[0].endswith("5.7 [2.0, 16.0]; 1 cells NOT DONE |")

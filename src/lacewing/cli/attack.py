"""`lacewing attack`: prompts on which the circuit says the model errs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from lacewing import artifacts
from lacewing.bounds import Count, Seed
from lacewing.cli.flags import Json, Model
from lacewing.cli.places import place_of
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType

ATTACKS = "attacks.json"
"""The file in a circuit's folder that says what was found."""


@dataclass(frozen=True)
class Attack:
    """Find edits on which a circuit says the full model must err, and test them on it."""

    circuit: Path
    """Folder of the circuit, or builtin:MODEL/TASK[/KIND]."""
    budget: Count = 4000
    """Edited pairs that the circuit is asked about."""
    tests: Annotated[int, Interval(ge=1, le=10**6)] = 60
    """Of these, how many the full model is tried on; every control is up to five times as many."""
    seed: Seed = 0
    """Draws the edits, the controls and the intervals."""
    model: Model | None = None
    """Where its model is now, if it was moved."""
    corpus: str | None = None
    """Where comments, strings and lines to insert come from; by default the model's corpus."""
    output: Path | None = None
    """Folder for a copy of the circuit, with attacks.json; of one that ships."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Attack, and save attacks.json beside the circuit."""
        from lacewing.attacks.attack import attack
        from lacewing.circuit.circuit import Circuit
        from lacewing.model.store import load

        place = place_of(self.circuit, self.output, ATTACKS)
        circuit = Circuit.load(place)
        model = load(self.model or circuit.model_source)
        result = attack(
            model,
            circuit,
            budget=self.budget,
            tests=self.tests,
            seed=self.seed,
            corpus=self.corpus,
        ).as_json()
        artifacts.write_json(place / ATTACKS, result)
        return result

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The hit rates as a table, kind by kind, with the surest hits under it."""
        head = (
            f"{result['task']}: {result['proposals']} edited prompts, seed {result['seed']}; the "
            f"circuit turns wrong on {result['predicted']}\n"
        )
        columns = ["the full model, right before, errs on", ">hits", ">rate [95 %]", ">ratio"]
        rows = [_rate(result, name, words) for name, words in result["groups"].items()]
        lines = []
        for kind, rates in result["by_kind"].items():
            cells = [f"{name} {r['hits']}/{r['n']}" for name, r in rates.items()]
            lines.append(f"  {kind}: {', '.join(cells)}")
        for hit in [a for a in result["attacks"] if a["hit"]][:3]:
            lines += [
                "",
                f"  ...{hit['prompt'][-84:]!r}",
                f"  right {hit['right']!r}, margin {hit['before']:+.1f} before and "
                f"{hit['after']:+.1f} after; the circuit said {hit['circuit']:+.1f}",
            ]
        return under(head, Table(columns, rows), "\n".join(lines))


def _rate(result: dict[str, Any], name: str, words: str) -> list[str]:
    """A group of edits as cells."""
    found, times = result["rates"][name], result["ratio"].get(name)
    low, high = found["interval"]
    ratio = ""
    if times is not None:
        value = "-" if times["value"] is None else f"{times['value']:.1f}"
        ratio = f"{value} [{times['interval'][0]:.1f}, {times['interval'][1]:.1f}]"
    hits, rate = f"{found['hits']} / {found['n']}", f"{found['rate']:.1%} [{low:.1%}, {high:.1%}]"
    return [words, hits, rate, ratio]

"""The verbs `lacewing program` and `lacewing attack`: what a saved circuit is good for.

torch is imported only when a verb runs.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lacewing import artifacts
from lacewing.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from lacewing.circuit.circuit import Circuit
    from lacewing.model.store import Model
    from lacewing.tasks.pair import Pair

ATTACKS = "attacks.json"
Json = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Source = Annotated[str, tyro.conf.arg(metavar="MODEL")]


@dataclass(frozen=True)
class Program:
    """Write a circuit as standalone Python files of plain NumPy: exact, and short to read."""

    circuit: Path
    """Folder of the circuit."""
    output: Path | None = None
    """The exact file, NAME.py; NAME_simple.py is written beside it. By default program.py in the
    circuit's folder, where an older one is replaced."""
    model: Source | None = None
    """Where its model is now, if it was moved."""
    pairs: int = 16
    """Test pairs that each file carries for its own check; all of them are measured on."""
    corpus: str | None = None
    """Where validation prompts for the short file come from; by default the model's corpus."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Write both files."""
        from lacewing.programs.program import exact_program, simple_program

        if self.pairs < 0:
            raise ConfigError(f"--pairs must be at least 0, not {self.pairs}")
        exact_file = self.output or self.circuit / "program.py"
        simple_file = exact_file.with_name(f"{exact_file.stem}_simple{exact_file.suffix}")
        for file in (exact_file, simple_file):
            if self.output is not None and file.exists():
                raise ArtifactError(
                    f"{file} exists already: choose another --output; nothing was overwritten"
                )
        circuit, model, pairs = _loaded(self.circuit, self.model)
        exact = exact_program(model, circuit, pairs, examples=self.pairs)
        simple = simple_program(model, circuit, pairs, examples=self.pairs, corpus=self.corpus)
        result: dict[str, Any] = {"task": circuit.task, "nodes": circuit.n_nodes}
        for name, file, made in (("exact", exact_file, exact), ("simple", simple_file, simple)):
            artifacts.write_bytes(file, made.text.encode("utf-8"))
            agreement = None if made.agreement is None else asdict(made.agreement)
            result[name] = {"file": str(file), "lines": made.lines, "agreement": agreement}
        return result

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """Both files, and how far each agrees with the circuit."""
        lines = []
        for name in ("exact", "simple"):
            made, found = result[name], result[name]["agreement"]
            lines += [
                f"{made['file']}: {result['nodes']} nodes in {made['lines']} lines",
                f"  {found['prompts']} test prompts: the circuit's answer on {found['same']:.1%}; "
                f"task loss {found['loss']:.4f} nats, circuit {found['circuit_loss']:.4f};",
                f"  margins {found['mean']:.1e} nats apart on average, a logit at most "
                f"{found['largest']:.1e}",
            ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Attack:
    """Find edits on which a circuit says the full model must err, and test them on it."""

    circuit: Path
    """Folder of the circuit."""
    budget: int = 4000
    """Edited pairs that the circuit is asked about."""
    tests: int = 60
    """Of these, how many the full model is tried on; every control is up to five times as many."""
    seed: int = 0
    """Draws the edits, the controls and the intervals."""
    model: Source | None = None
    """Where its model is now, if it was moved."""
    corpus: str | None = None
    """Where comments, strings and lines to insert come from; by default the model's corpus."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Attack, and save attacks.json beside the circuit."""
        from lacewing.attacks.attack import attack

        circuit, model, pairs = _loaded(self.circuit, self.model)
        result = attack(
            model,
            circuit,
            pairs,
            budget=self.budget,
            tests=self.tests,
            seed=self.seed,
            corpus=self.corpus,
        ).as_json()
        artifacts.write_json(self.circuit / ATTACKS, result)
        return result

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The hit rates as a table, kind by kind, with the surest hits under it."""
        groups = result["groups"]
        lines = [
            f"{result['task']}: {result['proposals']} edited prompts, seed {result['seed']}; the "
            f"circuit turns wrong on {result['predicted']}",
            "",
            f"{'the full model, right before, errs on':51} {'hits':>9}   {'rate [95 %]':22} ratio",
        ]
        for name, words in groups.items():
            found, times = result["rates"][name], result["ratio"].get(name)
            low, high = found["interval"]
            ratio = ""
            if times is not None:
                value = "-" if times["value"] is None else f"{times['value']:.1f}"
                ratio = f"{value} [{times['interval'][0]:.1f}, {times['interval'][1]:.1f}]"
            hits = f"{found['hits']} / {found['n']}"
            rate = f"{found['rate']:.1%} [{low:.1%}, {high:.1%}]"
            lines.append(f"{words:51} {hits:>9}   {rate:22} {ratio}".rstrip())
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
        return "\n".join(lines)


def _loaded(folder: Path, source: str | None) -> "tuple[Circuit, Model, list[Pair]]":
    """A saved circuit with its model and its test pairs."""
    from lacewing.circuit import circuit as circuits
    from lacewing.model.store import load

    circuit = circuits.load(folder)
    model = load(source or circuit.model_source)
    circuit.check(model)
    return circuit, model, circuits.load_pairs(folder)

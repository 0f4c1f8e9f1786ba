"""`lacewing program`: a circuit as standalone Python files."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from lacewing import artifacts
from lacewing.cli.flags import Json, Model
from lacewing.errors import ConfigError


@dataclass(frozen=True)
class Program:
    """Write a circuit as standalone Python files of plain NumPy: exact, and short to read.

    Names come from explanations.json in the circuit's folder, where `lacewing explain` left it.
    """

    circuit: Path
    """Folder of the circuit, or builtin:MODEL/TASK[/KIND]."""
    output: Path | None = None
    """The exact file, NAME.py; NAME_simple.py is written beside it. By default program.py in the
    circuit's folder, where an older one is replaced."""
    model: Model | None = None
    """Where its model is now, if it was moved."""
    pairs: Annotated[int, Interval(ge=0, le=10**6)] = 16
    """Test pairs that each file carries for its own check; all of them are measured on."""
    corpus: str | None = None
    """Where validation prompts for the short file come from; by default the model's corpus."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Write both files."""
        from lacewing.circuit.circuit import Circuit
        from lacewing.circuit.shipped import folder_of, is_shipped
        from lacewing.explain import labels
        from lacewing.model.store import load
        from lacewing.programs.program import exact_program, simple_program

        folder = folder_of(self.circuit)
        if self.output is None and is_shipped(self.circuit):
            raise ConfigError(
                f"{self.circuit} is part of lacewing, where no program is written: add --output "
                "FILE.py"
            )
        exact_file = self.output or folder / "program.py"
        simple_file = exact_file.parent / f"{exact_file.stem}_simple{exact_file.suffix}"
        for file in (exact_file, simple_file):
            if self.output is not None:
                artifacts.check_free(file)
        circuit = Circuit.load(self.circuit)
        model = load(self.model or circuit.model_source)
        explained = (folder / labels.FILE).exists()
        meanings = labels.spoken(labels.load(folder)) if explained else None
        exact = exact_program(model, circuit, examples=self.pairs, meanings=meanings)
        simple = simple_program(
            model, circuit, examples=self.pairs, corpus=self.corpus, meanings=meanings
        )
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

"""`lacewing verify`: whether a circuit is the mechanism."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing.bounds import Seed
from lacewing.circuit.config import SEEDS
from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import under
from lacewing.verification.finding import YES

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Verify:
    """Test whether a circuit is the mechanism: sufficient, necessary, and not by an artefact."""

    circuit: Path
    """Folder of the circuit."""
    model: Model | None = None
    """Where its model is now, if it was moved."""
    seed: Seed = 0
    """Seeds intervals and random circuits."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only the short test: sufficient and necessary under the circuit's own ablation."""
    corpus: str | None = None
    """Where prompts and text come from; by default the model's corpus."""
    task: str | None = None
    """The circuit's task, where it is a JSONL file of pairs."""
    seeds: Annotated[int, Interval(le=1000)] = SEEDS
    """Circuits of other seeds that `stability` compares; more of them narrow its interval."""
    minimality: bool = False
    """Only check the certificate: measure the circuit without each of its nodes and edges."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Verify, and save verification.json beside the circuit."""
        from lacewing.circuit.circuit import Circuit
        from lacewing.model.store import load
        from lacewing.pruning.elimination import recertify
        from lacewing.verification.verify import verify

        circuit = Circuit.load(self.circuit)
        model = load(self.model or circuit.model_source)
        if self.minimality:
            return {"task": circuit.task} | recertify(model, circuit).as_json()
        found = verify(
            model,
            circuit,
            quick=self.quick,
            seed=self.seed,
            corpus=self.corpus,
            task=self.task,
            seeds=self.seeds,
            folder=self.circuit,
        )
        found.save(self.circuit)
        return found.as_json()

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The result for people."""
        return _certificate(result) if "minimal" in result else _verification(result)


def _verification(result: dict[str, Any]) -> "RenderableType":
    """The short test in words, or every test of the suite with its numbers, and the verdict."""
    head = f"{result['task']}: {result['pairs']} test pairs, full model {result['full']:.3f} nats"
    lines = [head]
    if "tests" not in result:
        from lacewing.verification.short import ShortTest

        for name in ("sufficient", "necessary"):
            test = result[name]
            lines.append(f"  {name}: {YES[test['verdict']]} - {test['reason']}")
        lines.append(f"  {ShortTest.from_json(result).verdict}")
        return "\n".join(lines)
    from lacewing.cli.findings import Findings
    from lacewing.verification.finding import LeftOut, from_json

    findings = [from_json(test) for test in result["tests"]]
    left_out = [LeftOut(**left) for left in result["left_out"]]
    return under(head, Findings(findings, left_out))


def _certificate(result: dict[str, Any]) -> str:
    """The verdict, and the components whose loss comes nearest to the target."""
    parts = {"node": result["nodes"], "edge": result["edges"]}
    slack = sorted((p["slack"], f"{kind} {n}") for kind, of in parts.items() for n, p in of.items())
    verdict = "minimal" if result["minimal"] else "NOT minimal"
    lines = [
        f"{result['task']}: {verdict}; {len(result['nodes'])} nodes, {len(result['edges'])} edges, "
        f"{result['loss']:.4f} nats on {result['pairs']} pairs, target {result['target_loss']:g}"
    ]
    lines += [f"  without {name}: {value:+.4f} nats from the target" for value, name in slack[:5]]
    return "\n".join(lines)

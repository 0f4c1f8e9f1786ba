"""`lacewing verify`: whether a circuit is the mechanism."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing import artifacts
from lacewing.bounds import Seed
from lacewing.circuit.config import OPEN_SEARCH, SEEDS, PruneConfig
from lacewing.cli.flags import Json, Model
from lacewing.cli.places import place_of
from lacewing.cli.tables import under
from lacewing.errors import ConfigError
from lacewing.verification.finding import YES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from lacewing.verification.suite import Part


@dataclass(frozen=True)
class Verify:
    """Test whether a circuit is the mechanism: sufficient, necessary, and not by an artefact."""

    circuit: Path
    """Folder of the circuit, builtin:MODEL/TASK[/KIND], or a circuit file of another tool, with
    --model and --task: EAP-IG, auto-circuit, circuit-tracer or a list of heads, MLPs and neurons
    (docs/open_models.md)."""
    model: Model | None = None
    """Where its model is now, if it was moved."""
    seed: Seed = 0
    """Seeds intervals and random circuits."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only the short test: sufficient and necessary under the circuit's own ablation."""
    corpus: str | None = None
    """Where prompts and text come from; by default the model's corpus."""
    task: str | None = None
    """The circuit's task, where it is a JSONL file of pairs, or the circuit another tool's."""
    target_loss: Annotated[float, Interval(gt=0, lt=0.6931)] = 0.15
    """Task loss that a circuit of another tool has to keep, in nats."""
    output: Path | None = None
    """Folder for a copy of the circuit, with what is found: of one that ships (builtin:MODEL/TASK),
    where nothing is written, or of another tool's, which must not be there yet."""
    seeds: Annotated[int, Interval(le=1000)] = SEEDS
    """Circuits of other seeds that `stability` compares; more of them narrow its interval."""
    more: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also what papers of 2026 ask: rewrites, damage off target, cheap baselines of the same
    size, other circuits; they count in the verdict."""
    skip: tuple[str, ...] = ()
    """Parts of the suite to leave out, such as stability and controls, which prune again."""
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

        if self.circuit.is_file():
            return self._foreign()
        if self.minimality:
            circuit = Circuit.load(self.circuit)
            model = load(self.model or circuit.model_source)
            return {"task": circuit.task} | recertify(model, circuit).as_json()
        place = place_of(self.circuit, self.output, "verification")
        circuit = Circuit.load(place)
        model = load(self.model or circuit.model_source)
        found = verify(
            model,
            circuit,
            quick=self.quick,
            seed=self.seed,
            corpus=self.corpus,
            task=self.task,
            seeds=self.seeds,
            folder=place,
            parts=self._parts(),
        )
        found.save(place)
        return found.as_json()

    def _parts(self) -> "Mapping[str, Part]":
        """The parts of the suite that are run."""
        from lacewing.verification.suite import parts_without

        return parts_without(self.skip, self.more)

    def _foreign(self) -> dict[str, Any]:
        """Verify a circuit of another tool."""
        from lacewing.interop.foreign import foreign_circuit
        from lacewing.model.store import load
        from lacewing.verification.verify import verify

        if not self.model or not self.task:
            raise ConfigError(
                f"{self.circuit} is a file of another tool: say with --model and --task which "
                "model it was found in, and for what"
            )
        if self.output:
            artifacts.check_free(self.output)
        model = load(self.model)
        search = OPEN_SEARCH if model.is_open else PruneConfig()
        config = replace(search, target_loss=self.target_loss, seed=self.seed)
        circuit = foreign_circuit(self.circuit, model, self.task, config, corpus=self.corpus)
        if self.output:
            circuit.save(self.output)
        found = verify(
            model,
            circuit,
            corpus=self.corpus,
            task=self.task,
            folder=self.output,
            parts=self._parts(),
            quick=self.quick,
            seed=self.seed,
            seeds=self.seeds,
        )
        if self.output:
            found.save(self.output)
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

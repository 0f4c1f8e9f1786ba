"""`lacewing explain`: what each node means, found, scored and tested."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lacewing.cli.flags import Json, Model
from lacewing.cli.places import place_of
from lacewing.errors import ConfigError


@dataclass(frozen=True)
class Explain:
    """Say what the nodes of a circuit, or some nodes of a model, mean, and how sure that is."""

    circuit: Path | None = None
    """Folder of a circuit, or builtin:MODEL/TASK[/KIND]; all its nodes are explained, and tested by
    interventions."""
    model: Model | None = None
    """The model of --nodes; with --circuit, where its model is now, if it was moved."""
    nodes: tuple[str, ...] = ()
    """Nodes of --model, such as 0.mlp_neuron.12; with --circuit, only these of its nodes."""
    corpus: str | None = None
    """Text to explain on; by default the model's corpus without its taught lines."""
    tokens: int = 200_000
    """How many tokens of it, at most."""
    language: str = "python"
    """What the text is: python, english, or a language that was registered."""
    pairs: int = 32
    """Pairs of the circuit's prompts that the causal tests run on."""
    causal: Annotated[bool, tyro.conf.FlagCreatePairsOff] = True
    """Test the nodes of a circuit by interventions."""
    records: Path | None = None
    """Keep the activations in this folder too, in delphi's layout."""
    seed: int = 0
    """Seeds every draw."""
    output: Path | None = None
    """Folder for a copy of the circuit, with explanations.json; of one that ships."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Explain, and save explanations.json beside a circuit."""
        from lacewing.circuit.circuit import Circuit
        from lacewing.explain import labels
        from lacewing.explain.explain import explain
        from lacewing.explain.records import record
        from lacewing.model.store import load

        if self.circuit is None and not self.nodes:
            raise ConfigError(
                "say what to explain: --circuit DIR, or --model MODEL --nodes NODE ..."
            )
        if self.circuit is None and self.model is None:
            raise ConfigError("--nodes needs the model they are of: add --model MODEL")
        if self.tokens < 1:
            raise ConfigError(f"--tokens must be at least 1, not {self.tokens}")
        place = None
        if self.circuit is not None:
            place = place_of(self.circuit, self.output, labels.FILE)
        circuit = None if place is None else Circuit.load(place)
        source = self.model or (circuit.model_source if circuit else "")
        model = load(source)
        found = explain(
            model,
            circuit,
            self.nodes,
            corpus=self.corpus,
            tokens=self.tokens,
            language=self.language,
            pairs=self.pairs,
            seed=self.seed,
            causal=self.causal,
            quiet=False,
        )
        if self.records is not None:
            record(model, found.text, [e.node for e in found.nodes], self.records, quiet=False)
        result = found.as_json()
        if place is not None:
            result["file"] = str(labels.save(place, result))
        return result

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """One block a node, then the shares."""
        lines = []
        for row in result["nodes"]:
            verdict = row["verdict"] or "not tested"
            if row["f1"] is None:
                lines.append(f"{row['node']:<20} no explanation: {row.get('why_not', '')}")
                continue
            low, high = row["card"]["ci95"]["f1"]
            control = row["card"]["best_control"]["name"]
            lines.append(
                f"{row['node']:<20} F1 {row['f1']:.2f} [{low:.2f}, {high:.2f}], Pearson "
                f"{row['pearson']:.2f}, {control} {row['control']:.2f}; {verdict}"
            )
            good = row["card"]["described"]
            lines.append(f"    {row['explanation'] if good else 'no good explanation'}")
            if row.get("why_not"):
                lines.append(f"    {row['why_not']}")
        count = len(result["nodes"])
        lines.append(
            f"{count} nodes: {result['explained']:.0%} explained beyond every control, "
            f"{result['described']:.0%} described, {result['supported']:.0%} supported causally; "
            f"{result['seconds_per_node']:.2f} s a node"
        )
        program = result["listing"]
        if program is not None:
            low, high = program["program_accuracy_ci95"]
            lines.append(
                f"the listing as a program: {program['program_accuracy']:.1%} right "
                f"[{low:.1%}, {high:.1%}] of {program['prompts']} prompts, the circuit "
                f"{program['circuit_accuracy']:.1%}; {program['with_line']} of "
                f"{program['nodes']} nodes have a line"
            )
        return "\n".join(lines)

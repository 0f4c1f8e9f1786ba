"""A circuit as a listing, one line a node, and what the listing is worth as a program.

    0.attn_in.12  = 3.1 where tok[0] in {"('", ...} else -0.2      -> 0.attn_v.7 (+)
    0.attn_v.7    = ...

Run as a program, every node's value is what its line says of the text, and nothing is computed from
the nodes before it: the answer follows from the lines of the last site alone. `hybrid` keeps the
model's own computation for nodes without a line. Nodes without one have their ablation value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lacewing.explain.change import Change
from lacewing.explain.library import Library
from lacewing.explain.node import Explanation
from lacewing.explain.stage import Stage
from lacewing.explain.validate import CausalCard, Hypothesis, claim_of
from lacewing.statistics import wilson


@dataclass(frozen=True)
class Listing:
    """The lines of a circuit and how well they do its task."""

    lines: tuple[str, ...]
    scores: Mapping[str, Any]
    """Accuracy, loss and agreement with the circuit on the second half of the pairs."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"lines": list(self.lines), **self.scores}


def listing(
    stage: Stage,
    library: Library,
    explanations: Sequence[Explanation],
    values: Mapping[str, Float[np.ndarray, " token"]],
    cards: Mapping[str, CausalCard],
    seed: int = 0,
) -> Listing:
    """The listing of a circuit, run on its task.

    Args:
        stage: The circuit on its prompts.
        library: Of the natural text.
        explanations: Of its nodes; those with a predicate of F1 0.5 or more get a line.
        values: The nodes' values over the natural text.
        cards: What the causal tests found; a hypothesis that they support is the node's line.
        seed: Passed on.
    """
    own = [e for e in explanations if e.firing and e.card and e.card.described]
    edits, lines = [], []
    for found in own:
        assert found.firing is not None
        card = cards.get(found.node)
        said = Hypothesis(found.firing, found.predicate, found.opposite)
        if card is not None and card.verdict == "supported" and card.hypothesis is not None:
            said = card.hypothesis
        claim = claim_of(stage, library, found.node, said, values[found.node], seed)
        edits.append(Change(found.node, claim.expected, stage.there))
        off = claim.expected[stage.there & ~claim.active]
        rest = float(off.mean()) if len(off) else 0.0
        reads = _reads(stage, found.node)
        effect = ", ".join(f"{node} ({'+' if w > 0 else '-'})" for node, w in reads)
        against = f", against it where {said.opposite}" if said.opposite.clauses else ""
        lines.append(
            f"{found.node:<20} = {claim.on:+.3g} where {said.predicate}{against}, else {rest:+.3g}"
            f"   -> {effect or 'the answer'}"
        )
    covered = {found.node for found in own}
    order = {node: i for i, node in enumerate(stage.circuit.node_names())}
    lines += [f"{n:<20} = its mean   # no explanation" for n in order if n not in covered]
    lines.sort(key=lambda line: order[line.split()[0]])
    still = [
        Change(node, _constant(stage, node), stage.there) for node in order if node not in covered
    ]
    return Listing(tuple(lines), _scores(stage, [*edits, *still], edits, own))


def _constant(stage: Stage, node: str) -> float:
    key, _, channel = node.rpartition(".")
    return 0.0 if stage.circuit.ablation == "zero" else float(stage.model.means[key][int(channel)])


def _reads(stage: Stage, node: str) -> list[tuple[str, float]]:
    """The kept nodes that read a node, with the sign of the weight; of ours alone, as few do."""
    if stage.whole.is_open:
        return []
    key, _, channel = node.rpartition(".")
    layer, _, site = key.partition(".")
    found = []
    for family, pairs in stage.circuit.edges.items():
        where, _, ends = family.partition(".")
        source, target = ends.split("-")
        if (where, source) == (layer, site):
            from lacewing.model.weights import writer

            weight = writer(stage.whole.ours, f"{layer}.{target}")[0]
            for s, d in pairs:
                if int(s) == int(channel):
                    found.append((f"{layer}.{target}.{int(d)}", float(weight[int(d), int(s)])))
    return found


def _scores(
    stage: Stage,
    program: Sequence[Change],
    hybrid: Sequence[Change],
    own: Sequence[Explanation],
) -> dict[str, Any]:
    """What the program and the hybrid do on pairs that nothing was calibrated on."""
    test = slice(2 * stage.half, None)
    circuit = stage.margins[test]
    found: dict[str, Any] = {
        "nodes": stage.circuit.n_nodes,
        "with_line": len(own),
        "prompts": len(circuit),
        "circuit_accuracy": float((circuit > 0).mean()),
        "circuit_loss": float(stage.full[stage.half :].mean()),
    }
    for name, edits in (("program", program), ("hybrid", hybrid)):
        margin = stage.margin(edits)[test]
        right = margin > 0
        low, high = wilson(int(right.sum()), len(right))
        found |= {
            f"{name}_accuracy": float(right.mean()),
            f"{name}_accuracy_ci95": [low, high],
            f"{name}_loss": float(stage.losses(edits)[stage.half :].mean()),
            f"{name}_agreement": float((right == (circuit > 0)).mean()),
        }
    return found

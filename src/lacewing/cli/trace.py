"""`lacewing trace`: which nodes at which tokens carried an answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing import artifacts
from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lacewing.model.store import Model as AnyModel

SHOWN = 20
"""Nodes in the table; --json has all."""


@dataclass(frozen=True)
class Trace:
    """Trace one answer: which nodes at which tokens carried it against its rival."""

    prompt: tyro.conf.Positional[str]
    """Any text."""
    model: Model
    """Run folder, builtin:taught-sparse, :dense, :small or :tiny, or hf:FOLDER_OR_NAME."""
    answer: str | None = None
    """One token; by default the likeliest."""
    rival: str | None = None
    """One token; by default the likeliest other."""
    share: Annotated[float, Interval(gt=0, le=1)] = 0.9
    """Of the logit difference that the kept nodes explain."""
    partner: str | None = None
    """A prompt of as many tokens: what each node would take away with its value there."""
    nodes: Annotated[int, Interval(ge=1, le=500)] = 24
    """Kept of a model that is not lacewing's own."""
    check: Annotated[int, Interval(ge=0, le=10**5)] = 0
    """Random nodes to ablate, to see how well effects in such a model are predicted."""
    graph: Path | None = None
    """File for an attribution graph, as circuit-tracer's and Neuronpedia's viewers read it."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Trace."""
        from lacewing.model.store import load

        model = load(self.model)
        result = self._open(model) if model.is_open else self._ours(model)
        if self.graph is not None:
            from lacewing.viewer.exports.answer import answer_graph

            artifacts.write_json(self.graph, answer_graph(result, model))
        return result

    def _ours(self, model: "AnyModel") -> dict[str, Any]:
        """Exact, with what is not linear held."""
        from lacewing.trace.trace import trace

        ends = self.answer, self.rival
        return trace(model, self.prompt, *ends, self.share, self.partner).as_json()

    def _open(self, model: "AnyModel") -> dict[str, Any]:
        """Attributed, with measured error."""
        import torch

        from lacewing.trace.open import open_trace
        from lacewing.trace.trace import pair_ids, prompt_ids

        tokens = prompt_ids(model, self.prompt)
        with torch.inference_mode():
            logits = model.network(torch.tensor([tokens]))[0, -1]
        ends = pair_ids(model, logits, self.answer, self.rival)
        partner = None if self.partner is None else prompt_ids(model, self.partner)
        return open_trace(
            model, tokens, *ends, nodes=self.nodes, partner=partner, checked=self.check
        ).as_json()

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The nodes that carried most, and how much all of them explain."""
        words = result["tokens"]
        rows = [
            [
                n["node"],
                f"{n['token']} {words[n['token']]!r}",
                f"{n['value']:.2f}",
                f"{n['effect']:+.2f}",
            ]
            for n in result["nodes"][:SHOWN]
        ]
        table = Table(["node", "at token", ">value", ">nats"], rows)
        if "sources" not in result:
            return under(table, *_attributed(result))
        more = len(result["nodes"]) - len(rows)
        sources = result["sources"]
        tokens = sorted(enumerate(sources["tokens"]), key=lambda part: -abs(part[1]))[:4]
        looks = [
            f"head {k['layer']}.{k['head']} at {words[k['query']]!r} looks at {words[k['key']]!r} "
            f"({k['share']:.0%})"
            for k in result["looks"][:3]
        ]
        return under(
            table,
            *([f"and {more:,} more"] if more > 0 else []),
            f"{result['answer']!r} against {result['rival']!r}: {result['difference']:+.3f} nats, "
            f"of which {len(result['nodes']):,} of {result['live']:,} nodes explain "
            f"{result['completeness']:.1%} ({result['explained']:+.3f}); with all others at their "
            f"means the model gives {result['measured']:+.3f}",
            "from "
            + ", ".join(f"{words[t]!r} {nats:+.2f}" for t, nats in tokens)
            + f"; positions {sum(sources['positions']):+.2f}, biases {sources['biases']:+.2f}, "
            f"bigram {sources['bigram']:+.2f}",
            *looks,
        )


def _attributed(result: dict[str, Any]) -> list[str]:
    """What is said of an answer of another's model."""
    found = result["check"]
    lines = [
        f"{result['answer']!r} against {result['rival']!r}: {result['difference']:+.3f} nats; an "
        "effect is what ablating the node to its mean over text should take away"
    ]
    if not found:
        return [*lines, "how well that is predicted was not measured: --check 200"]
    for one in found:
        low, high = one["interval"]
        rules = "holding " + ", ".join(one["rules"]) if one["rules"] else "attribution patching"
        lines.append(
            f"over {one['nodes']} random nodes, {rules}: predicted and measured effects correlate "
            f"{one['correlation']:.2f} [{low:.2f}, {high:.2f}]"
        )
    return lines

"""`lacewing trace`: which nodes at which tokens carried an answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing.cli.flags import Json, Model
from lacewing.cli.tables import Table, under

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 20
"""Nodes in the table; --json has all."""


@dataclass(frozen=True)
class Trace:
    """Trace one answer: which nodes at which tokens carried it against its rival."""

    prompt: tyro.conf.Positional[str]
    """Any text."""
    model: Model
    """Run folder, or builtin:sparse, :dense, :small or :tiny."""
    answer: str | None = None
    """One token; by default the likeliest."""
    rival: str | None = None
    """One token; by default the likeliest other."""
    share: Annotated[float, Interval(gt=0, le=1)] = 0.9
    """Of the logit difference that the kept nodes explain."""
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Trace."""
        from lacewing.model.store import load
        from lacewing.trace.trace import trace

        found = trace(load(self.model), self.prompt, self.answer, self.rival, self.share)
        return found.as_json()

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
        more = len(result["nodes"]) - len(rows)
        sources = result["sources"]
        tokens = sorted(enumerate(sources["tokens"]), key=lambda part: -abs(part[1]))[:4]
        looks = [
            f"head {k['layer']}.{k['head']} at {words[k['query']]!r} looks at {words[k['key']]!r} "
            f"({k['share']:.0%})"
            for k in result["looks"][:3]
        ]
        return under(
            Table(["node", "at token", ">value", ">nats"], rows),
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

"""`lacewing trace`: which nodes at which tokens carried an answer."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Interval

from lacewing import artifacts
from lacewing.cli.flags import AnyModel, Json
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lacewing.model.store import Model as Loaded

SHOWN, GROUPS, HEADS, PARTS = 20, 4, 3, 6
"""Nodes in the table, and groups, heads and parts of the model under it; --json has all."""


@dataclass(frozen=True)
class Trace:
    """Trace one answer: which nodes at which tokens carried it against its rival."""

    prompt: tyro.conf.Positional[str]
    """Any text."""
    model: AnyModel
    answer: str | None = None
    """One token; by default the likeliest."""
    rival: str | None = None
    """One token; by default the likeliest other."""
    share: Annotated[float, Interval(gt=0, le=1)] = 0.9
    """Of the logit difference that the kept nodes explain."""
    partner: str | None = None
    """A prompt of as many tokens: what each node would take away with its value there."""
    find_partner: bool = False
    """Look for one: the likely change of one token that turns the answer most."""
    circuits: Path = field(default_factory=Path)
    """A folder above circuits: what lacewing explain said of nodes there is told of them."""
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

        if self.partner is not None and self.find_partner:
            raise ConfigError("--partner names a prompt and --find-partner looks for one: give one")
        if not self.circuits.is_dir():
            raise ConfigError(f"--circuits {self.circuits} is no folder: name one above circuits")
        model = load(self.model)
        result = self._traced(model)
        if self.graph is not None:
            from lacewing.viewer.exports.answer import answer_graph

            artifacts.write_json(self.graph, answer_graph(result, model))
        return result

    def _traced(self, model: "Loaded") -> dict[str, Any]:
        """Of our own models exact, with what is not linear held; else attributed."""
        import torch

        from lacewing.trace.hints import hints
        from lacewing.trace.open import open_trace
        from lacewing.trace.open_views import open_views
        from lacewing.trace.partner import find_partner, given_partner
        from lacewing.trace.trace import pair_ids, prompt_ids, trace
        from lacewing.viewer.folder import read
        from lacewing.viewer.known import explained, known, named

        tokens = prompt_ids(model, self.prompt)
        with torch.inference_mode():
            logits = model.network(torch.tensor([tokens]))[0, -1]
        ends = pair_ids(model, logits, self.answer, self.rival)
        partner = None
        if self.partner is not None:
            partner = given_partner(model, tokens, prompt_ids(model, self.partner), *ends)
        elif self.find_partner:
            partner = find_partner(model, tokens, *ends)
        other = None if partner is None else partner.tokens
        if model.is_open:
            found = open_trace(
                model, tokens, *ends, nodes=self.nodes, partner=other, checked=self.check
            )
            nodes, edges = found.nodes, found.edges
            plain = found.as_json() | open_views(model, tokens, *ends, nodes).as_json()
        else:
            exact = trace(model, self.prompt, *ends, self.share, other)
            nodes, edges, plain = exact.graph.nodes, exact.graph.edges, exact.as_json()
        words = plain["tokens"]
        said = {n: h.as_json(words) for n, h in hints(model, nodes, edges, words).items()}
        meant = known(explained(read(artifacts.real(self.circuits))), model.id)
        pair = {"partner": partner.as_json(model, tokens)} if partner else {}
        return {**plain, **named(plain, meant, said), **pair}

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The nodes that carried most, and how much all of them explain."""
        words = result["tokens"]
        exchanged = [">partner"] if "partner" in result else []
        rows = [
            [
                n["node"],
                f"{n['token']} {words[n['token']]!r}",
                f"{n['value']:.2f}",
                f"{n['effect']:+.2f}",
                *([f"{n['interchange']:+.2f}"] if exchanged else []),
                ("~ " if n.get("label_by") == "hint" else "") + n.get("label", ""),
            ]
            for n in result["nodes"][:SHOWN]
        ]
        table = Table(["node", "at token", ">value", ">nats", *exchanged, "about"], rows)
        named = _named(result)
        if "sources" not in result:
            return under(table, *named, *_attributed(result), *_views(result))
        more = len(result["nodes"]) - len(rows)
        sources = result["sources"]
        tokens = sorted(enumerate(sources["tokens"]), key=lambda part: -abs(part[1]))[:4]
        return under(
            table,
            *([f"and {more:,} more"] if more > 0 else []),
            *named,
            f"{result['answer']!r} against {result['rival']!r}: {result['difference']:+.3f} nats, "
            f"of which {len(result['nodes']):,} of {result['live']:,} nodes explain "
            f"{result['completeness']:.1%} ({result['explained']:+.3f}); with all others at their "
            f"means the model gives {result['measured']:+.3f}",
            "from "
            + ", ".join(f"{words[t]!r} {nats:+.2f}" for t, nats in tokens)
            + f"; positions {sum(sources['positions']):+.2f}, biases {sources['biases']:+.2f}, "
            f"bigram {sources['bigram']:+.2f}",
            *_views(result),
        )


def _views(result: dict[str, Any]) -> list[str]:
    """Where heads looked, and why; and the difference if the model stopped earlier."""
    words, lines = result["tokens"], []
    for k in result["looks"][:HEADS]:
        why = ", ".join(f"{channel} {nats:+.1f}" for channel, nats in k["products"])
        lines.append(
            f"head {k['layer']}.{k['head']} at {words[k['query']]!r} looks at {words[k['key']]!r} "
            f"({k['share']:.0%})" + (f": channels {why}" if why else "")
        )
    lens = result["lens"]
    if lens:
        moved = [
            (abs(now["difference"] - before["difference"]), at)
            for at, (before, now) in enumerate(pairwise(lens), start=1)
        ]
        told = {0} | {at for _, at in sorted(moved, reverse=True)[:PARTS]}
        steps = [f"{lens[at]['after']} {lens[at]['difference']:+.2f}" for at in sorted(told)]
        lines.append("if it stopped after " + ", ".join(steps))
    return lines


def _named(result: dict[str, Any]) -> list[str]:
    """Which nodes say the same, what the marks mean, and what the partner is."""
    lines = []
    for group in result["groups"][:GROUPS]:
        mark = "~ " if group["by"] == "hint" else ""
        some = ", ".join(group["members"][:3])
        more = f" and {left} more" if (left := len(group["members"]) - 3) > 0 else ""
        lines.append(f"alike, {group['effect']:+.2f}: {mark}{group['name']} ({some}{more})")
    if any(n.get("label_by") == "hint" for n in result["nodes"][:SHOWN]):
        lines.append(
            "~ is a hint of this trace alone: the tokens it came from, and those it pushes towards "
            "straight through the unembedding; lacewing explain says more"
        )
    if partner := result.get("partner"):
        changed = ", ".join(
            f"{result['tokens'][at]!r} is {partner['tokens'][at]!r}" for at in partner["changed"]
        )
        lines.append(
            f"on the partner {changed or 'nothing differs'}, and the difference "
            f"{partner['difference']:+.3f}; the column is what each node would take away with its "
            "value there"
        )
    return lines


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

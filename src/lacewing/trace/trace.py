"""Trace one answer of any prompt: which nodes at which tokens carried it against its rival."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lacewing.errors import ConfigError, DataError
from lacewing.model.store import Model
from lacewing.model.transformer import own
from lacewing.trace.answered import Answered, answered, plain_graph
from lacewing.trace.graph import Graph, graph
from lacewing.trace.held import Held, hold
from lacewing.trace.partner import interchange
from lacewing.trace.views import attention, lens

HEADS = 8
"""Looks of heads that are told, at most."""
PRODUCTS = 3
"""Query-key products that are told of each."""


@dataclass(frozen=True)
class Look:
    """Where a head looked, and why."""

    layer: int
    head: int
    query: int
    """Token it looked from."""
    key: int
    """Token it looked at most."""
    share: float
    """Of its attention."""
    products: tuple[tuple[int, float], ...]
    """Channels whose query times key made the score, with nats; largest first."""


@dataclass(frozen=True)
class Trace(Answered):
    """One answer, traced."""

    graph: Graph
    looks: tuple[Look, ...]
    """Of the heads whose values carried most."""
    lens: tuple[tuple[str, float], ...]
    """The logit difference after each part of the model, nats."""
    interchange: tuple[float, ...] | None = None
    """Of each node, what it would take away if it had its value on the partner prompt, nats."""

    @property
    def completeness(self) -> float:
        """Share of the logit difference that the kept nodes explain."""
        return 1 - abs(self.graph.explained - self.graph.difference) / abs(self.graph.difference)

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file or a terminal."""
        found, sources = self.graph, self.graph.sources
        return {
            **self.said(),
            "difference": found.difference,
            "explained": found.explained,
            "completeness": self.completeness,
            "measured": found.measured,
            "live": found.live,
            "sources": {
                "tokens": sources.tokens.tolist(),
                "positions": sources.positions.tolist(),
                "biases": sum(sources.biases.values()),
                "bigram": sources.bigram,
                "output": sources.output,
                "total": sources.total,
            },
            **plain_graph(found.nodes, found.edges, self.interchange),
            "looks": [vars(look) for look in self.looks],
            "lens": [{"after": name, "difference": value} for name, value in self.lens],
        }


def trace(
    model: Model,
    prompt: str,
    answer: str | int | None = None,
    rival: str | int | None = None,
    share: float = 0.9,
    partner: str | Sequence[int] | None = None,
) -> Trace:
    r"""Say which nodes at which tokens carried an answer against its rival.

    Args:
        model: One of lacewing's own.
        prompt: Any text.
        answer: One token, by its text or its id; by default the likeliest.
        rival: One token; by default the likeliest other.
        share: Of the logit difference that the kept nodes have to explain, in (0, 1].
        partner: A prompt of as many tokens, or these, for interchange.

    Raises:
        ConfigError: the model is another's, or answer and rival are the same.
        DataError: a prompt that is empty or too long, or an answer of several tokens.

    Example:
        >>> found = trace(load("builtin:taught-tiny"), "for x in range(3):\n    if x", " ==", "(")
        >>> abs(found.graph.sources.total - found.graph.difference) < 1e-4
        True
    """
    network = own(model.network, "tracing an answer")
    if not 0 < share <= 1:
        raise ConfigError(f"--share must be in (0, 1], not {share:g}")
    ids = prompt_ids(model, prompt)
    held = hold(network, ids)
    chosen, other = pair_ids(model, held.logits, answer, rival)
    found = graph(model, held, chosen, other, share)
    return Trace(
        **answered(model, ids, chosen, other, held.logits),
        graph=found,
        looks=tuple(_looks(held, found)),
        lens=tuple(lens(held, chosen, other)),
        interchange=None
        if partner is None
        else interchange(
            model,
            found.nodes,
            held.effects(chosen, other)[0],
            ids,
            prompt_ids(model, partner) if isinstance(partner, str) else partner,
        ),
    )


def prompt_ids(model: Model, prompt: str) -> tuple[int, ...]:
    """A prompt as tokens.

    Raises:
        DataError: there are none, or too many.
    """
    ids, most = model.tokenizer.encode(prompt), model.network.config.context
    if not 0 < len(ids) <= most:
        raise DataError(f"the prompt has {len(ids)} tokens; this model takes 1 to {most}")
    return tuple(ids)


def answer_ids(
    model: Model, prompt: str, answer: str, rival: str
) -> tuple[tuple[int, ...], int, int]:
    """A prompt and its two answers as tokens.

    Raises:
        DataError: the prompt is empty or too long, or an answer is not one token.
    """
    return prompt_ids(model, prompt), _single(model, answer), _single(model, rival)


def pair_ids(
    model: Model, logits: Tensor, answer: str | int | None, rival: str | int | None
) -> tuple[int, int]:
    """Token ids of the answer and its rival; the likeliest where none is named."""
    likely = logits.topk(2).indices.tolist()
    named = [None if text is None else _single(model, text) for text in (answer, rival)]
    chosen = named[0] if named[0] is not None else next(t for t in likely if t != named[1])
    other = named[1] if named[1] is not None else next(t for t in likely if t != chosen)
    return chosen, other


def _single(model: Model, text: str | int) -> int:
    if isinstance(text, int):
        if not 0 <= text < (size := model.network.config.vocab_size):
            raise DataError(f"there is no token {text}: this model knows {size}")
        return text
    ids: Sequence[int] = model.tokenizer.encode(text)
    if len(ids) != 1:
        pieces = " ".join(repr(model.tokenizer.token(id)) for id in ids[:8])
        raise DataError(
            f"{text[:40]!r} is {len(ids)} tokens of this model ({pieces}): name an answer of one"
        )
    return ids[0]


def _looks(held: Held, found: Graph) -> list[Look]:
    """Of the heads whose kept values carry most: from where they looked where."""
    size = held.network.config.d_head
    carried: dict[tuple[int, int, int], float] = {}
    for (source, target), weight in found.edges.items():
        key, _, token = target.partition("@")
        if ".attn_out." not in key or ".attn_v." not in source:
            continue
        place, _, channel = source.partition("@")[0].split(".")
        look = (int(place), int(channel) // size, int(token))
        carried[look] = carried.get(look, 0.0) + abs(weight)
    looks = []
    for layer, head, query in sorted(carried, key=lambda look: -carried[look])[:HEADS]:
        pattern, products = attention(held, layer, head, query)
        there = int(pattern.argmax())
        looks.append(
            Look(layer, head, query, there, float(pattern[there]), tuple(products[:PRODUCTS]))
        )
    return looks

"""What is measured where tasks are being decided: one recorded pass for all circuits.

    the whole model runs once over some windows, and only what a circuit keeps is recorded
    each circuit runs alone, compiled, on the beginnings that end at its own places

Of every place: the logit difference of the whole model and of the circuit alone, what the kept
heads look at, and the values of the kept nodes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.model.hooks import record
from lacewing.model.layers import sparse_products
from lacewing.model.protocol import Head
from lacewing.model.store import Model
from lacewing.model.transformer import own
from lacewing.watch.places import Places, Rule, decided

MOST = 24
"""Places of one circuit that are measured in one look; more are counted, and thinned."""
LOOKS = ("sink", "self", "before", "distance", "highest")
"""What is said of where a head looks: the share of the sink, of the token itself, of the one
before, the mean distance over the position, and the largest share."""

Also = Callable[[Tensor, Mapping[str, Tensor], Tensor], None]
"""What else wants to see a pass: logits, recorded sites, lengths."""


@dataclass(frozen=True)
class Measured:
    """One circuit's places of one look, and what was measured there."""

    places: Places
    found: int
    """Places there were, before thinning."""
    alone: Float[Tensor, " sample"]
    """Logit difference of the circuit alone, nats."""
    attention: Float[Tensor, "sample head 5"]
    """Of every kept head, LOOKS."""
    nodes: Float[Tensor, "sample channel"]
    """Value of every kept node."""

    @property
    def agreement(self) -> float:
        """Share of the places at which the circuit alone gives the whole model's answer."""
        return float(((self.alone > 0) == (self.places.difference > 0)).float().mean())

    @property
    def carried(self) -> float:
        """Share of the logit difference that the circuit has alone, by least squares."""
        whole = self.places.difference
        return float((self.alone * whole).sum() / whole.square().sum().clamp(min=1e-9))

    def thinned(self, most: int) -> "Measured":
        """At most so many places, evenly over the text."""
        count = len(self.places)
        if count <= most:
            return self
        chosen = torch.arange(most) * count // most
        parts = (part[chosen] for part in (self.alone, self.attention, self.nodes))
        return Measured(self.places.thinned(most), self.found, *parts)


def joined(looks: Sequence[Measured]) -> Measured:
    """The places of several looks as one; a window's number is that in its own look."""
    parts = [
        torch.cat([getattr(look, name) for look in looks])
        for name in ("alone", "attention", "nodes")
    ]
    columns = Places.__dataclass_fields__
    places = Places(*(torch.cat([getattr(look.places, c) for look in looks]) for c in columns))
    return Measured(places, sum(look.found for look in looks), *parts)


def kept_heads(circuit: Circuit, d_head: int) -> list[Head]:
    """The heads of which a query, key or value channel is kept."""
    heads: set[Head] = set()
    for key, channels in circuit.nodes.items():
        layer, _, site = key.partition(".")
        if site in ("attn_q", "attn_k", "attn_v"):
            heads |= {(int(layer), int(channel) // d_head) for channel in channels}
    return sorted(heads)


class Prepared:
    """A circuit, ready to run alone in a model that may be another version of its own."""

    def __init__(self, model: Model, circuit: Circuit) -> None:
        """Compile it; what is needed of the weights is copied.

        Raises:
            ConfigError: the model is not one of lacewing's own.
            DataError: the circuit has no test pairs.
        """
        network = own(model.network, "watching text")
        values = ablation_values_of(model, circuit.ablation)
        self.circuit, self.tokenizer = circuit, model.tokenizer
        self.rule = Rule.of(circuit, model.tokenizer)
        self.wanted = torch.unique(self.rule.answers)
        self.heads = kept_heads(circuit, network.config.d_head)
        self.sites = {
            key: torch.from_numpy(channels.astype(np.int64))
            for key, channels in circuit.nodes.items()
            if len(channels)
        }
        cut = cut_model(model, circuit, circuit.ablation).ours
        self.compiled = CompiledCircuit(cut, masks_of(network, circuit.nodes), values)

    @property
    def recorded(self) -> set[str]:
        """The sites that have to be recorded for it."""
        patterns = {f"{layer}.{name}" for layer, _ in self.heads for name in ("attn_q", "attn_k")}
        return self.sites.keys() | patterns

    def alone(
        self, tokens: Int64[Tensor, "sample token"], last: Int64[Tensor, " sample"]
    ) -> Float[Tensor, "sample vocab"]:
        """Logits of the circuit alone at the ends of some beginnings; of answers only."""
        prefixes = UniquePrefixes.of(tokens, last)
        logits = self.compiled.logits(prefixes, wanted=self.wanted)
        return calibrated(logits, self.circuit.calibration)


class Watching:
    """The pass over a text that all circuits share."""

    def __init__(self, model: Model, circuits: Sequence[Circuit]) -> None:
        """Prepare the circuits.

        Raises:
            ConfigError: the model is not one of lacewing's own.
            DataError: a circuit has no test pairs.
        """
        self.model, self.network = model, own(model.network, "watching text")
        self.prepared = [Prepared(model, circuit) for circuit in circuits]
        self.sites = sorted(set().union(*(one.recorded for one in self.prepared)))

    @torch.no_grad()
    def look(
        self,
        tokens: Int64[Tensor, "batch token"],
        lengths: Int64[Tensor, " batch"],
        also: Also | None = None,
        sites: Sequence[str] = (),
    ) -> list[Measured]:
        """What every circuit does in some windows of text.

        Args:
            tokens: The windows, padded on the right.
            lengths: Tokens of each.
            also: What else wants to see the pass.
            sites: What it wants to have recorded.
        """
        with sparse_products(self.network), record(self.network, {*self.sites, *sites}) as seen:
            logits = self.network(tokens)
        if also is not None:
            also(logits, seen, lengths)
        text, highest = torch.arange(tokens.shape[1]) < lengths[:, None], logits.amax(-1)
        return [
            self._measured(one, decided(logits, tokens, text, one.rule, highest), tokens, seen)
            for one in self.prepared
        ]

    def _measured(
        self, one: Prepared, found: Places, tokens: Tensor, seen: Mapping[str, Tensor]
    ) -> Measured:
        places = found.thinned(MOST)
        row, at = places.row, places.position
        alone = torch.zeros(0)
        if len(places):
            logits = one.alone(tokens[row], at)
            ends = (logits.gather(1, end[:, None])[:, 0] for end in (places.first, places.second))
            alone = next(ends) - next(ends)
        nodes = [seen[key][row, at][:, channels] for key, channels in one.sites.items()]
        values = torch.cat(nodes, dim=1) if nodes else torch.zeros(len(row), 0)
        return Measured(places, len(found), alone, self._looks(one, places, seen), values)

    def _looks(self, one: Prepared, places: Places, seen: Mapping[str, Tensor]) -> Tensor:
        """Where the kept heads look, [sample head channel]."""
        if not one.heads or not len(places):
            return torch.zeros(len(places), len(one.heads), len(LOOKS))
        at = places.position
        patterns = self.network.attention(seen, at, one.heads, places.row)
        return torch.stack([_said(patterns[head], at) for head in one.heads], dim=1)


def _said(pattern: Float[Tensor, "sample row"], at: Int64[Tensor, " sample"]) -> Tensor:
    """LOOKS of some attention patterns, whose last column is the sink."""
    seen = pattern[:, :-1]
    away = (at[:, None] - torch.arange(seen.shape[1])).clamp(min=0)
    distance = (seen * away).sum(1) / at.clamp(min=1)
    own_share, before = (seen.gather(1, (at - back).clamp(min=0)[:, None])[:, 0] for back in (0, 1))
    return torch.stack([pattern[:, -1], own_share, before, distance, seen.amax(1)], dim=1)

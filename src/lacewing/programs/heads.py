"""The attention of one layer as lines: a pattern per live head, and the rows of what is written.

A head is live if one of its queries, keys or values is kept. With a sink a pattern's rows sum to
less than one, so constant values pass through the pattern's mass, and a head without anything live
writes a function of the position; without sinks both are constants.
"""

from collections.abc import Mapping

import numpy as np

from lacewing.circuit.edges import Nodes
from lacewing.model.transformer import Block
from lacewing.programs.lines import Line, Look, Table, Term
from lacewing.programs.rivals import Bounds, Rows


class Heads:
    """The heads of one layer."""

    def __init__(
        self,
        layer: int,
        block: Block,
        nodes: Nodes,
        ablation_values: Mapping[str, np.ndarray],
        bounds: Bounds,
        weight: np.ndarray,
        bias: np.ndarray,
    ) -> None:
        """Make the patterns.

        Args:
            layer: Which.
            block: Its block.
            nodes: The circuit's.
            ablation_values: Per site key.
            bounds: Of every name; the patterns' masses are added.
            weight: Output matrix, [row, value channel].
            bias: Of the output.
        """
        self.layer, self.config, self.nodes, self.ablation_values = (
            layer,
            block.config,
            nodes,
            ablation_values,
        )
        self.weight, self.bias, self.bounds = weight, bias, bounds
        self.sinks = None if block.sink is None else block.sink.detach().double().numpy()
        self.lines: list[Line] = []
        self.terms: list[Term] = []
        self.columns: list[np.ndarray] = []
        self.constant = bias.copy()
        if len(nodes[f"{layer}.attn_out"]):
            for head in range(self.config.n_head):
                self._head(head)

    def rows(self) -> Rows:
        """What attention writes, over values, masses and positions."""
        columns = np.stack(self.columns, 1) if self.columns else np.zeros((len(self.bias), 0))
        return Rows(self.terms, columns, self.constant)

    def _head(self, head: int) -> None:
        width = self.config.d_head
        channels = np.arange(head * width, (head + 1) * width)
        live = {
            site: set(self.nodes[f"{self.layer}.{site}"].tolist()) & set(channels.tolist())
            for site in ("attn_q", "attn_k", "attn_v")
        }
        values = sorted(live["attn_v"])
        still = np.array([c for c in channels if c not in live["attn_v"]], dtype=int)
        constant = self.weight[:, still] @ self.ablation_values[f"{self.layer}.attn_v"][still]
        if self.sinks is None and not values:
            self.constant = self.constant + constant
            return
        name = f"look {self.layer}.{head}"
        look = self._look(head, name, channels, live["attn_q"], live["attn_k"])
        if not any(live.values()):
            self._still(head, look, constant)
            return
        self.lines.append(look)
        for channel in values:
            self._add(Term(1.0, f"{self.layer}.attn_v.{channel}", name), self.weight[:, channel])
        if self.sinks is None:
            self.constant = self.constant + constant
        else:
            self._add(Term(1.0, None, name), constant)

    def _add(self, term: Term, column: np.ndarray) -> None:
        self.terms.append(term)
        self.columns.append(column)

    def _still(self, head: int, look: Look, constant: np.ndarray) -> None:
        """A head with nothing live: the mass of its pattern, by position."""
        name = f"mass {self.layer}.{head}"
        seen = np.arange(1, self.config.context + 1)
        mass = seen / (seen + np.exp((look.sink or 0.0) - look.constant))
        self.lines.append(Table(name, mass, by_position=True))
        self.bounds[name] = float(mass.min()), float(mass.max())
        self._add(Term(1.0, name), constant)

    def _look(
        self, head: int, name: str, channels: np.ndarray, queries: set[int], keys: set[int]
    ) -> Look:
        """The pattern of a head; what is the same for all keys counts against a sink only."""
        scale = self.config.d_head**-0.5
        q, k = (self.ablation_values[f"{self.layer}.{site}"] for site in ("attn_q", "attn_k"))
        pairs, by_key, by_query, constant = [], [], [], 0.0
        for c in channels.tolist():
            query, key = f"{self.layer}.attn_q.{c}", f"{self.layer}.attn_k.{c}"
            if c in queries and c in keys:
                pairs.append((scale, query, key))
            elif c in keys:
                by_key.append((float(scale * q[c]), key))
            elif c in queries:
                by_query.append((float(scale * k[c]), query))
            else:
                constant += scale * q[c] * k[c]
        if self.sinks is None:
            return Look(name, tuple(pairs), tuple(by_key), (), 0.0, None)
        return Look(
            name, tuple(pairs), tuple(by_key), tuple(by_query), constant, float(self.sinks[head])
        )

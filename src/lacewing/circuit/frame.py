"""A circuit as tables: a row per node or per edge, with what is known of each."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from lacewing.circuit.certificate import Certificate
from lacewing.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

NODE = ("node", "layer", "site", "channel", "edges_in", "edges_out", "loss_without")
EDGE = ("edge", "layer", "source", "source_channel", "destination", "destination_channel")


@runtime_checkable
class Tabled(Protocol):
    """What of a circuit stands in its tables; `Circuit` is one."""

    @property
    def nodes(self) -> Mapping[str, np.ndarray]:
        """Kept channels of every site key."""

    @property
    def edges(self) -> Mapping[str, np.ndarray]:
        """Source and destination channels of every family."""

    @property
    def certificate(self) -> Certificate | None:
        """The loss without each of its components."""


def node_frame(circuit: Tabled) -> "DataFrame":
    """A row per node, from input to output.

    Columns: `node` (its name), `layer` (missing at the final site), `site`, `channel`, `edges_in`
    and `edges_out` (kept edges that end and start there), `loss_without` (nats without it, from the
    certificate; missing where there is none).

    Raises:
        ConfigError: pandas is not installed.
    """
    into, out = _degrees(circuit.edges)
    proof = circuit.certificate.nodes if circuit.certificate else {}
    rows = []
    for key, kept in circuit.nodes.items():
        layer, site = _split(key)
        for channel in kept.tolist():
            name = f"{key}.{channel}"
            rows.append((name, layer, site, channel, into[name], out[name], proof.get(name)))
    return _frame(rows, NODE)


def edge_frame(circuit: Tabled) -> "DataFrame":
    """A row per edge.

    Columns: `edge` (its name), `layer`, `source` and `destination` (sites), `source_channel` and
    `destination_channel`, `loss_without` as in `node_frame`.

    Raises:
        ConfigError: pandas is not installed.
    """
    proof = circuit.certificate.edges if circuit.certificate else {}
    rows = []
    for family, pairs in circuit.edges.items():
        layer, ends = _split(family)
        source, destination = ends.split("-")
        for start, end in pairs.tolist():
            name = f"{family}.{start}-{end}"
            rows.append((name, layer, source, start, destination, end, proof.get(name)))
    return _frame(rows, (*EDGE, "loss_without"))


def _degrees(edges: Mapping[str, np.ndarray]) -> tuple[Counter[str], Counter[str]]:
    """How many edges end and start at each node, by its name."""
    into: Counter[str] = Counter()
    out: Counter[str] = Counter()
    for family, pairs in edges.items():
        layer, ends = _split(family)
        source, destination = ends.split("-")
        out.update(f"{layer}.{source}.{channel}" for channel in pairs[:, 0].tolist())
        into.update(f"{layer}.{destination}.{channel}" for channel in pairs[:, 1].tolist())
    return into, out


def _split(key: str) -> tuple[int | None, str]:
    """Layer and site of a key; the final site has no layer."""
    layer, _, site = key.partition(".")
    return (int(layer), site) if layer.isdigit() else (None, key)


def _frame(rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> "DataFrame":
    try:
        import pandas
    except ImportError as error:
        raise ConfigError("to_frame needs pandas: pip install pandas") from error
    kinds = {"layer": "Int64", "loss_without": "float64"}
    return pandas.DataFrame(rows, columns=list(columns)).astype(kinds)

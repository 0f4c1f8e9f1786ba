"""The files a circuit can be saved as, for other programs and for people."""

import json

from lacewing.circuit.drawing import drawing
from lacewing.pages.svg import standalone
from lacewing.viewer.exports import graph, text
from lacewing.viewer.session import Session

KINDS = {
    "graph.json": "application/json",
    "wiring.json": "application/json",
    "circuit.dot": "text/vnd.graphviz",
    "circuit.mmd": "text/plain",
    "circuit.svg": "image/svg+xml",
    "edges.csv": "text/csv",
    "nodes.csv": "text/csv",
}
"""Every export and its media type."""


def make(session: Session, name: str, pair: int, member: str) -> bytes:
    """One of the files.

    Raises:
        DataError: there is no such prompt.
    """
    model, circuit = session.model, session.circuit
    if name == "graph.json":
        return json.dumps(graph.prompt_graph(session, pair, member), allow_nan=False).encode()
    if name == "wiring.json":
        return json.dumps(graph.wiring(session), allow_nan=False).encode()
    made = {
        "circuit.dot": text.dot,
        "circuit.mmd": text.mermaid,
        "circuit.svg": lambda model, circuit: standalone(drawing(model, circuit)),
        "edges.csv": text.edges_csv,
        "nodes.csv": text.nodes_csv,
    }
    return made[name](model, circuit).encode()

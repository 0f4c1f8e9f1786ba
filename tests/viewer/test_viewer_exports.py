"""Exports: graphs that both readers take, whose links add up; text; the notebook."""

import copy
import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import lacewing
from lacewing.circuit.circuit import Circuit
from lacewing.viewer.exports import KINDS, make
from lacewing.viewer.exports.graph import cantor
from lacewing.viewer.exports.rules import problems
from lacewing.viewer.exports.text import _cell
from lacewing.viewer.exports.trace import trace
from lacewing.viewer.session import Session
from lacewing.viewer.state import Viewer


@pytest.fixture(params=["planted", "random"])
def session(opened: Viewer, request: pytest.FixtureRequest) -> Session:
    return opened.session(f"circuits-{request.param}")


def tokens_of(session: Session) -> list[int]:
    return session.prompts.tokens[0, : int(session.prompts.last[0]) + 1].tolist()


def test_links_add_up(session: Session) -> None:
    """The direct effects into every node add up to its value, and into a logit to that logit."""
    found, logits = trace(session, tokens_of(session))
    sums: dict[str, float] = defaultdict(float)
    for (_, target), weight in found.links.items():
        sums[target] += weight
    assert found.values
    for name, value in found.values.items():
        assert value == pytest.approx(sums[name], abs=2e-4), name
    answer = int(session.prompts.answer[0])
    shown = found.values[f"logit.{answer}@{len(tokens_of(session)) - 1}"]
    assert float(logits[answer]) == pytest.approx(shown, abs=1e-4)


def test_logits_are_the_circuits(session: Session) -> None:
    """The traced pass is the circuit's own."""
    _, logits = trace(session, tokens_of(session))
    answers = session.answer_pair(0, "clean").circuit.answers
    assert [a.logit for a in answers] == pytest.approx(
        logits[torch.tensor([a.token for a in answers])].tolist(), abs=1e-4
    )


@pytest.mark.parametrize("name", ["graph.json", "wiring.json"])
def test_graphs_are_accepted(session: Session, name: str) -> None:
    """Nothing in our graphs is refused, hidden or crashed on."""
    graph = json.loads(make(session, name, 0, "clean"))
    assert problems(graph) == []
    kinds = {node["feature_type"] for node in graph["nodes"]}
    assert {"cross layer transcoder", "embedding", "logit"} <= kinds
    assert len(graph["links"]) > 3


def test_influence(session: Session) -> None:
    """Influence is cumulative: in (0, 1], and the logits come first."""
    graph = json.loads(make(session, "graph.json", 0, "clean"))
    share = {n["node_id"]: n["influence"] for n in graph["nodes"]}
    assert all(0 < value <= 1 for value in share.values())
    assert 1.0 == max(share.values())


def drop(part: str, key: str) -> Callable[[dict[str, Any]], None]:
    def change(graph: dict[str, Any]) -> None:
        value = graph[part]
        (value[0] if isinstance(value, list) else value).pop(key)

    return change


def set_logit(graph: dict[str, Any]) -> None:
    next(n for n in graph["nodes"] if n["feature_type"] == "logit")["clerp"] = "no number"


def no_layers(graph: dict[str, Any]) -> None:
    for node in graph["nodes"]:
        node["layer"] = "0" if node["feature_type"] != "embedding" else "E"


def set_slug(graph: dict[str, Any]) -> None:
    graph["metadata"]["slug"] = "a b/c"


def loose_link(graph: dict[str, Any]) -> None:
    graph["links"][0]["source"] = "nobody"


@pytest.mark.parametrize(
    "change",
    [
        drop("metadata", "transcoder_list"),
        drop("metadata", "scan"),
        drop("qParams", "sg_pos"),
        drop("nodes", "jsNodeId"),
        drop("nodes", "influence"),
        drop("links", "weight"),
        set_logit,
        no_layers,
        set_slug,
        loose_link,
    ],
)
def test_rules_find_faults(opened: Viewer, change: Callable[[dict[str, Any]], None]) -> None:
    """Each rule of the readers, broken, is found."""
    graph = json.loads(make(opened.session("circuits-planted"), "graph.json", 0, "clean"))
    broken = copy.deepcopy(graph)
    change(broken)
    assert problems(graph) == []
    assert problems(broken) != []


def test_cantor() -> None:
    """Cantor's pairing of small numbers, by hand."""
    assert [0, 1, 2, 3, 4, 5] == [
        cantor(*p) for p in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    ]


def test_text_exports(session: Session) -> None:
    """Graphviz, Mermaid and tables hold every node and edge; the drawing is XML."""
    made = {name: make(session, name, 0, "clean").decode() for name in KINDS}
    for node in session.circuit.node_names():
        assert f'"{node}"' in made["circuit.dot"]
        assert f'["{node}"]' in made["circuit.mmd"]
    edges = list(csv.DictReader(io.StringIO(made["edges.csv"])))
    assert (
        session.circuit.n_edges
        == len(edges)
        == made["circuit.dot"].count('tooltip="+') + made["circuit.dot"].count('tooltip="-')
    )
    rows = csv.DictReader(io.StringIO(made["nodes.csv"]))
    assert session.circuit.node_names() == [row["node"] for row in rows]
    assert ElementTree.fromstring(made["circuit.svg"]).tag.endswith("svg")


def test_no_formula_in_tables() -> None:
    """A cell that a spreadsheet would run is written as text; numbers stay numbers."""
    assert ["'=1+1", "'@x", "a", -2.5] == [_cell(v) for v in ("=1+1", "@x", "a", -2.5)]


class Checker(HTMLParser):
    """Notes tags, and whatever would be fetched or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.risky: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.risky += [tag] if tag in ("script", "iframe", "img", "link", "object") else []
        self.risky += [k for k, _ in attributes if k.startswith("on") or k in ("src", "href")]


def test_notebook(made: Any) -> None:
    """A circuit shows itself as HTML that fetches nothing, runs nothing, and draws every node."""
    circuit = Circuit.load(made / "circuits" / "planted")
    html = circuit._repr_html_()
    seen = Checker()
    seen.feed(html)
    assert [] == seen.risky
    assert circuit.n_nodes == seen.tags.count("circle")
    assert html == lacewing.show(circuit)
    style = html.partition("<style>")[2].partition("</style>")[0]
    selectors = re.findall(r"([^{}]+)\{", style)
    assert all("lacewing-circuit" in s or s.startswith("@media") for s in selectors)


def test_notebook_without_model(made: Any, tmp_path: Any) -> None:
    """Without its model a circuit still shows its numbers, and says why there is no drawing."""
    from dataclasses import replace

    circuit = replace(Circuit.load(made / "circuits" / "planted"), model_source="/nowhere/<b>")
    html = circuit._repr_html_()
    assert "not drawn" in html
    assert "<b>" not in html.partition("not drawn")[2]

"""A real circuit, a real server, a real browser for the tests of the viewer's page.

`quote_nodes.json` holds the nodes that `lacewing prune --model builtin:taught-sparse --task
single_double_quote` found; the prompts are our own. After a change of the builtin model, prune
again and `python tests/viewer/page/conftest.py CIRCUIT` writes it anew; the tests take names of
nodes and edges from what the server measures.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import micro
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.model.sites import site_widths
from lacewing.model.store import load
from lacewing.tasks.pair import Pair
from lacewing.viewer.serve import STATIC

CHROMIUM = Path("/usr/bin/chromium")
HERE = Path(__file__).parent
CALLS = ("print(", "log.debug(", "self.fail(", "warn(", "parser.error(", "raise ValueError(")
PHRASES = ("No reviews", "Unknown name", "Bad value", "Reading the file", "Missing option", "Done")
ENOUGH = 60
"""Nodes and edges whose effects are measured before the tests begin."""
KEPT = Path(__file__).parents[3] / ".pytest_cache" / "screenshots"


def pairs() -> list[Pair]:
    """8 pairs of prompts about which quote closes a string."""
    made = []
    for number in range(8):
        call, phrase = CALLS[number % 6], PHRASES[number % 5]
        before = f"def check(value):\n    count = {number}\n    {call}"
        one, two = (f"{before}{quote}{phrase}" for quote in "\"'")
        made.append(Pair(one, two, '")', "')", source=f"own/{number}.py"))
    return made


@pytest.fixture(scope="session")
def circuit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the quote circuit of builtin:taught-sparse, a smaller one, and a dense one."""
    root = tmp_path_factory.mktemp("served")
    saved = json.loads((HERE / "quote_nodes.json").read_text())
    for name, source, thin in (
        ("quote", "builtin:taught-sparse", 1),
        ("smaller", "builtin:taught-sparse", 2),
        ("dense", "builtin:taught-dense", 3),
    ):
        model = load(source)
        widths = site_widths(model.network.config)
        nodes = {
            key: np.unique([c % width for c in saved.get(key, ())[::thin]]).astype(np.int32)
            for key, width in widths.items()
        }
        answers = tuple(model.tokenizer.single(a) for a in ('")', "')"))
        made = circuit_of(
            model.network,
            nodes,
            model_id=model.id,
            model_source=source,
            task="single_double_quote",
            answers=answers,
            ablation="mean",
            config=PruneConfig(target_loss=0.15),
            losses={"full": 0.1, "circuit": 0.12 if thin == 1 else 0.9},
            pairs=tuple(pairs()),
        )
        made.save(root / name)
    (root / "smaller" / "verification.json").write_text(json.dumps(verification()))
    (root / "smaller" / "certificate.json").write_text(json.dumps(certificate(saved)))
    (root / "smaller" / "explanations.json").write_text(json.dumps(explanations()))
    (root / "frontier.json").write_text(json.dumps(sweep()))
    (root / "emergence.json").write_text(json.dumps(emergence()))
    return root


def explanations() -> dict[str, Any]:
    """What `lacewing explain` leaves, in short: two nodes alike, one with state, one without."""

    def row(node: str, said: str, sentence: str, f1: float, **more: Any) -> dict[str, Any]:
        card = {"ci95": {"f1": [f1 - 0.02, f1 + 0.01]}, "best_control": {"name": "unigram"}}
        plain = {"node": node, "explanation": said, "sentence": sentence, "f1": f1, "pearson": f1}
        plain |= {"control": 0.5, "verdict": "supported", "opposite": None}
        return plain | {"card": card | {"described": f1 >= 0.5}} | more

    opens = row("0.attn_in.248", 'tok[0] in {"(\'", " \'"}', 'Active where "(\'" is read.', 0.97)
    quote = row("0.attn_out.6", 'quote == "\'"', 'Active where the open quote is "\'".', 0.61)
    poor = row("0.attn_in.399", "depth >= 3", "Active in brackets.", 0.31, why_not="F1 is 0.31")
    rows = [opens, opens | {"node": "0.attn_in.328"}, quote, poor]
    alike = {"explanation": opens["explanation"], "sentence": opens["sentence"]}
    groups = [alike | {"nodes": ["0.attn_in.248", "0.attn_in.328"]}]
    return {"schema": "lacewing.explain/1", "language": "python", "nodes": rows, "groups": groups}


def verification() -> dict[str, Any]:
    """What the whole suite leaves, with a test of every outcome."""

    def test(name: str, value: float | None, passed: bool | None, **more: Any) -> dict[str, Any]:
        plain = {"low": None, "high": None, "n": 8, "unit": "nats", "threshold": 0.347}
        plain |= {"at_most": True, "control": None, "control_name": "", "meaning": "in words"}
        return plain | {"name": name, "value": value, "passed": passed} | more

    interval = {"low": 1.6, "high": 2.0, "n": 64}
    control = {"control": 2.5, "control_name": "without the circuit"}
    nonsense = {"unit": "ratio of edges", "at_most": False, "threshold": 5.0}
    return {
        **micro.SHORT_TEST,
        "verdict": "fails: complement.worst, control.nonsense",
        "tests": [
            test("sufficient.mean", 0.2, True, low=0.1, high=0.3),
            test("complement.worst", 1.8, False, **interval, **control),
            test("agree.files", None, None, unit="share", threshold=0.9, at_most=False),
            test("control.nonsense", None, False, **nonsense),
        ],
        "left_out": [{"name": "agree.longer", "reason": "no other corpus"}],
    }


def certificate(saved: dict[str, list[int]]) -> dict[str, Any]:
    """A certificate's form, for the first node."""
    key = next(key for key, nodes in saved.items() if nodes)
    first = f"{key}.{saved[key][0]}"
    plain = {"target_loss": 0.15, "loss": 0.1, "pairs": 8, "minimal": True, "edges": {}}
    return plain | {"nodes": {first: {"loss_without": 0.27, "slack": 0.12}}}


def sweep() -> dict[str, Any]:
    """What a sweep of three models leaves (docs/sweep.md)."""

    def point(label: str, side: str, edges: float | None, *circuits: str) -> dict[str, Any]:
        plain = {"label": label, "side": side, "validation_loss": 2.5, "edges": edges, "seed": 0}
        plain |= {"low": None, "high": None, "nodes": edges, "model": "m", "reason": None}
        return plain | {"circuits": list(circuits), "reached": [f"task_{c}" for c in circuits]}

    narrow = point("narrow", "sparse", 60.0, "quote", "smaller") | {"low": 40.0, "high": 90.0}
    dense = point("dense twin", "dense", 900.0, "dense")
    none = point("wide", "sparse", None) | {"reason": "no task has a circuit"}
    tasks = ["task_quote", "task_smaller"]
    return {"target_loss": 0.15, "tasks": tasks, "points": [narrow, dense, none]}


def emergence() -> dict[str, Any]:
    """What `lacewing emerge` leaves, of three states."""

    def state(step: int, full: float, folder: str | None, nodes: int | None) -> dict[str, Any]:
        plain = {"step": step, "tokens": step * 2048, "validation_loss": 3.0, "full": full}
        plain |= {"nodes": nodes, "edges": nodes, "loss": nodes and 0.1, "folder": folder}
        return plain | {"shared": nodes and 9, "by_chance": nodes and 0.5, "reason": None}

    states = [
        state(10, 0.7, None, None),
        state(90, 0.2, "smaller", 12),
        state(800, 0.1, "quote", 23),
    ]
    return {"task": "single_double_quote", "target_loss": 0.15, "states": states}


@pytest.fixture(scope="session")
def folder(circuit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it that tests may write to."""
    copy = tmp_path_factory.mktemp("written") / "served"
    shutil.copytree(circuit_folder, copy)
    return copy


@pytest.fixture(scope="session")
def server(folder: Path, here: Callable[..., Any]) -> Iterator[str]:
    """The address of a running server over the folder."""
    with here(folder, STATIC) as running:
        yield running.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: the page's tests need Chromium")
    with library.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Let fixtures see whether their test failed."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


FAILED: pytest.StashKey[bool] = pytest.StashKey()


@pytest.fixture
def shown(
    browser: Any, server: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Any]]:
    """Opens a place of the page; no test may end with an error on its console.

    But for a server that is too busy (503), on a machine that does other things: it is asked again.

    Of a test that fails, screenshots are kept in .pytest_cache/screenshots.
    """
    contexts: list[Any] = []
    tabs: list[Any] = []
    complaints: list[str] = []

    def open_page(place: str = "#/", width: int = 1360, height: int = 860, **settings: Any) -> Any:
        base = settings.pop("base", server)
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        context.set_default_timeout(60_000)
        tab = context.new_page()
        tabs.append(tab)
        tab.on("console", lambda m: "503" in m.text or complaints.append(m.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda r: outside(r.url, base) and complaints.append(r.url))
        tab.goto(base + place)
        tab.wait_for_selector("main[data-ready]")
        return tab

    yield open_page
    if request.node.stash.get(FAILED, True):
        KEPT.mkdir(parents=True, exist_ok=True)
        for number, tab in enumerate(tabs):
            tab.screenshot(path=KEPT / f"{request.node.name[:80]}-{number}.png", full_page=True)
    for context in contexts:
        context.close()
    assert complaints == []


def outside(url: str, base: str) -> bool:
    """Whether a request leaves the page's own server or folder."""
    return not url.startswith((base.rsplit("/", 1)[0], "data:", "blob:"))


@dataclass(frozen=True)
class Known:
    """What the tests look at in the quote circuit, whatever the model of the day."""

    edge: str
    """The edge that costs most when it is cut."""
    node: str
    """The value channel that costs most."""
    other: str
    """Another node that matters."""
    names: list[str]
    """All nodes."""
    heads: list[str]
    """Kept heads."""


@pytest.fixture(scope="session")
def measured(server: str) -> Known:
    """The server once the effects that matter are measured, so that no test waits."""
    here = f"{server}api/circuits/quote"
    for _ in range(600):
        answer = httpx.get(f"{here}/effects", timeout=300).json()
        if answer["state"] == "ready" or answer["done"] >= ENOUGH:  # the costliest come first
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"measured only {answer['done']} of {answer['total']} in time")
    circuit = httpx.get(here, timeout=300).json()
    costs = answer["nodes"]
    ranked = sorted(costs, key=lambda name: -costs[name])
    node = next(name for name in ranked if ".attn_v." in name)
    return Known(
        edge=max(answer["edges"], key=answer["edges"].__getitem__),
        node=node,
        other=next(name for name in ranked if name != node),
        names=[n["id"] for n in circuit["nodes"]],
        heads=[head["head"] for head in circuit["heads_kept"]],
    )


@pytest.fixture
def loss() -> Callable[[Any], float]:
    """Reads the loss in the bar at the bottom, once the model has answered."""

    def read(tab: Any) -> float:
        tab.wait_for_selector(".state:not(.busy) #loss")
        return float(tab.locator("#loss").inner_text())

    return read


if __name__ == "__main__":
    kept = {k: v.tolist() for k, v in Circuit.load(Path(sys.argv[1])).nodes.items() if len(v)}
    lines = ",\n".join(f'    "{key}": {json.dumps(channels)}' for key, channels in kept.items())
    (HERE / "quote_nodes.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")

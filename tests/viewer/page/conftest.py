"""A real circuit, a real server, a real browser for the tests of the viewer's page.

`quote_nodes.json` holds the nodes that `lacewing prune --model builtin:sparse --task
single_double_quote` found; the prompts are our own. After a change of the builtin model, make it
anew from the pruned circuit's nodes.
"""

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lacewing.circuits import circuit as circuits
from lacewing.model.sites import site_widths
from lacewing.model.store import load
from lacewing.tasks.pair import Pair

CHROMIUM = Path("/usr/bin/chromium")
HERE = Path(__file__).parent
CALLS = ("print(", "log.debug(", "self.fail(", "warn(", "parser.error(", "raise ValueError(")
PHRASES = ("No reviews", "Unknown name", "Bad value", "Reading the file", "Missing option", "Done")
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
    """A folder with the quote circuit of builtin:sparse, a smaller one, and a dense one."""
    root = tmp_path_factory.mktemp("served")
    saved = json.loads((HERE / "quote_nodes.json").read_text())
    for name, source, thin in (
        ("quote", "builtin:sparse", 1),
        ("smaller", "builtin:sparse", 2),
        ("dense", "builtin:dense", 3),
    ):
        model = load(source)
        widths = site_widths(model.network.config)
        nodes = {
            key: np.array([c for c in saved.get(key, ())[::thin] if c < width], dtype=np.int32)
            for key, width in widths.items()
        }
        answers = tuple(model.tokenizer.single(a) for a in ('")', "')"))
        made = circuits.make(
            model.network,
            nodes,
            model_id=model.id,
            model_source=source,
            task="single_double_quote",
            answers=answers,
            ablation="mean",
            seed=0,
            target_loss=0.15,
            losses={"full": 0.1, "circuit": 0.12 if thin == 1 else 0.9},
        )
        made.save(root / name, pairs())
    return root


@pytest.fixture(scope="session")
def folder(circuit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it that tests may write to."""
    copy = tmp_path_factory.mktemp("written") / "served"
    shutil.copytree(circuit_folder, copy)
    return copy


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[str]:
    """The address of a running server over the folder."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from lacewing.viewer.guard import Guard
    from lacewing.viewer.serve import STATIC
    from lacewing.viewer.server import application
    from lacewing.viewer.state import Viewer

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = Guard(application(Viewer(folder), STATIC), "127.0.0.1", port, None)
    running = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    running.should_exit = True
    thread.join(timeout=20)


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


@pytest.fixture(scope="session")
def measured(server: str) -> str:
    """The server once the effects that matter are measured, so that no test waits."""
    import httpx

    for _ in range(600):
        answer = httpx.get(f"{server}api/circuits/quote/effects", timeout=300).json()
        if "0.attn_out:210->88" in answer["edges"] and answer["done"] > 5:
            return server
        time.sleep(0.3)
    raise AssertionError(
        f"effects were not measured in time: {answer['done']} of {answer['total']}"
    )


@pytest.fixture
def loss() -> Callable[[Any], float]:
    """Reads the loss in the bar at the bottom, once the model has answered."""

    def read(tab: Any) -> float:
        tab.wait_for_selector(".state:not(.busy) #loss")
        return float(tab.locator("#loss").inner_text())

    return read

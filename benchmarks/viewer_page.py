"""The viewer's page in a headless browser: first useful paint, frame rate, a cut's answer.

    python benchmarks/viewer_page.py [--edges 50000]

Makes a dense circuit of real weights with so many edges in a temporary folder, serves it and the
quote circuit of the tests, filled up to 100 nodes, with the real server, and measures in Chromium:

    cut            from the click on a switch to the new loss on the screen, median of clicks
    first paint    from the request to the first frame that shows the graph (the address is that of
                   the circuit; the server has opened it before, files are cached by nobody)
    frame rate     frames a second while a mouse pans and a wheel zooms, all edges shown

Cuts come first: the dense circuit, once opened, has the server measure its effects for minutes.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lacewing.circuit.circuit import circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.model.sites import site_widths
from lacewing.model.store import load
from lacewing.tasks.pair import Pair

CHROMIUM = "/usr/bin/chromium"
NODES = 100
"""Nodes of the sparse circuit at least."""
TESTS = Path(__file__).parents[1] / "tests" / "viewer" / "page"
FRAMES = """() => { window.frames_ = []; let last = performance.now();
const next = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(next); };
requestAnimationFrame(next); }"""
PAINTED = """() => new Promise((done) => { const look = () => {
const view = document.querySelector('.stage')?.view;
if (view?.sheet?.front) requestAnimationFrame(() => done(performance.now()));
else if (performance.now() > 30000) done(null);
else requestAnimationFrame(look); }; look(); })"""
CLICK = """() => new Promise((done) => { const loss = () =>
document.querySelector('.state:not(.busy) #loss')?.textContent; const before = loss();
const start = performance.now(); document.querySelector('.switches button.switch').click();
const look = () => { const took = performance.now() - start;
if (loss() && loss() !== before) done(took); else if (took > 10000) done(null);
else requestAnimationFrame(look); }; look(); })"""
"""Both give null where nothing comes in time."""


def pairs(count: int) -> list[Pair]:
    """Pairs of our own about which quote closes a string."""
    words = ("No reviews", "Unknown name", "Bad value", "Missing option", "Done")
    before = [f"def check(value):\n    count = {i}\n    print(" for i in range(count)]
    return [
        Pair(f'{b}"{words[i % 5]}', f"{b}'{words[i % 5]}", '")', "')", source="own")
        for i, b in enumerate(before)
    ]


def pad(nodes: dict[str, np.ndarray], widths: dict[str, int]) -> None:
    """Add random channels of all sites until there are 100 nodes."""
    dice = np.random.default_rng(0)
    while sum(map(len, nodes.values())) < NODES:
        key = dice.choice(list(widths))
        nodes[key] = np.union1d(nodes[key], [dice.integers(widths[key])]).astype(np.int32)


def make(root: Path, edges: int) -> int:
    """Write the two circuits; the number of edges of the dense one."""
    saved = json.loads((TESTS / "quote_nodes.json").read_text())
    facts: dict[str, Any] = {
        "task": "single_double_quote",
        "ablation": "mean",
        "config": PruneConfig(target_loss=0.15),
        "losses": {"full": 0.1, "circuit": 0.1},
    }
    made = None
    for name in ("taught-sparse", "taught-dense"):
        model = load(f"builtin:{name}")
        widths = site_widths(model.network.config)
        facts |= {
            "model_id": model.id,
            "model_source": f"builtin:{name}",
            "answers": tuple(model.tokenizer.single(a) for a in ('")', "')")),
        }
        if name == "taught-sparse":
            nodes = {key: np.array(saved.get(key, ()), dtype=np.int32) for key in widths}
            pad(nodes, widths)
            made = circuit_of(model.network, nodes, **facts)
        else:
            dice = np.random.default_rng(0)
            for share in np.linspace(0.02, 1, 200):
                nodes = {
                    key: np.sort(dice.choice(width, max(1, int(width * share)), replace=False))
                    for key, width in widths.items()
                }
                made = circuit_of(model.network, nodes, **facts)
                if made.n_edges >= edges:
                    break
        assert made is not None
        dataclasses.replace(made, pairs=tuple(pairs(128))).save(root / name)
    assert made is not None
    return made.n_edges


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The address of a server over a folder."""
    command = [sys.executable, "-m", "lacewing", "view", "--run", str(root)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-browser"], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stderr is not None
        address = next(line for line in process.stderr if "http://" in line)
        url = "http://" + address.split("http://")[1].split()[0]
        for _ in range(200):  # the address is said a moment before the server listens
            try:
                urllib.request.urlopen(url).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def first_paint(browser: Any, url: str, times: int) -> list[float]:
    """Milliseconds from the request to the first frame with the graph, each in a new context."""
    found = []
    for _ in range(times):
        context = browser.new_context(viewport={"width": 1360, "height": 860})
        tab = context.new_page()
        tab.goto(url, wait_until="commit")
        found.append(in_time(tab.evaluate(PAINTED), "no graph was painted"))
        context.close()
    return found


def in_time(took: float | None, words: str) -> float:
    """A time that was measured, or the end of the benchmark."""
    if took is None:
        raise SystemExit(f"{words} in time: the machine is too busy, or the page is broken")
    return took


def frames(browser: Any, url: str) -> dict[str, dict[str, float]]:
    """Frames while panning and while zooming, with the slowest twentieth."""
    tab = browser.new_page(viewport={"width": 1360, "height": 860})
    tab.goto(url)
    tab.wait_for_selector("main[data-ready]")
    tab.evaluate(PAINTED)
    tab.wait_for_timeout(2000)
    box = tab.locator(".canvas canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.evaluate(FRAMES)

    def told() -> dict[str, float]:
        took = sorted(tab.evaluate("frames_.splice(0)"))
        late = took[int(0.95 * len(took))]
        return {"per second": 1000 * len(took) / sum(took), "slowest 5 %, ms": late}

    tab.mouse.move(x, y)
    tab.mouse.down()
    end = time.monotonic() + 3
    step = 0
    while time.monotonic() < end:
        step += 1
        tab.mouse.move(x + 200 * ((step % 40) / 40 - 0.5), y + 60 * ((step % 30) / 30 - 0.5))
    tab.mouse.up()
    found = {"pan": told()}
    for turn in range(90):
        tab.mouse.wheel(0, -60 if turn % 30 < 15 else 60)
        tab.wait_for_timeout(10)
    found["zoom"] = told()
    tab.wait_for_timeout(2000)
    found["sharpening"] = told()
    tab.close()
    return found


def cuts(browser: Any, url: str, times: int) -> list[float]:
    """Milliseconds from a click on a switch to the new loss."""
    tab = browser.new_page(viewport={"width": 1360, "height": 860})
    tab.goto(url)
    tab.wait_for_selector(".state:not(.busy) #loss")
    found = []
    for _ in range(times):
        found.append(in_time(tab.evaluate(CLICK), "a cut was not answered"))
        tab.wait_for_timeout(50)
    tab.close()
    return found


def costliest(url: str, seconds: float = 120) -> str:
    """The node that matters most, once the background work on a circuit is done."""
    end = time.monotonic() + seconds
    while True:
        with urllib.request.urlopen(url) as answer:
            found = json.load(answer)
        if found["state"] == "ready":
            return max(found["nodes"], key=found["nodes"].__getitem__)
        if time.monotonic() > end:
            raise SystemExit(f"effects were not measured in {seconds:.0f} s: the machine is busy")
        time.sleep(0.5)


def measure(edges: int, times: int) -> Iterator[tuple[str, Any]]:
    """Make, serve, look; each figure as soon as it is measured."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        yield "edges of the dense circuit", make(Path(folder), edges)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serving(Path(folder)) as url:
            node = costliest(f"{url}api/circuits/taught-sparse/effects")
            cut = cuts(browser, f"{url}#/circuit/taught-sparse?node={node}", 4 * times)
            yield "cut, ms", {"median": statistics.median(cut), "slowest": max(cut)}
            urllib.request.urlopen(f"{url}api/circuits/taught-dense").read()
            for name in ("taught-sparse", "taught-dense"):
                paints = first_paint(browser, f"{url}#/circuit/{name}", times)
                yield f"first paint of {name}, ms", statistics.median(paints)
            yield "frames", frames(browser, f"{url}#/circuit/taught-dense?show=999999999")
        browser.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--edges", type=int, default=50_000)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    for name, found in measure(given.edges, given.times):
        print(f"{name}: {json.dumps(found)}", flush=True)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")


if __name__ == "__main__":
    main()

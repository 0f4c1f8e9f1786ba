"""Remake docs/viewer_*.png from a real circuit: the path of a newcomer, and each part of the page.

    python scripts/screenshots.py [--circuits FOLDER] [--output docs]

FOLDER holds a circuit for single_double_quote, best one that `lacewing verify` was run on; without
it the one of builtin:sparse that ships is shown.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lacewing.cli.places import place_of

CHROMIUM = "/usr/bin/chromium"
PATIENCE = 300_000
"""Milliseconds that anything on the page may take."""
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def made(folder: Path) -> Path:
    """A copy of the circuit that is shown, with its verdict."""
    place_of(Path("builtin:sparse/single_double_quote"), folder / "quote", "pictures")
    return folder


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of the viewer over a folder."""
    command = [sys.executable, "-m", "lacewing", "view", "--run", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-browser"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "http://" in line)
        url = "http://" + line.split("http://")[1].split()[0]
        for _ in range(300):  # the address is said a moment before the server listens
            try:
                urllib.request.urlopen(url).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def shown(url: str) -> str:
    """The id of the circuit that is shown: the folder's own, for single_double_quote.

    Raises:
        SystemExit: there is none whose model is there.
    """
    with urllib.request.urlopen(f"{url.partition('?')[0].rstrip('/')}/api/home") as answer:
        circuits = json.load(answer)["circuits"]
    for circuit in circuits:
        ours = not circuit.get("shipped") and circuit.get("model") and not circuit.get("error")
        if ours and circuit["task"] == "single_double_quote":
            return str(circuit["id"])
    raise SystemExit("no circuit of a model that is there for single_double_quote in this folder")


class Camera:
    """A browser tab that keeps pictures."""

    def __init__(self, browser: Any, url: str, output: Path) -> None:
        self.browser, self.url, self.output = browser, url, output

    def open(self, place: str, size: dict[str, int], scheme: str = "light") -> Any:
        """A tab at a place of the page, with the model's answer there."""
        context = self.browser.new_context(viewport=size, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.goto(self.url + place)
        tab.wait_for_selector("main[data-ready]")
        if "circuit/" in place:
            settled(tab)
        return tab

    def keep(self, tab: Any, name: str, full: bool = False) -> None:
        """Write docs/viewer_NAME.png."""
        tab.wait_for_timeout(600)
        tab.mouse.move(2, 2)
        tab.screenshot(path=self.output / f"viewer_{name}.png", full_page=full)
        print(f"viewer_{name}.png")


def settled(tab: Any) -> None:
    """Wait until the model has answered and all effects are measured."""
    tab.wait_for_selector(".state:not(.busy) #loss")
    measured = "fetch('api/circuits/' + location.hash.split('/')[2].split('?')[0] + '/effects')"
    for _ in range(600):
        if tab.evaluate(f"{measured}.then(r => r.json()).then(e => e.state)") == "ready":
            break
        tab.wait_for_timeout(1000)
    tab.reload()
    tab.wait_for_selector(".state:not(.busy) #loss")
    tab.wait_for_timeout(1500)


def path(camera: Camera) -> None:
    """The newcomer's path: home, the circuit, one edge switched off."""
    tab = camera.open("#/", WIDE)
    camera.keep(tab, "1_home")
    tab.locator("#start").click()
    settled(tab)
    camera.keep(tab, "2_circuit")
    tab.get_by_role("button", name="Edges", exact=True).click()
    before = tab.locator("#loss").inner_text()
    tab.locator(".matters button.switch").first.click()
    loss = "document.querySelector('.state:not(.busy) #loss')"
    tab.wait_for_function(f"(old) => {loss} && {loss}.textContent !== old", arg=before)
    camera.keep(tab, "3_switched_off")
    tab.context.close()


MISTAKE = "    print(\"use 'x' here"
"""A prompt on which builtin:sparse errs: it closes with the inner quote."""


def cause(camera: Camera) -> None:
    """From home to the cause of a typed mistake: four clicks, of which three have a picture."""
    tab = camera.open("#/", WIDE)
    tab.get_by_role("link", name="Trace", exact=True).click()
    tab.locator("#prompt").fill(MISTAKE)
    tab.locator("#answer").fill("')")
    tab.locator("#rival").fill('")')
    tab.get_by_role("button", name="Trace", exact=True).click()
    tab.wait_for_selector(".gridscroll svg")
    camera.keep(tab, "trace_1")
    tab.locator(".matters button.name").first.click()
    tab.wait_for_selector(".more .facts")
    camera.keep(tab, "trace_2_node")
    before = tab.locator(".now [data-now]").inner_text()
    tab.locator(".switches button.switch").first.click()
    changed = "(old) => document.querySelector('.now [data-now]').textContent !== old"
    tab.wait_for_function(changed, arg=before)
    camera.keep(tab, "trace_3_off")
    address = tab.url.partition("#")[2]
    tab.locator(".acts summary").click()
    tab.wait_for_selector(".acts pre.heat .peak")
    tab.evaluate("document.querySelector('.acts').scrollIntoView()")
    camera.keep(tab, "trace_4_text")
    tab.context.close()
    tab = camera.open(f"#{address}", PHONE, "dark")
    tab.wait_for_selector(".more .facts")
    tab.locator(".now").first.scroll_into_view_if_needed()
    tab.evaluate("document.querySelector('.said').scrollIntoView()")
    camera.keep(tab, "trace_phone")
    tab.context.close()


def parts(camera: Camera, circuit: str) -> None:
    """A picture of every other part, one of them dark, one on a phone."""
    here = f"#/circuit/{circuit}"
    tab = camera.open(here, WIDE)
    node = tab.evaluate(
        "fetch('api/circuits/' + location.hash.split('/')[2] + '/effects').then(r => r.json())"
        ".then(e => Object.entries(e.nodes).sort((a, b) => b[1] - a[1])[0][0])"
    )
    tab.context.close()
    tab = camera.open(f"{here}?node={node}", WIDE, "dark")
    tab.wait_for_selector(".panel .tokens .tokenchip")
    camera.keep(tab, "node")
    tab.context.close()
    tab = camera.open(f"{here}/text?node={node}", WIDE)
    tab.wait_for_selector(".examples li")
    camera.keep(tab, "text")
    tab.locator(".attend h2").scroll_into_view_if_needed()
    tab.evaluate("document.querySelector('.attend').scrollIntoView()")
    camera.keep(tab, "attention")
    tab.context.close()
    tab = camera.open(f"{here}/try", WIDE)
    tab.wait_for_selector(".side li")
    camera.keep(tab, "try")
    tab.context.close()
    tab = camera.open(here, PHONE)
    camera.keep(tab, "phone")
    tab.context.close()


def main() -> None:
    """Make all pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--circuits", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs")
    parser.add_argument("--trace", action="store_true", help="the pictures of a trace alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = given.circuits or made(Path(temporary))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serving(folder) as url:
            camera = Camera(browser, url, given.output)
            cause(camera)
            if not given.trace:
                path(camera)
                parts(camera, shown(url))
        browser.close()


if __name__ == "__main__":
    main()

"""The live page of a served model, in a browser: alarms, signals, keyboard, sizes, themes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from viewer.watched import Served, serving
from watch.live_text import changed
from watch.test_monitor import cut

AXE = Path(__file__).parent / "axe" / "axe.min.js"
SEVERE = """axe.run({resultTypes: ['violations']}).then(r => r.violations
    .filter(v => ['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes[0].html]))"""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A copy that lost a weight, which has read some text."""
    with serving(changed(cut)) as running:
        running.feed(256)
        yield running


def opened(shown: Any, served: Served, **settings: Any) -> Any:
    """The page."""
    return shown("", base=f"http://127.0.0.1:{served.port}/", **settings)


def test_what_it_shows(shown: Any, served: Served) -> None:
    """The alarm with its cause, the circuit's signals, and nothing that has not happened."""
    tab = opened(shown, served)
    assert "The model is not the one of the reference." == tab.locator(".standing").inner_text()
    first = tab.locator(".alarms > li.model").last
    assert "The model has changed: first_letter" == first.locator("h3").inner_text()
    assert "0.attn_in.1 -> 0.attn_v.0" in first.inner_text()
    assert tab.locator(".chart").count() == 8  # the evidence, six signals, the text
    points = tab.locator(".chart polyline").evaluate_all(
        "lines => lines.map(l => l.getAttribute('points').split(' ').length)"
    )
    looks = served.service.standing["looks"]
    assert points[0] == max(2, looks)
    assert points == [max(2, looks)] * 8
    heads = [tab.locator(f"h2:text-is('{words}')").count() for words in ("first_letter", "Alarms")]
    assert heads == [1, 1]


def test_it_is_alive(shown: Any, served: Served) -> None:
    """What is asked while it is open appears by itself."""
    tab = opened(shown, served)
    before = served.service.standing["looks"]
    served.feed(96, seed=5)
    now = served.service.standing["looks"]
    assert now > before
    shows = f"document.querySelector('polyline').getAttribute('points').split(' ').length === {now}"
    tab.wait_for_function(f"() => {shows}")


def test_the_keyboard_reads_single_looks(shown: Any, served: Served) -> None:
    """Arrow keys move through a chart, and what is there is said; Escape ends it."""
    tab = opened(shown, served)
    plot, said = tab.locator(".plot").first, tab.locator(".chart output").first
    plot.focus()
    last = said.inner_text()
    tab.keyboard.press("Home")
    rows = served.service.history.after(0)
    assert f"at token {rows[0]['tokens']:,}" in said.inner_text()
    tab.keyboard.press("ArrowRight")
    assert f"at token {rows[1]['tokens']:,}" in said.inner_text()
    assert said.inner_text() in plot.get_attribute("aria-label")
    tab.keyboard.press("Escape")
    assert said.inner_text() == last


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1360])
def test_it_fits_and_can_be_read(shown: Any, served: Served, width: int, scheme: str) -> None:
    """Nothing is too wide and axe finds nothing, light and dark, narrow and wide."""
    tab = opened(shown, served, width=width, color_scheme=scheme, bypass_csp=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for texts in tab.locator("details").all():
        texts.locator("summary").click()
    tab.add_script_tag(path=AXE)
    assert tab.evaluate(SEVERE) == []


def test_a_server_that_ends_is_told(shown: Any, browser: Any) -> None:
    """The page stays, and says that nobody answers."""
    with serving() as running:
        context = browser.new_context()
        tab = context.new_page()
        tab.goto(f"http://127.0.0.1:{running.port}/")
        tab.wait_for_selector("main[data-ready]")
        assert "Nothing watched yet" in tab.locator(".standing").inner_text()
    tab.wait_for_selector(".lost")
    assert "The server does not answer" in tab.locator(".standing").inner_text()
    context.close()

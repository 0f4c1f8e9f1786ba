"""Home, text, try it, compare, and what holds for every part of the page, in a browser."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NODE = "0.attn_v.210"
AXE = Path(__file__).parent / "axe" / "axe.min.js"
PARTS = {
    "home": "#/",
    "circuit": f"#/circuit/quote?node={NODE}",
    "ranking": "#/circuit/quote?off=0.attn_out:210->88",
    "text": f"#/circuit/quote/text?node={NODE}",
    "try": "#/circuit/quote/try",
    "compare": "#/compare?left=quote&right=smaller",
}


def ready(tab: Any, part: str) -> None:
    """Wait until a part shows what it has asked for."""
    sign = {
        "home": ".start",
        "circuit": ".panel .tokens .tokenchip",
        "ranking": ".matters li",
        "text": ".examples li",
        "try": ".side li",
        "compare": ".figure svg",
    }[part]
    tab.wait_for_selector(sign, timeout=60_000)


def test_home(shown: Callable[..., Any], measured: str) -> None:
    """Circuits are filtered and sorted, in the address too; models tell their tasks."""
    tab = shown()
    names = tab.locator("a.open .code")
    assert {"dense", "quote", "smaller"} <= set(names.all_inner_texts())
    tab.locator("#filter").fill("builtin:dense")
    assert ["dense"] == names.all_inner_texts()
    assert "filter=builtin%3Adense" in tab.url or "filter=builtin:dense" in tab.url
    tab.locator("#filter").fill("zzz")
    assert "Nothing fits these words." in tab.locator("main").inner_text()
    tab.locator("#filter").fill("")
    tab.get_by_role("button", name="connections").click()
    edges = [
        int(t.replace(",", ""))
        for t in tab.locator("tr:has(.verdict) td:nth-child(4)").all_inner_texts()
    ]
    assert sorted(edges) == edges
    tab.get_by_role("button", name="connections").click()
    tab.reload()
    tab.wait_for_selector("main[data-ready]")
    assert "descending" == tab.locator("th[aria-sort]").get_attribute("aria-sort")
    tab.locator(".model summary").first.click()
    assert "Measure its tasks" in tab.locator(".model[open]").inner_text()


def test_text(shown: Callable[..., Any], measured: str) -> None:
    """A node's values colour the prompts, both signs; another node is another text."""
    tab = shown(PARTS["text"])
    ready(tab, "text")
    titles = tab.locator(".texts h2").all_inner_texts()
    assert titles[:2] == ["Largest", "Most negative"]
    colours = tab.locator("pre.heat span").evaluate_all(
        "all => all.map(e => e.style.background).filter(Boolean)"
    )
    assert any("minus" in c for c in colours)
    tab.locator("#node").select_option("resid_final.88")
    tab.wait_for_function("() => location.hash.includes('node=resid_final.88')")
    ready(tab, "text")
    assert "final stream" in tab.locator(".choose").inner_text()


def test_attention(shown: Callable[..., Any], measured: str) -> None:
    """A kept head's pattern in the whole model and in the circuit, from any token."""
    tab = shown("#/circuit/quote/text?head=1.1")
    tab.wait_for_selector(".attend img")
    assert "1.1" == tab.locator("#head").input_value()
    assert ["Whole model", "Circuit"] == tab.locator(".strip-line b").all_inner_texts()
    assert "the last token" in tab.locator(".attend").inner_text()
    tab.locator("#from").fill("3")
    assert "token 4" in tab.locator(".attend").inner_text()
    assert tab.locator(".attend img").evaluate("i => i.complete && i.naturalWidth > 300")
    with tab.expect_download() as table:
        tab.locator(".attend").get_by_role("button", name="Save as CSV").click()
    lines = Path(table.value.path()).read_text(encoding="utf-8").splitlines()
    assert "to,from,token,token looked at,whole model,circuit" == lines[0]
    total: dict[str, float] = {}
    for line in lines[1:]:
        if match := re.match(r"(\d+),\d+,.*,([\d.e-]+),[\d.e-]+$", line):
            total[match[1]] = total.get(match[1], 0) + float(match[2])
    assert all(share <= 1.001 for share in total.values())


def test_try_it(shown: Callable[..., Any], measured: str) -> None:
    """A typed prompt is answered by the whole model, the circuit and the rest, side by side."""
    tab = shown(PARTS["try"])
    ready(tab, "try")
    tab.locator("#text").fill("    title = make('No reviews")
    tab.wait_for_function("() => location.hash.includes('reviews')")
    tab.wait_for_function("() => document.querySelector('.tokens').textContent.includes('reviews')")
    heads = tab.locator(".side h2").all_inner_texts()
    assert ["The whole model", "The circuit alone", "The model without the circuit"] == heads
    assert tab.locator(".side ol").first.locator("li").count() == 10
    shares = tab.locator(".side .two").first.get_attribute("aria-label")
    assert shares.startswith('")')
    tab.locator("#pick").select_option("1 corrupted")
    tab.wait_for_function("() => document.querySelector('#text').value.includes('def check')")


def test_try_it_with_a_cut(shown: Callable[..., Any], measured: str) -> None:
    """What is switched off stays off from part to part, and has a column of its own."""
    tab = shown("#/circuit/quote?off=0.attn_out:210->88")
    tab.get_by_role("link", name="Try it").click()
    tab.wait_for_selector("text=The circuit as you cut it")
    assert "off=" in tab.url
    tab.get_by_role("link", name="Circuit").click()
    tab.wait_for_selector(".matters .isoff, .cardhead")
    assert "1 changed" == tab.locator("#edits").inner_text()


def test_compare(shown: Callable[..., Any], measured: str) -> None:
    """Two circuits of one model share nodes by name; of two models only sizes are compared."""
    tab = shown(PARTS["compare"])
    ready(tab, "compare")
    assert re.search(r"\d+ nodes and \d+ connections are in both", tab.locator("main").inner_text())
    tab.locator(".lists summary").first.click()
    link = tab.locator(".lists details").first.locator("a").first
    assert "#/circuit/quote?node=" in link.get_attribute("href")
    with tab.expect_download() as figure:
        tab.get_by_role("button", name="save the figure as SVG").click()
    assert "var(--" not in Path(figure.value.path()).read_text()
    tab.locator("#right").select_option("dense")
    tab.wait_for_selector("text=They belong to two models")
    assert "right=dense" in tab.url


def test_unknown_circuit(shown: Callable[..., Any], server: str, browser: Any) -> None:
    """A circuit that is not there is one clear sentence with a way back."""
    tab = browser.new_page()
    tab.goto(f"{server}#/circuit/nothing")
    tab.wait_for_selector(".failed")
    assert "no such circuit" in tab.locator(".failed").inner_text()
    tab.get_by_role("link", name="Back to all circuits").click()
    tab.wait_for_selector(".start")
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("part", PARTS)
def test_accessible(shown: Callable[..., Any], measured: str, part: str, scheme: str) -> None:
    """axe-core finds nothing serious in any part, light and dark."""
    tab = shown(PARTS[part], color_scheme=scheme, bypass_csp=True)
    ready(tab, part)
    tab.add_script_tag(path=AXE)
    found = tab.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
    serious = [
        (f["id"], f["nodes"][0]["html"][:160], f["nodes"][0]["failureSummary"][:200])
        for f in found
        if f["impact"] in ("serious", "critical")
    ]
    assert [] == serious


@pytest.mark.parametrize("width", [390, 1360])
@pytest.mark.parametrize("part", PARTS)
def test_widths(shown: Callable[..., Any], measured: str, part: str, width: int) -> None:
    """On phone and desk nothing is wider than the screen, and the loss stays in view."""
    tab = shown(PARTS[part], width, 800)
    ready(tab, part)
    assert width >= tab.evaluate("document.documentElement.scrollWidth")
    if part not in ("home", "compare"):
        tab.evaluate("scrollTo(0, 1e6)")
        box = tab.locator("#loss").bounding_box()
        assert 0 <= box["y"] <= 800 - box["height"]


def test_theme(shown: Callable[..., Any], server: str) -> None:
    """Colours follow the reader's scheme; the button changes them and they stay changed."""
    tab = shown(color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert "rgb(20, 24, 31)" == tab.evaluate(colour)
    tab.locator("#theme").click()
    assert "rgb(255, 255, 255)" == tab.evaluate(colour)
    tab.reload()
    tab.wait_for_selector("main[data-ready]")
    assert "rgb(255, 255, 255)" == tab.evaluate(colour)


def test_reduced_motion(shown: Callable[..., Any], measured: str) -> None:
    """Who asks for less motion gets none."""
    tab = shown(PARTS["ranking"], reduced_motion="reduce")
    ready(tab, "ranking")
    moving = "document.getAnimations().filter(a => a.playState === 'running').length"
    tab.get_by_role("button", name="All on").click()
    assert 0 == tab.evaluate(moving)


def test_same_colours_as_the_report() -> None:
    """The page uses the palette of the reports, light and dark, but for darker greys in text."""
    from lacewing.report import svg
    from lacewing.viewer.serve import STATIC

    style = (STATIC / "base.css").read_text(encoding="utf-8")
    for palette in (svg.LIGHT, svg.DARK):
        for name in ("ink", "faint", "paper", "plus", "minus", "node"):
            assert f"--{name}:{palette[name]}" in style

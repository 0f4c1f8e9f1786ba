"""Home, text, try it, compare, and what holds for every part of the page, in a browser."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lacewing.viewer import copies

NODES = Path(__file__).parent / "quote_nodes.json"

AXE = Path(__file__).parent / "axe" / "axe.min.js"
PARTS = {
    "home": ("#/", ".start"),
    "circuit": ("#/circuit/quote?node={node}", ".panel .tokens .tokenchip"),
    "ranking": ("#/circuit/quote?off={edge}", ".matters li"),
    "tests": ("#/circuit/smaller?tests=1", "dialog[open] .tests li"),
    "text": ("#/circuit/quote/text?node={node}", ".examples li"),
    "try": ("#/circuit/quote/try", ".side li"),
    "compare": ("#/compare?left=quote&right=smaller", ".figure svg"),
    "trace": (
        "#/trace/builtin-taught-sparse?text=print('No%20reviews&vs=print(%22No%20reviews"
        "&node=0.attn_out.6@5&pins=resid_final.6@5&off=0.attn_v.275@1",
        ".work.abreast .more .facts",
    ),
}
"""Each part: its address, and the sign that it shows what it has asked for."""
TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => `${e.tagName}.${e.className}`).slice(0, 8)"""


def opened(shown: Callable[..., Any], measured: Any, part: str, **settings: Any) -> Any:
    """A tab with a part that is ready."""
    place, sign = PARTS[part]
    tab = shown(place.format(node=measured.node, edge=measured.edge), **settings)
    tab.wait_for_selector(sign, timeout=60_000)
    return tab


def test_emergence(shown: Callable[..., Any], measured: Any) -> None:
    """A slider over the states of a training: it says what each is, and opens its circuit."""
    tab = shown("#/circuit/quote")
    slider = tab.locator("#emergence")
    slider.wait_for()
    assert ("2", "2") == (slider.input_value(), slider.get_attribute("max"))
    assert "23 nodes; 39 % of them" in tab.locator(".training output").inner_text()
    slider.press("Home")
    assert "no circuit yet" in tab.locator(".training output").inner_text()
    assert "20.5 k tokens" == slider.get_attribute("aria-valuetext")
    assert "#/circuit/quote" in tab.url
    slider.press("ArrowRight")
    tab.wait_for_url("**#/circuit/smaller")
    tab.wait_for_selector("main[data-ready]")
    assert "1" == tab.locator("#emergence").input_value()
    dense = shown("#/circuit/dense")
    dense.wait_for_load_state("networkidle")
    assert dense.locator(".training").is_hidden()


def test_home(shown: Callable[..., Any], measured: Any) -> None:
    """Circuits are filtered and sorted, in the address too; models tell their tasks."""
    tab = shown()
    names = tab.locator("a.open .code")
    assert {"dense", "quote", "smaller"} <= set(names.all_inner_texts())
    tab.locator("#filter").fill("builtin:taught-dense")
    assert ["dense"] == names.all_inner_texts()
    assert "filter=builtin%3Ataught-dense" in tab.url or "filter=builtin:taught-dense" in tab.url
    tab.locator("#filter").fill("zzz")
    assert "Nothing fits these words." in tab.locator("main").inner_text()
    tab.locator("#filter").fill("")
    tab.get_by_role("button", name="edges").click()
    edges = [
        int(t.replace(",", ""))
        for t in tab.locator("tr:has(.verdict) td:nth-child(4)").all_inner_texts()
    ]
    assert sorted(edges) == edges
    tab.get_by_role("button", name="edges").click()
    tab.reload()
    tab.wait_for_selector("main[data-ready]")
    assert "descending" == tab.locator("th[aria-sort]").get_attribute("aria-sort")
    tab.locator(".model summary").first.click()
    assert "Measure its tasks" in tab.locator(".model[open]").inner_text()


def test_text(shown: Callable[..., Any], measured: Any) -> None:
    """A node's values colour the prompts, both signs, beside a histogram of them all."""
    tab = opened(shown, measured, "text")
    titles = tab.locator(".texts h2").all_inner_texts()
    assert titles[:2] == ["Largest", "Most negative"]
    colours = tab.locator("pre.heat span").evaluate_all(
        "all => all.map(e => e.style.background).filter(Boolean)"
    )
    assert any("minus" in c for c in colours)
    bars = "[fill='var(--{})']".format
    for sign in ("plus", "minus"):
        assert tab.locator(f".histogram rect{bars(sign)}").count() > 0
    assert re.search(r"exactly zero at [\d.]+ %", tab.locator(".histogram").inner_text())
    with tab.expect_download() as table:
        tab.get_by_role("button", name="save the histogram as CSV").click()
    rows = Path(table.value.path()).read_text(encoding="utf-8").splitlines()
    told = tab.locator(".histogram p").inner_text()
    count = sum(int(row.rpartition(",")[2]) for row in rows[1:])
    assert f"{count:,} tokens" in told
    final = next(name for name in measured.names if name.startswith("resid_final"))
    tab.locator("#node").select_option(final)
    tab.wait_for_function(f"() => location.hash.includes('node={final}')")
    tab.wait_for_selector(PARTS["text"][1])
    assert "final stream" in tab.locator(".choose").inner_text()


def test_attention(shown: Callable[..., Any], measured: Any) -> None:
    """A kept head's pattern in the whole model and in the circuit, from any token."""
    head = measured.heads[-1]
    tab = shown(f"#/circuit/quote/text?head={head}")
    tab.wait_for_selector(".attend img")
    assert head == tab.locator("#head").input_value()
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


def test_try_it(shown: Callable[..., Any], measured: Any) -> None:
    """A typed prompt is answered by the whole model, the circuit and the rest, side by side."""
    tab = opened(shown, measured, "try")
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


def test_shares_of_answers_without_chance(shown: Callable[..., Any]) -> None:
    """Two answers that no probability is left for still share it, by their logits."""
    tab = shown()
    found = tab.evaluate(
        """async () => {
            const { shares } = await import(new URL("static/words.js", document.baseURI));
            const two = (a, b) => shares([{ logit: a, p: 0 }, { logit: b, p: 0 }]);
            return [two(-900, -902), two(3, 3), shares([])];
        }"""
    )
    assert pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))]) == found[0]
    assert [[0.5, 0.5], []] == found[1:]


def test_try_it_with_a_cut(shown: Callable[..., Any], measured: Any) -> None:
    """What is switched off stays off from part to part, and has a column of its own."""
    tab = opened(shown, measured, "ranking")
    tab.get_by_role("link", name="Try it").click()
    tab.wait_for_selector("text=The circuit as you cut it")
    assert "off=" in tab.url
    tab.get_by_role("link", name="Circuit").click()
    tab.wait_for_selector(".matters li, .cardhead")
    assert "1 changed" == tab.locator("#edits").inner_text()


def test_compare(shown: Callable[..., Any], measured: Any) -> None:
    """Two circuits of one model share nodes by name; of two models only sizes are compared."""
    tab = opened(shown, measured, "compare")
    assert re.search(r"\d+ nodes and \d+ edges are in both", tab.locator("main").inner_text())
    tab.locator(".lists summary").first.click()
    link = tab.locator(".lists details").first.locator("a").first
    assert "#/circuit/quote?node=" in link.get_attribute("href")
    with tab.expect_download() as figure:
        tab.get_by_role("button", name="save the figure as SVG").first.click()
    assert "var(--" not in Path(figure.value.path()).read_text()
    tab.locator("#right").select_option("dense")
    tab.wait_for_selector("text=They belong to two models")
    assert "right=dense" in tab.url


def test_frontier(shown: Callable[..., Any], measured: Any) -> None:
    """A point of a sweep opens its circuit, or names its circuits, also by keys and by address."""
    tab = opened(shown, measured, "compare")
    plot = tab.locator(".frontier")
    assert "1 not drawn" in plot.inner_text()
    several = plot.get_by_role("button", name="narrow")
    several.focus()
    tab.keyboard.press("Enter")
    assert "narrow: 60 edges (95 % interval 40 to 90)" in plot.locator(".about").inner_text()
    tab.reload()
    tab.wait_for_selector(".frontier .about a")
    assert ["#/circuit/quote", "#/circuit/smaller"] == plot.locator(".about a").evaluate_all(
        "all => all.map(a => a.getAttribute('href'))"
    )
    plot.get_by_role("link", name="dense twin").click()
    tab.wait_for_selector(".stage")
    assert tab.url.endswith("#/circuit/dense")


def test_tests_of_a_circuit(shown: Callable[..., Any], measured: Any) -> None:
    """Home has the verdict; the circuit lists each test with its numbers, in the address too."""
    tab = shown("#/")
    row = tab.locator("tr", has_text="smaller")
    assert "fails: complement.worst, control.nonsense" == row.locator(".verdict").inner_text()
    row.locator("a.open").click()
    tab.get_by_role("button", name="passed 1 of 4 tests").click()
    box = tab.locator("dialog")
    assert ["passed", "failed", "unresolved", "failed"] == [
        text.lstrip("✓✕? ") for text in box.locator(".result").all_inner_texts()
    ]
    worst = box.locator("li", has_text="complement.worst").inner_text()
    assert "1.800 nats (1.600 to 2.000)" in worst
    assert "must be at most 0.347; without the circuit: 2.500; n 64" in worst
    assert "never reached" in box.locator("li", has_text="control.nonsense").inner_text()
    assert "no other corpus" in box.inner_text()
    assert "tests=1" in tab.url
    tab.keyboard.press("Escape")
    tab.wait_for_function("() => !location.hash.includes('tests=1')")
    assert "Certified minimal" in tab.locator(".intro").inner_text()
    key, nodes = next(iter(json.loads(NODES.read_text()).items()))
    tab.locator("#find").fill(f"{key}.{nodes[0]}")
    tab.keyboard.press("Enter")
    assert "+0.120" in tab.locator(".panel .facts").inner_text()


def test_only_the_whole_suite_says_holds(shown: Callable[..., Any]) -> None:
    """The short tests are counted, without green; a circuit's standing says where to start."""
    script = """async (verdicts) => {
      const { spoken, standing } = await import(new URL("static/parts/tests.js", location.href));
      return verdicts.map((v) => [spoken(v).words, spoken(v).look, standing(v)]);
    }"""
    said = {
        "holds": ["holds", ".holds", 0],
        "2 of 2 short tests": ["2 of 2 short tests", "", 1],
        "1 of 2 short tests; unresolved: sufficient": ["1 of 2 short tests", ".open", 3],
        "1 of 2 short tests; fails: necessary": ["1 of 2 short tests", ".fails", 4],
        "fails: no circuit": ["fails: no circuit", ".fails", 4],
    }
    assert list(said.values()) == shown().evaluate(script, list(said))


def test_copy_from_disk(
    shown: Callable[..., Any], circuit_folder: Path, text: Path, tmp_path: Path
) -> None:
    """The read-only copy opens from file://: every part shows its figures, no error, no network."""
    served = tmp_path / "served"
    for name in ("quote", "smaller"):
        shutil.copytree(circuit_folder / name, served / name)
    copies.export(served, tmp_path / "copy", str(text))
    tab = shown("#/", base=(tmp_path / "copy" / "index.html").as_uri())
    assert "read-only copy" in tab.locator("#top").inner_text()
    tab.locator("#start").click()
    tab.locator(".matters button.name").first.click()
    tab.wait_for_selector(".panel .tokens .tokenchip, .panel h2")
    assert 0 == tab.locator("button.switch").count()
    assert float(tab.locator("#loss").inner_text()) > 0
    tab.get_by_role("link", name="Text", exact=True).click()
    tab.wait_for_selector(".examples li")
    tab.get_by_role("button", name="Natural text").click()
    tab.wait_for_selector(".histogram >> text=pieces of text")
    tab.wait_for_selector(".attend img")
    tab.get_by_role("link", name="Try it").click()
    tab.wait_for_selector(".side li")
    tab.get_by_role("link", name="Compare", exact=True).click()
    tab.wait_for_selector(".figure svg")


def test_unknown_circuit(shown: Callable[..., Any], server: str, browser: Any) -> None:
    """A circuit that is not there is one clear sentence with a way back."""
    tab = browser.new_page()
    tab.goto(f"{server}#/circuit/nothing")
    tab.wait_for_selector(".failed")
    assert "no such circuit" in tab.locator(".failed").inner_text()
    tab.get_by_role("link", name="Back to all circuits").click()
    tab.wait_for_selector(".start")
    tab.close()


@pytest.mark.parametrize("width", [390, 1360])
@pytest.mark.parametrize("part", PARTS)
def test_part(shown: Callable[..., Any], measured: Any, part: str, width: int) -> None:
    """On phone and desk nothing is too wide, the loss stays in view, and axe finds nothing."""
    tab = opened(shown, measured, part, width=width, height=800, bypass_csp=True)
    assert width >= tab.evaluate("document.documentElement.scrollWidth"), tab.evaluate(TOO_WIDE)
    if part not in ("home", "compare", "tests", "trace"):
        tab.evaluate("scrollTo(0, 1e6)")
        box = tab.locator("#loss").bounding_box()
        assert 0 <= box["y"] <= 800 - box["height"]
    tab.add_script_tag(path=AXE)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        assert [] == serious(tab), scheme


def serious(tab: Any) -> list[tuple[str, str, str]]:
    """What axe-core finds that is serious or worse."""
    found = tab.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
    return [
        (f["id"], f["nodes"][0]["html"][:160], f["nodes"][0]["failureSummary"][:200])
        for f in found
        if f["impact"] in ("serious", "critical")
    ]


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


def test_reduced_motion(shown: Callable[..., Any], measured: Any) -> None:
    """Who asks for less motion gets none."""
    tab = opened(shown, measured, "ranking", reduced_motion="reduce")
    moving = "document.getAnimations().filter(a => a.playState === 'running').length"
    tab.get_by_role("button", name="All on").click()
    assert 0 == tab.evaluate(moving)


def test_same_colours_as_the_report() -> None:
    """The page uses the palette of the reports, light and dark, but for darker greys in text."""
    from lacewing.pages import svg
    from lacewing.viewer.serve import STATIC

    style = (STATIC / "base.css").read_text(encoding="utf-8")
    for palette in (svg.LIGHT, svg.DARK):
        for name in ("ink", "faint", "paper", "plus", "minus", "node"):
            assert f"--{name}:{palette[name]}" in style

"""What nodes mean, on the page: in the panel, at the pointer, as names, in searches, in text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parent / "axe" / "axe.min.js"
LABELS = "() => document.querySelector('.stage').view.found.nodes.map(n => n.label)"
SEVERE = """axe.run({resultTypes: ['violations']}).then(r => r.violations
    .filter(v => ['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes[0].html]))"""


def test_panel_says_what_a_node_means(shown: Callable[..., Any]) -> None:
    """The sentence, its predicate, its scores; a bad explanation is not told as one."""
    tab = shown("#/circuit/smaller?node=0.attn_out.6")
    box = tab.locator(".panel .meaning")
    said = box.inner_text()
    assert "the open quote is" in said
    assert "quote ==" in box.locator("code").inner_text()
    assert "F1 0.61 [0.59, 0.62], unigram 0.50; supported by interventions" in said
    tab = shown("#/circuit/smaller?node=0.attn_in.399")
    said = tab.locator(".panel .meaning").inner_text()
    assert said == "No good explanation was found: F1 is 0.31."
    tab = shown("#/circuit/smaller?node=0.attn_in.67")
    tab.wait_for_selector(".panel .facts")
    assert tab.locator(".panel .meaning").count() == 0


def test_names_by_meaning(shown: Callable[..., Any]) -> None:
    """The choice renames explained nodes alone, stands in the address, and goes back."""
    tab = shown("#/circuit/smaller")
    before = tab.evaluate(LABELS)
    tab.locator("#names").select_option("meaning")
    assert "names=meaning" in tab.url
    after = tab.evaluate(LABELS)
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 3
    assert 'quote == "\'"' in changed
    tab.reload()
    tab.wait_for_selector("main[data-ready]")
    assert tab.evaluate(LABELS) == after
    tab.locator("#names").select_option("")
    assert tab.evaluate(LABELS) == before
    # Where nothing is explained, nothing is offered.
    assert shown("#/circuit/quote").locator("#names").count() == 0


def test_search_by_meaning(shown: Callable[..., Any]) -> None:
    """A word of a sentence finds its node; words of a bad explanation find nothing."""
    tab = shown("#/circuit/smaller")
    tab.locator("#find").fill("open quote")
    tab.wait_for_function("() => document.querySelector('#found').textContent === '1 found'")
    tab.locator("#find").press("Enter")
    tab.wait_for_selector(".panel .meaning")
    assert "0.attn_out.6" in tab.url
    tab.locator("#find").fill("in brackets")
    tab.wait_for_function("() => document.querySelector('#found').textContent === '0 found'")


def test_hover_tells_the_meaning(shown: Callable[..., Any]) -> None:
    """The box at the pointer has the sentence."""
    tab = shown("#/circuit/smaller")
    place = tab.evaluate("""() => {
        const { view, layout, found, canvas } = document.querySelector('.stage').view;
        const at = found.byId.get('0.attn_out.6').index, box = canvas.getBoundingClientRect();
        const to = (v, shift, edge) => v * view.k + shift + edge;
        return [to(layout.x[at], view.x, box.left), to(layout.y[at], view.y, box.top)];
    }""")
    tab.mouse.move(*place)
    tab.wait_for_selector(".tip .meaning")
    assert "the open quote is" in tab.locator(".tip .meaning").inner_text()


def test_predicate_in_text(shown: Callable[..., Any]) -> None:
    """In text exactly the tokens are underlined at which the predicate holds."""
    tab = shown("#/circuit/smaller/text?node=0.attn_in.248")
    tab.wait_for_selector("pre.heat .said", timeout=240_000)
    tokens = tab.evaluate("""() => [...document.querySelectorAll('pre.heat > span')]
        .map(e => [e.textContent, e.classList.contains('said')])""")
    assert {word for word, said in tokens if said} <= {"('", " '"}
    assert all(said for word, said in tokens if word in ("('", " '"))
    tab = shown("#/circuit/smaller/text?node=0.attn_out.6")
    tab.wait_for_selector("pre.heat .said", timeout=240_000)
    inside = tab.evaluate("[...document.querySelectorAll('pre.heat .said')].map(e => e.title)")
    assert any("said to fire" in title for title in inside)


def test_nodes_explained_alike_are_proposed(shown: Callable[..., Any]) -> None:
    """They come first among the groups proposed, and become one node."""
    tab = shown("#/circuit/smaller")
    tab.locator(".groups summary", has_text="Groups").click()
    tab.locator("button", has_text="Propose groups").click()
    first = tab.locator(".menu li", has_text="explained alike").first
    first.wait_for()
    name = first.locator("b").inner_text()
    first.get_by_role("button", name="Group").click()
    tab.wait_for_function(f"() => ({LABELS})().includes({name!r})")
    tab.locator(".menu").get_by_role("button", name="remove the group").click()
    tab.wait_for_function(
        "() => !document.querySelector('.stage').view.found.nodes.some(n => n.members)"
    )


@pytest.mark.parametrize("width", [390, 1360])
@pytest.mark.parametrize("place", ["?node=0.attn_out.6&names=meaning", "/text?node=0.attn_in.248"])
def test_accessible(shown: Callable[..., Any], place: str, width: int) -> None:
    """Nothing is too wide and axe finds nothing, light and dark."""
    tab = shown(f"#/circuit/smaller{place}", width=width, height=800, bypass_csp=True)
    tab.wait_for_selector(".meaning")
    if place.startswith("/text"):
        tab.wait_for_selector("pre.heat .said", timeout=240_000)
    assert width >= tab.evaluate("document.documentElement.scrollWidth")
    tab.add_script_tag(path=AXE)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate(SEVERE) == [], scheme

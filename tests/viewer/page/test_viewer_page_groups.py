"""Circuits of open models in a browser: groups, their nodes, switches, a held value, Back."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parents[1]))

from opened import served

from lacewing.viewer.serve import STATIC

Shown = Callable[..., Any]
LOSS = "Number(document.querySelector('.now tr[data-side=edited] [data-loss]').dataset.loss)"


@pytest.fixture(scope="module")
def address(here: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over a GPT-2 folder and a circuit of it."""
    root, _, _ = served(tmp_path_factory.mktemp("groups"))
    with here(root, STATIC) as running:
        yield running.url


def loss(tab: Any) -> float:
    """The loss with what is switched, once nothing is measured any more."""
    tab.wait_for_selector(".now div[data-busy=''] tr[data-side=edited]", timeout=120_000)
    return float(tab.evaluate(LOSS))


def test_from_home_to_a_head_that_is_off(shown: Shown, address: str, tmp_path: Path) -> None:
    """Home, the circuit, values of a block, a head off, all as it was, and Back."""
    tab = shown("#/", base=address)
    tab.locator("a.open", has_text="closing").first.click()
    tab.wait_for_selector("table.groups", timeout=120_000)
    before = loss(tab)
    tab.wait_for_selector("text=to first order: blue rises")
    assert 2 * 8 + 1 == tab.locator("table.groups button.cell").count()
    tab.locator("button.cell[data-key='1.attn_v']").click()
    heads = tab.locator(".panel .chips button")
    heads.first.wait_for()
    assert 4 == heads.count()
    heads.first.click()
    tab.get_by_role("button", name="Switch the group off").click()
    tab.wait_for_selector("text=1 changed")
    assert loss(tab) != before
    assert "off=1.attn_v:0" in tab.url
    tab.locator(".nodes button.jump").first.click()
    tab.wait_for_selector(".panel .examples pre.heat", timeout=120_000)
    tab.locator("#held").fill("1")
    tab.wait_for_selector("text=2 changed")
    loss(tab)
    assert "set=1.attn_v." in tab.url
    tab.screenshot(path=str(tmp_path / "groups.png"), full_page=True)
    tab.go_back()
    tab.wait_for_selector("text=1 changed")
    tab.get_by_role("button", name="All as it was").click()
    tab.wait_for_selector("text=nothing is switched")
    assert loss(tab) == pytest.approx(before, abs=1e-5)


def test_an_address_opens_what_it_says(shown: Shown, address: str) -> None:
    """A link with a group off, a node and a pair shows them; a wrong one says so in a line."""
    place = "#/groups/circuits-closing"
    tab = shown(f"{place}?group=0.mlp_neuron&off=0.mlp_neuron&pair=2", base=address, width=700)
    tab.wait_for_selector("table.groups", timeout=120_000)
    loss(tab)
    assert "neurons, layer 0" in tab.locator(".panel h2").first.inner_text()
    assert tab.locator("#pair").input_value() == "2 clean"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 700


def test_what_a_circuit_page_says_of_it(shown: Shown, address: str) -> None:
    """The page that draws circuits leads to the one that shows this in groups."""
    tab = shown("#/", base=address)
    row = tab.locator("tr", has_text="closing")
    assert "closing" in row.inner_text()
    assert row.locator(".error").count() == 0

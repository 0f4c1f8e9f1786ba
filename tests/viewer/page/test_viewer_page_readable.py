"""What keeps a circuit readable: few edges of many, one menu at a time, no word on another."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import edges_between
from lacewing.model.sites import site_widths
from lacewing.model.store import load
from lacewing.viewer.serve import STATIC

EDGES = """() => {
    const { shown, found } = document.querySelector(".stage").view;
    return shown.filter((i) => found.links.kind[i] === 0).map((i) => found.idOf(i));
}"""
WORDS = """() => [...document.querySelectorAll("#dock .tick em")].filter((e) => e.textContent)
    .map((e) => { const b = e.getBoundingClientRect(); return [b.left, b.right]; })"""


@pytest.fixture
def hairball(circuit_folder: Path, tmp_path: Path) -> Path:
    """A folder with a dense circuit of about two thousand edges."""
    model, circuit = load("builtin:taught-dense"), Circuit.load(circuit_folder / "dense")
    nodes = {
        key: np.arange(0 if key.startswith("1") else 22, dtype=np.int32)
        for key in site_widths(model.network.config)
    }
    edges = edges_between(model.network, nodes)
    dataclasses.replace(circuit, nodes=nodes, edges=edges).save(tmp_path / "served" / "hairball")
    return tmp_path / "served"


def test_dense_circuit_opens_by_effect(shown: Any, here: Any, hairball: Path) -> None:
    """The 80 edges that cost most are drawn, the count of hidden ones is told, `More` doubles."""
    total = Circuit.load(hairball / "hairball").n_edges
    with here(hairball, STATIC) as running:
        tab = shown("#/circuit/hairball", base=running.url)
        assert "effect" == tab.locator("#measure").input_value()
        told = tab.locator(".limits output")
        assert f"strongest 80, {total - 80:,} hidden" == told.inner_text()
        ready = "() => document.querySelector('.stage').view.state.effects?.state === 'ready'"
        tab.wait_for_function(ready, timeout=120_000)
        answer = json.loads(
            tab.evaluate("fetch('api/circuits/hairball/effects').then(r => r.text())")
        )
        costs = answer["edges"]
        drawn = tab.evaluate(EDGES)
        assert 80 == len(drawn)
        assert set(sorted(costs, key=lambda edge: -costs[edge])[:10]) <= set(drawn)
        tab.locator("#more").click()
        assert 160 == len(tab.evaluate(EDGES))
        assert f"strongest 160, {total - 160:,} hidden" == told.inner_text()
        assert "show=160" in tab.url
        tab.locator("#limit").fill("100")
        assert total == len(tab.evaluate(EDGES))
        assert f"all {total:,}" == told.inner_text()
        assert not tab.locator("#more").is_visible()
        tab.context.close()


def test_small_circuit_opens_whole(shown: Any, measured: Any) -> None:
    """A sparse circuit hides nothing."""
    tab = shown("#/circuit/quote")
    assert tab.locator(".limits output").inner_text().startswith("all ")
    assert "weight" == tab.locator("#measure").input_value()


def test_one_menu_at_a_time(shown: Any, measured: Any) -> None:
    """Opening one closes the other; Escape and a click beside close it; a phone shows all of it."""
    tab = shown("#/circuit/quote", width=390, height=844)
    menus = tab.locator("details.groups[open]")
    for words in ("Groups", "Export"):
        tab.locator(".groups summary", has_text=words).click()
        assert [words] == menus.locator("summary").all_inner_texts()
        box = menus.locator(".menu").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    tab.keyboard.press("Escape")
    assert 0 == menus.count()
    tab.locator(".groups summary", has_text="Groups").click()
    tab.locator("h1").click()
    assert 0 == menus.count()


@pytest.mark.parametrize("width", [390, 1010, 1360])
def test_marks_of_the_ruler_keep_apart(shown: Any, measured: Any, width: int) -> None:
    """`target` and `guessing` never stand on each other, however narrow the ruler."""
    tab = shown(f"#/circuit/quote?set={measured.node}=300", width=width)
    tab.wait_for_selector(".state:not(.busy) #loss")
    places = sorted(tab.evaluate(WORDS))
    assert places
    assert all(one[1] < two[0] for one, two in pairwise(places))


def test_route_names_the_prompt_that_is_shown(shown: Any, measured: Any) -> None:
    """It begins with the opening quote of the prompt, and does not name the other one."""
    for member, own, other in (("clean", '("', "('"), ("corrupted", "('", '("')):
        tab = shown(f"#/circuit/quote?member={member}")
        tab.wait_for_selector(".route .jump", timeout=120_000)
        chips = tab.locator(".route .tokenchip").all_inner_texts()
        assert own == chips[0]
        assert other not in chips


LATE = """
    const late = new Promise((done) => { window.release = done; });
    const ask = window.fetch;
    window.fetch = async (url, options) => {
        const answer = await ask(url, options);
        if (/\\/(effects|ask|prompts)$/.test(String(url))) await late;
        return answer;
    };
"""
"""Holds back what may take the server long, until `release`."""


@pytest.mark.parametrize("width", [1100, 1360])
def test_graph_keeps_its_size(shown: Any, measured: Any, width: int) -> None:
    """Whatever comes late has its room: a zoom that was measured before is the same afterwards."""
    tab = shown("#/", width=width)
    tab.add_init_script(LATE)
    tab.goto(tab.url.partition("#")[0] + "?again#/circuit/quote")
    tab.wait_for_selector("main[data-ready]")
    view = "document.querySelector('.stage').view"
    sizes = f"(({{ size, fit }}) => [size.width, size.height, fit.k])({view})"
    assert tab.locator(".training").is_visible()
    before = tab.evaluate(sizes)
    assert "Read it from the bottom up" in tab.locator(".route").inner_text()
    tab.evaluate("window.release()")
    tab.wait_for_selector(".route .jump")
    tab.wait_for_selector(".prompt [aria-label='next prompt']")
    tab.wait_for_selector(".state:not(.busy) #loss")
    tab.wait_for_timeout(300)
    assert before == tab.evaluate(sizes)

"""The circuit's part of the page, in a browser, on a real circuit and the real server."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Loss = Callable[[Any], float]


def wait_for_loss(tab: Any, loss: Loss, changed_from: float) -> float:
    """The loss once it is another one than before."""
    tab.wait_for_function(
        "(old) => document.querySelector('.state:not(.busy) #loss')?.textContent !== old",
        arg=f"{changed_from:.3f}",
    )
    return loss(tab)


def on_canvas(tab: Any, node: str) -> tuple[float, float]:
    """Where a node is drawn, in pixels of the window."""
    box = tab.locator(".canvas canvas").bounding_box()
    find = "(id) => { const v = document.querySelector('.stage').view"
    x, y = tab.evaluate(f"{find}; return v.at(v.found.byId.get(id)) }}", node)
    return box["x"] + x, box["y"] + y


def test_four_clicks(shown: Any, measured: Any, loss: Loss) -> None:
    """From home, two clicks switch off the edge that matters most, and the answer breaks."""
    tab = shown()
    tab.locator("#start").click()
    before = loss(tab)
    assert before < 0.4
    assert "Which quote closes the string" == tab.locator("h1").inner_text()
    tab.get_by_role("button", name="Edges", exact=True).click()
    first = tab.locator(".matters li").first
    assert "+" == first.locator(".under b").inner_text()[0]
    first.locator("button.switch").click()
    assert wait_for_loss(tab, loss, before) > before + 0.1
    assert "works" != tab.locator("#standing").inner_text()
    assert "Switch on" == first.locator("button.switch").inner_text()
    assert f"off={measured.edge.replace('>', '%3E')}" in tab.url


def test_many_rows_stand_wide(shown: Any) -> None:
    """Where nine rows make the height decide the size, columns use the width that is there."""
    tab = shown("#/circuit/builtin-sparse-single_double_quote")
    tab.wait_for_function("() => document.querySelector('.stage')?.view?.fit")
    share = tab.evaluate(
        """() => {
        const { layout, fit, size } = document.querySelector('.stage').view;
        return (layout.width * fit.k) / (size.width - layout.room.left - layout.room.right);
        }"""
    )
    assert 0.7 < share < 1.001


def test_undo_and_redo(shown: Any, measured: Any, loss: Loss) -> None:
    """Undo, redo and `All on` lead from one state to the other and back, also by keys."""
    tab = shown(f"#/circuit/quote?node={measured.node}")
    before = loss(tab)
    tab.get_by_role("button", name=f"switch off {measured.node}").first.click()
    after = wait_for_loss(tab, loss, before)
    assert after > before
    tab.get_by_role("button", name="Undo").click()
    assert before == wait_for_loss(tab, loss, after)
    tab.keyboard.press("Control+Shift+Z")
    assert after == wait_for_loss(tab, loss, before)
    tab.keyboard.press("Control+z")
    assert before == wait_for_loss(tab, loss, after)
    tab.get_by_role("button", name="Redo").click()
    wait_for_loss(tab, loss, before)
    tab.get_by_role("button", name="All on").click()
    assert before == wait_for_loss(tab, loss, after)
    assert "nothing switched off" == tab.locator("#edits").inner_text()


def test_address_holds_everything(shown: Any, measured: Any, loss: Loss) -> None:
    """A copied address shows the same cut, choice, prompt and ablation; Back undoes a choice."""
    cut = f"node={measured.node}&off={measured.edge}&set={measured.other}=1.5&ablation=zero"
    tab = shown(f"#/circuit/quote?{cut}&pair=3&member=corrupted")
    found = loss(tab)
    assert "2 changed" == tab.locator("#edits").inner_text()
    assert "zero" == tab.locator("#ablation").input_value()
    assert "Switch on" != tab.locator(".switches button.switch").inner_text()
    assert "prompt 4 of 8" in tab.locator(".prompt").inner_text()
    tab.reload()
    assert found == loss(tab)
    tab.locator(".panel .jump").nth(1).click()
    assert measured.node != tab.locator(".cardhead .code").inner_text()
    tab.go_back()
    tab.wait_for_function(
        "(id) => document.querySelector('.cardhead .code')?.textContent === id", arg=measured.node
    )
    assert "2 changed" == tab.locator("#edits").inner_text()


def test_steering(shown: Any, measured: Any, loss: Loss) -> None:
    """The slider sets a node's value; one slide is one step back; it can be let go again."""
    tab = shown(f"#/circuit/quote?node={measured.node}")
    before = loss(tab)
    slider = tab.get_by_label(f"value of {measured.node}")
    slider.focus()
    for _ in range(8):
        tab.keyboard.press("PageUp")
    after = wait_for_loss(tab, loss, before)
    assert "set to" in tab.locator(".steer output").inner_text()
    assert re.search(rf"set={measured.node}%3D-?[\d.]+", tab.url)
    tab.get_by_role("button", name="Let it run").click()
    assert before == wait_for_loss(tab, loss, after)


def test_ablation(shown: Any, measured: Any, loss: Loss) -> None:
    """Another ablation gives another loss, in the address too."""
    tab = shown("#/circuit/quote")
    before = loss(tab)
    tab.locator("#ablation").select_option("zero")
    wait_for_loss(tab, loss, before)
    assert "ablation=zero" in tab.url


def test_graph_answers_the_pointer(shown: Any, measured: Any) -> None:
    """Hovering names a node, clicking opens it, and its neighbours lead on."""
    tab = shown("#/circuit/quote")
    x, y = on_canvas(tab, measured.node)
    tab.mouse.move(x, y)
    tab.wait_for_selector(".tip:not([hidden])")
    layer, _, channel = measured.node.split(".")
    told = tab.locator(".tip").inner_text()
    assert re.search(rf"value, layer {layer}, head \d+, channel {channel}", told)
    tab.mouse.click(x, y)
    assert measured.node == tab.locator(".cardhead .code").inner_text()
    tab.wait_for_selector(".panel .tokens .tokenchip")
    assert "Pushes towards" in tab.locator(".panel .tokens").inner_text()
    weights = tab.locator(".near button.weight")
    assert weights.count() >= 2
    weights.first.click()
    assert "An edge" == tab.locator(".cardhead h2").inner_text()
    token = on_canvas(
        tab, tab.evaluate("document.querySelector('.stage').view.found.rows[0].nodes[0].id")
    )
    tab.mouse.click(*token)
    assert "A token of the prompts" == tab.locator(".cardhead h2").inner_text()


def test_zoom_search_and_threshold(shown: Any, measured: Any) -> None:
    """Zoom, the number of edges and their measure live in the address; search finds."""
    tab = shown("#/circuit/quote")
    tab.get_by_role("button", name="zoom in").click()
    tab.wait_for_function("() => location.hash.includes('view=')")
    view = "document.querySelector('.stage').view.view.k"
    near = tab.evaluate(view)
    tab.reload()
    tab.wait_for_selector("main[data-ready]")
    assert math.isclose(near, tab.evaluate(view), rel_tol=0.01)
    tab.get_by_role("button", name="show everything").click()
    tab.wait_for_function("() => !location.hash.includes('view=')")
    tab.locator("#limit").fill("50")
    shown_links = "document.querySelector('.stage').view.shown.length"
    assert tab.evaluate(shown_links) < 60
    assert "show=" in tab.url
    tab.locator("#measure").select_option("effect")
    assert "by=effect" in tab.url
    tab.locator("#find").fill(".attn_v.")
    found = sum(".attn_v." in name for name in measured.names)
    text = "document.querySelector('#found').textContent"
    tab.wait_for_function(f"() => {text} === '{found} found'")
    tab.keyboard.press("Enter")
    assert ".attn_v." in tab.locator(".cardhead .code").inner_text()


def test_figure_and_table_are_saved(shown: Any, measured: Any, tmp_path: Path) -> None:
    """The graph is saved as whole SVG and PNG, the list as CSV with every node."""
    tab = shown("#/circuit/quote")
    with tab.expect_download() as svg:
        tab.get_by_role("button", name="save the figure as SVG").click()
    svg.value.save_as(tmp_path / "graph.svg")
    text = (tmp_path / "graph.svg").read_text()
    assert "quote-graph.svg" == svg.value.suggested_filename
    assert len(measured.names) == text.count("<circle")
    assert "var(--" not in text
    with tab.expect_download() as png:
        tab.get_by_role("button", name="save the figure as PNG").click()
    png.value.save_as(tmp_path / "graph.png")
    assert b"\x89PNG" == (tmp_path / "graph.png").read_bytes()[:4]
    tab.locator(".all summary").click()
    with tab.expect_download() as csv:
        tab.get_by_role("button", name="Save as CSV").click()
    csv.value.save_as(tmp_path / "nodes.csv")
    lines = (tmp_path / "nodes.csv").read_text().splitlines()
    assert "node,where,about,bias,effect" == lines[0]
    assert len(measured.names) + 1 == len(lines)


def test_notes_survive(shown: Any, measured: Any, folder: Path) -> None:
    """A note is on disk soon after typing, is there after a reload, and stays text."""
    tab = shown(f"#/circuit/quote?node={measured.node}")
    words = "carries the quote <img src=x onerror=alert(1)>"
    tab.locator("#note").fill(words)
    tab.wait_for_function("() => document.querySelector('.notes small').textContent === 'saved'")
    saved = json.loads((folder / "quote" / "annotations.json").read_text())
    assert words in json.dumps(saved, ensure_ascii=False)
    tab.reload()
    tab.wait_for_selector("#note")
    assert words == tab.locator("#note").input_value()
    assert 0 == tab.locator("main img").count()


def test_supernodes(shown: Any, measured: Any) -> None:
    """Groups are proposed, drawn as one node, named, opened and removed."""
    tab = shown("#/circuit/quote")
    count = "document.querySelector('.stage').view.found.nodes.length"
    before = tab.evaluate(count)
    tab.locator(".groups summary", has_text="Groups").click()
    tab.get_by_role("button", name="Propose groups").click()
    tab.get_by_role("button", name="Group", exact=True).first.click()
    tab.wait_for_function(f"() => {count} < {before}")
    name = tab.get_by_label(re.compile("^name of the group")).first
    name.fill("what quotes look like")
    name.blur()
    tab.wait_for_function(
        "() => document.querySelector('.stage').view.found.nodes.some(n => /^what/.test(n.label))"
    )
    tab.reload()
    tab.wait_for_selector("main[data-ready]")
    assert tab.evaluate(count) < before
    tab.locator(".groups summary", has_text="Groups").click()
    tab.get_by_role("button", name="Open", exact=True).click()
    assert before == tab.evaluate(count)
    tab.get_by_role("button", name=re.compile("^remove the group")).click()
    tab.get_by_role("button", name=re.compile("^remove the group")).wait_for(state="detached")


def test_save_and_verify(shown: Any, measured: Any, folder: Path) -> None:
    """The edited circuit becomes a new one and is verified from the page, with its verdict."""
    tab = shown(f"#/circuit/quote?off={measured.edge}")
    tab.get_by_role("button", name="Save and verify").click()
    tab.get_by_label("Name").fill("quote-cut")
    tab.get_by_role("button", name="Save, then verify").click()
    tab.wait_for_selector("#kept", timeout=120_000)
    assert "sufficient" in tab.locator("dialog").inner_text()
    assert (folder / "quote-cut" / "verification.json").is_file()
    tab.get_by_role("link", name="Open quote-cut").click()
    tab.wait_for_function("() => location.hash === '#/circuit/quote-cut'")


def test_keyboard_only(shown: Any, measured: Any, loss: Loss) -> None:
    """Without a mouse: from home to a node of the graph, switched off and on again."""
    tab = shown()
    for _ in range(12):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == "start":
            break
    tab.keyboard.press("Enter")
    before = loss(tab)
    tab.locator(".canvas canvas").focus()
    tab.keyboard.press("ArrowRight")
    assert "token" in tab.locator("#said").inner_text()
    for _ in range(3):
        tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Enter")
    chosen = tab.locator(".cardhead .code").inner_text()
    assert re.match(r"\d\.\w+\.\d+|resid_final\.\d+", chosen)
    tab.keyboard.press("Delete")
    after = wait_for_loss(tab, loss, before)
    tab.keyboard.press("Delete")
    assert before == wait_for_loss(tab, loss, after)
    tab.keyboard.press("Escape")
    assert 0 == tab.locator(".cardhead").count()

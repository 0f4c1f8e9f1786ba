"""Traces of typed prompts in a browser: from a typed mistake to its cause, by mouse and by keys."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lacewing.viewer.exports.rules import problems
from lacewing.viewer.serve import STATIC

GPT2 = Path(__file__).parents[2] / "model" / "gpt2"
MISTAKE = "    print(\"use 'x' here"
"""`builtin:taught-sparse` takes the inner quotes for those around: it closes with `')`."""
PLAIN = "print('No reviews"
SINGLE, DOUBLE = "')", '")'
Shown = Callable[..., Any]
NOW = "Number(document.querySelector('.now [data-now]').dataset.now)"


def traced(
    shown: Shown, text: str = PLAIN, more: str = "", model: str = "builtin-taught-sparse"
) -> Any:
    """A tab with a trace that is drawn."""
    ends = f"&answer={quote(SINGLE)}&rival={quote(DOUBLE)}"
    tab = shown(f"#/trace/{model}?text={quote(text)}{ends}{more}")
    tab.wait_for_selector(".gridscroll svg", timeout=120_000)
    return tab


def held(tab: Any) -> float:
    """The difference once the model has answered to what is changed."""
    tab.wait_for_selector(".now .figures:not([data-busy=yes]) .word > small")
    return float(tab.evaluate(NOW))


def test_five_clicks(shown: Shown) -> None:
    """From home: Trace, Trace, the first node, off: four clicks from a mistake to its cause."""
    tab = shown()
    tab.get_by_role("link", name="Trace", exact=True).click()
    tab.locator("#prompt").fill(MISTAKE)
    tab.locator("#answer").fill("')")
    tab.locator("#rival").fill('")')
    tab.get_by_role("button", name="Trace", exact=True).click()
    tab.wait_for_selector(".gridscroll svg", timeout=120_000)
    before = tab.evaluate(NOW)
    assert before > 0.3
    assert "by 0." in tab.locator(".said .lead").inner_text()
    tab.locator(".matters button.name").first.click()
    tab.wait_for_selector(".more .facts")
    cause = tab.locator(".panel").inner_text()
    assert "Comes from" in cause
    assert "switched off here, measured" in cause
    tab.locator(".switches button.switch").first.click()
    assert held(tab) < 0
    assert "turned" in tab.locator(".now").inner_text()
    assert "1 changed" == tab.locator(".now .edits").inner_text()
    assert "off=" in tab.url
    assert "Switch on" == tab.locator(".switches button.switch").first.inner_text()


def test_address_holds_everything(shown: Shown) -> None:
    """What is chosen, pinned, off, set, drawn and grouped is there again after a reload."""
    more = "&node=0.attn_out.6@5&pins=resid_final.6@5,0.attn_v.275@1&off=0.attn_v.275@1"
    tab = traced(shown, more=f"{more}&set=resid_final.6@5=1.5&by=heads&show=12")
    changed = held(tab)
    mark = tab.locator(".mark.chosen")
    assert "attention writes, layer 0, channel 6" in mark.get_attribute("aria-label")
    assert "12 of" in tab.locator(".limits output").inner_text()
    assert "heads" == tab.locator("#by").input_value()
    assert 2 == tab.locator(".mark.pinned").count()
    count = tab.locator(".mark").count()
    tab.reload()
    tab.wait_for_selector(".mark.chosen", timeout=60_000)
    assert changed == held(tab)
    assert count == tab.locator(".mark").count()
    assert "0.attn_out.6@5" == tab.locator(".cardhead .code").inner_text()
    tab.get_by_role("button", name="back to what carried it most").click()
    assert "node=" not in tab.url
    tab.go_back()
    tab.wait_for_selector(".cardhead .code")
    assert "2 changed" == tab.locator(".now .edits").inner_text()
    tab.get_by_role("button", name="All on").click()
    tab.wait_for_function("() => !location.hash.includes('off=') && !location.hash.includes('set')")


def test_keyboard_only(shown: Shown) -> None:
    """Tab comes to the grid; arrows walk, Enter chooses, P pins, Delete switches off."""
    tab = traced(shown)
    before = tab.evaluate(NOW)
    tab.locator("#by").focus()
    for _ in range(4):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.classList.contains('mark')"):
            break
    first = tab.evaluate("document.activeElement.dataset.key")
    assert "@" in first
    tab.keyboard.press("ArrowDown")
    second = tab.evaluate("document.activeElement.dataset.key")
    assert first != second
    assert "nats" in tab.locator("#said").inner_text()
    tab.keyboard.press("Enter")
    assert second == tab.locator(".cardhead .code").inner_text()
    assert second == tab.evaluate("document.activeElement.dataset.key")
    tab.keyboard.press("p")
    assert f"pins={quote(second)}" in tab.url
    tab.keyboard.press("Delete")
    held(tab)
    assert 1 == tab.locator(".mark.off").count()
    tab.keyboard.press("Delete")
    tab.wait_for_function(f"(old) => Math.abs({NOW} - old) < 1e-4", arg=before)
    tab.keyboard.press("Escape")
    assert 0 == tab.locator(".cardhead").count()
    tab.keyboard.press("/")
    assert "find" == tab.evaluate("document.activeElement.id")


def test_search_pins_and_groups(shown: Shown) -> None:
    """Nodes are found by name and meaning, pinned, made a group, and one is dissolved again."""
    tab = traced(shown)
    tab.locator("#find").fill("open quote")
    tab.wait_for_function("() => document.querySelector('#found').textContent === '1 found'")
    assert tab.locator(".mark:not(.faded)").count() == 1
    tab.keyboard.press("Enter")
    assert "0.attn_out.6@5" == tab.locator(".cardhead .code").inner_text()
    assert "Active where the open quote" in tab.locator(".panel .meaning").inner_text()
    tab.locator("#find").fill("")
    tab.locator("#pin").click()
    tab.locator(".links .jump .what").first.click()
    tab.locator("#pin").click()
    before = tab.locator(".mark").count()
    tab.get_by_role("button", name="Group them").click()
    tab.wait_for_function("(n) => document.querySelectorAll('.mark').length === n - 1", arg=before)
    assert "groups=" in tab.url
    tab.locator(".mark[aria-label*='group of 2']").click()
    assert "A group of nodes" == tab.locator(".cardhead h2").inner_text()
    tab.get_by_role("button", name="Dissolve").click()
    tab.wait_for_function("(n) => document.querySelectorAll('.mark').length === n", arg=before)
    tab.locator("#limit").fill("5")
    tab.wait_for_function("(n) => document.querySelectorAll('.mark').length < n - 20", arg=before)
    tab.locator("#by").select_option("tokens")
    assert "by=tokens" in tab.url


def test_labels_groups_and_a_partner(shown: Shown) -> None:
    """Explained nodes bear their labels and are joined at first; others bear hints of the trace."""
    tab = traced(shown, more="&seek=1&node=0.attn_out.96@5")
    told = tab.locator(".panel .hint").inner_text()
    assert "Not explained" in told
    assert re.search(r"from\s+\('", told)
    assert 1 == tab.locator(".mark[aria-label*='2 nodes']").count()
    found = tab.locator(".said .partner").inner_text()
    assert re.search(r"Found partner: \('\s+is\s+\(\"", found)
    assert "with its value on the partner" in tab.locator(".panel .facts").first.inner_text()
    tab.locator("#measure").select_option("partner")
    assert "measure=partner" in tab.url
    tab.locator("#by").select_option("alike")
    tab.locator(".mark[aria-label*='~ from']").first.wait_for()
    tab.locator("#by").select_option("each")
    assert 0 == tab.locator(".mark[aria-label*='2 nodes']").count()
    tab.get_by_role("button", name="back to what carried it most").click()
    assert "What the partner would take away most" == tab.locator(".panel h2").first.inner_text()
    labels = tab.locator(".matters .title > .tokenchip").all_inner_texts()
    assert any(label.startswith("~ from") for label in labels)
    assert any('quote == "' in label and not label.startswith("~") for label in labels)


def test_progress_and_cancel(shown: Shown) -> None:
    """What is being done is said; Cancel is told to the server, and the page asks no more."""
    tab = shown("#/trace/builtin-taught-sparse")
    asked: list[str] = []
    far = {"state": "computing", "done": 3, "total": 10, "note": "reading the prompt"}

    def answered(route: Any) -> None:
        asked.append(route.request.url.rpartition("/api/")[2])
        route.fulfill(json={"cancelled": True} if asked[-1].endswith("cancel") else far)

    tab.route("**/api/models/*/trace**", answered)
    tab.locator("#prompt").fill(PLAIN)
    tab.get_by_role("button", name="Trace", exact=True).click()
    tab.locator(".said [role=status]", has_text="reading the prompt").wait_for()
    assert [3, 10] == tab.locator(".said progress").evaluate("(e) => [e.value, e.max]")
    tab.get_by_role("button", name="Cancel", exact=True).click()
    tab.locator(".said .error", has_text="Cancelled").wait_for()
    tab.wait_for_timeout(1500)
    assert asked[-1].endswith("/trace/cancel")
    assert 1 == sum(url.endswith("cancel") for url in asked)


def test_any_node_of_the_model(shown: Shown) -> None:
    """One that the trace does not keep: its value, what drives it, where its head looks."""
    tab = traced(shown)
    tab.locator("#find").fill("0.attn_q.261@5")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".more .facts")
    told = tab.locator(".panel").inner_text()
    assert "Not among the nodes that the trace keeps" in told
    assert re.search(r"Head 0\.8 looks from\s+s\s+at\s+\('", told)
    assert "What drives it, of all nodes" in told
    assert "Switched on by, of all tokens" in told


def test_a_graph_for_others(shown: Shown, tmp_path: Path) -> None:
    """The page saves a graph that circuit-tracer's page and Neuronpedia take."""
    tab = traced(shown)
    tab.get_by_text("Everything as a list").click()
    with tab.expect_download(timeout=120_000) as saved:
        tab.get_by_role("button", name="Save as a graph for circuit-tracer and Neuronpedia").click()
    saved.value.save_as(tmp_path / "trace.json")
    assert problems(json.loads((tmp_path / "trace.json").read_text())) == []


def test_where_in_text_a_node_acts(shown: Shown) -> None:
    """Opened once, it stays open for the next node and after a reload; so does what is sought."""
    tab = traced(shown, more="&node=0.attn_out.6")
    assert not tab.locator(".acts pre.heat").count()
    tab.locator(".acts summary").click()
    tab.wait_for_selector(".acts pre.heat .peak", timeout=120_000)
    assert "tokens of natural text" in tab.locator(".acts").inner_text()
    assert "texts=1" in tab.url
    tab.locator("#find").fill("attn_out")
    tab.wait_for_function("() => location.hash.includes('find=attn_out')")
    sought = tab.locator("#found").inner_text()
    assert "found" in sought
    tab.reload()
    tab.wait_for_selector(".acts pre.heat .peak", timeout=120_000)
    assert ("attn_out", sought) == (
        tab.locator("#find").input_value(),
        tab.locator("#found").inner_text(),
    )
    tab.locator(".acts summary").click()
    tab.wait_for_function("() => !location.hash.includes('texts=')")


def test_steer_and_go_on(shown: Shown) -> None:
    """The slider moves the difference; the text goes on as it was and as it is now."""
    tab = traced(shown, more="&node=resid_final.6@5")
    before = tab.evaluate(NOW)
    slider = tab.get_by_label("value of resid_final.6@5")
    slider.focus()
    for _ in range(6):
        tab.keyboard.press("PageUp")
    assert held(tab) < before - 1
    assert "set to" in tab.locator(".steer output").inner_text()
    tab.get_by_role("button", name="Go on from here").click()
    tab.wait_for_selector(".goes pre")
    assert tab.locator(".goes pre").first.inner_text().startswith("')")
    assert "go=1" in tab.url
    # At once after a change, which is still to be asked about: the text stays.
    tab.keyboard.press("Tab")
    slider.focus()
    tab.keyboard.press("ArrowDown")
    tab.get_by_role("button", name="Go on from here").click()
    tab.wait_for_timeout(1000)
    tab.wait_for_selector(".goes pre")


def test_two_prompts(shown: Shown) -> None:
    """Side by side: the same answers, what each node carried in both, a choice in the other one."""
    tab = traced(shown, more=f"&vs={quote(PLAIN.replace(chr(39), chr(34)))}")
    tab.wait_for_selector(".sidebyside tbody tr", timeout=120_000)
    assert 2 == tab.locator(".gridscroll svg").count()
    left, right = tab.evaluate(
        "() => [...document.querySelectorAll('.now [data-now]')].map((e) => Number(e.dataset.now))"
    )
    assert left > 3 > right
    cells = tab.locator(".sidebyside tbody tr").first.locator("td").all_inner_texts()
    one, two, change = (float(cell.replace("\u2212", "-")) for cell in cells[3:])
    assert change == pytest.approx(two - one, abs=0.011)
    tab.locator(".stage").nth(1).locator(".mark.plus").first.click()
    assert "at=2" in tab.url
    tab.wait_for_selector(".more .facts")


def test_one_line_for_what_is_wrong(browser: Any, server: str) -> None:
    """No prompt, one too long, an answer of several tokens, two that are one, no such node."""
    tab = browser.new_page()  # a refusal is also told on the console
    tab.set_default_timeout(60_000)
    tab.goto(f"{server}#/trace/builtin-taught-sparse")
    tab.wait_for_selector("main[data-ready]")
    tab.get_by_role("button", name="Trace", exact=True).click()
    assert "Type a prompt first." == tab.locator(".ask .error").inner_text()
    assert "prompt" == tab.evaluate("document.activeElement.id")
    for text, ends, said in (
        ("a b " * 400, ("", ""), r"the prompt has \d+ tokens; this model takes 1 to \d+"),
        (PLAIN, ("') and more", ""), r"is \d+ tokens of this model"),
        (PLAIN, ("')", "')"), "choose another rival"),
    ):
        tab.locator("#prompt").fill(text)
        tab.locator("#answer").fill(ends[0])
        tab.locator("#rival").fill(ends[1])
        tab.get_by_role("button", name="Trace", exact=True).click()
        line = tab.locator(".said .error", has_text=re.compile(said))
        line.wait_for(timeout=60_000)
        assert "\n" not in line.inner_text()
    tab.goto(f"{server}#/trace/builtin-taught-sparse?text={quote(PLAIN)}")
    tab.wait_for_selector(".gridscroll svg", timeout=120_000)
    tab.locator("#find").fill("0.attn_q.99999@5")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".more .error")
    assert "is no node of builtin:taught-sparse" in tab.locator(".more .error").inner_text()
    tab.close()


def test_model_of_others(shown: Shown, here: Any, circuit_folder: Path, tmp_path: Path) -> None:
    """A model of transformers is traced as readily: grid, lens, card, cut, text."""
    pytest.importorskip("transformers")
    place = shutil.copytree(GPT2, tmp_path / "gpt2")
    with here(circuit_folder, STATIC, models=(f"hf:{place}",)) as running:
        tab = shown("#/trace", base=running.url)
        tab.locator("#prompt").fill("def f(x):\n    try:\n        return x\n    except")
        tab.get_by_role("button", name="Trace", exact=True).click()
        tab.wait_for_selector(".gridscroll svg", timeout=120_000)
        assert "by attribution" in tab.locator(".said .lead").inner_text()
        assert 5 == tab.locator("ol.lens li").count()
        tab.locator(".matters button.name").first.click()
        tab.wait_for_selector(".more .facts")
        tab.locator(".switches button.switch").first.click()
        held(tab)
        tab.get_by_role("button", name="Go on from here").click()
        tab.wait_for_selector(".goes pre")
        tab.context.close()


def test_from_a_circuit(shown: Shown, measured: Any) -> None:
    """The bar leads from a circuit to traces of its model, and a node's card back to circuits."""
    tab = shown("#/circuit/quote")
    tab.get_by_role("link", name="Trace", exact=True).click()
    tab.wait_for_url("**#/trace/builtin-taught-sparse")
    tab.wait_for_selector("main[data-ready]")
    assert "builtin-taught-sparse" == tab.locator("#model").input_value()
    tab = traced(shown, more="&node=0.attn_out.6@5")
    tab.wait_for_selector(".more .facts")
    tab.locator(".more a.code", has_text="quote").first.click()
    tab.wait_for_selector(".stage canvas")
    assert "0.attn_out.6" == tab.locator(".cardhead .code").inner_text()

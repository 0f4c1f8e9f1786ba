"""Circuits of latents in a browser: drawn, read, cut, steered; what cannot be done is told."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from latent import served

import micro
from lacewing.model.store import load
from lacewing.viewer.serve import STATIC

Shown = Callable[..., Any]
ID = "circuits-latents"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, its autoencoders, and a circuit of latents of which one is explained."""
    root, _, circuit = served(tmp_path_factory.mktemp("latents") / "work")
    node = next(name for name in circuit.node_names() if name.startswith("0.mlp_out."))
    row = {"node": node, "explanation": 'tok[0] in {"X"}', "sentence": 'Active where "X" is read.'}
    row |= {"f1": 0.9, "pearson": 0.9, "control": 0.4, "verdict": "supported"}
    row["card"] = {"described": True, "ci95": {"f1": [0.8, 0.95]}, "best_control": {"name": "x"}}
    said = {"schema": "lacewing.explain/1", "language": "python", "nodes": [row], "groups": []}
    (root / "circuits" / "latents" / "explanations.json").write_text(json.dumps(said))
    return root


@pytest.fixture(scope="module")
def address(here: Any, work: Path) -> Iterator[str]:
    """A server over it."""
    with here(work, STATIC) as running:
        yield running.url


@pytest.fixture(scope="module")
def explained(work: Path) -> str:
    """The latent that is explained."""
    said = json.loads((work / "circuits" / "latents" / "explanations.json").read_text())
    return str(said["nodes"][0]["node"])


def test_from_home_to_a_latent(
    shown: Shown, address: str, loss: Callable[[Any], float], explained: str
) -> None:
    """Home, the graph, a latent's panel; cut and steered, the model answers again."""
    tab = shown("#/", base=address)
    tab.locator("a.open", has_text=ID).first.click()
    before = loss(tab)
    lead = tab.locator(".intro").inner_text()
    assert "36 latents and 7 channels of what they miss, of 1,536 nodes, decide it." in lead
    assert "No weight joins two latents, so there are no edges" in lead
    assert tab.locator("#limit").count() == 0
    sites = tab.evaluate(
        "[...new Set(document.querySelector('.stage').view.found.nodes.map((n) => n.key))]"
    )
    assert set(sites) == {"0.attn_in", "0.mlp_out", "resid_final", "token", "answer"}
    tab.evaluate(
        """(id) => {
          const { view } = document.querySelector(".stage");
          const [x, y] = view.at(view.found.byId.get(id));
          const box = view.canvas.getBoundingClientRect();
          const at = { clientX: box.x + x, clientY: box.y + y, bubbles: true, view: window };
          view.canvas.dispatchEvent(new MouseEvent("click", at));
        }""",
        explained,
    )
    panel = tab.locator(".panel")
    panel.locator("h3", has_text="Decoder, largest channels of 0.mlp_out").wait_for()
    text = panel.inner_text()
    for part in (
        "A latent, MLP writes, layer 0",
        'Active where "X" is read.',
        "Pushes towards, of all tokens",
        "Encoder, largest channels of 0.mlp_out",
        "One of 384 latents of its site (topk)",
    ):
        assert part in text
    panel.locator(f"[data-key='switch {explained}']").click()
    tab.wait_for_selector("#edits:has-text('1 changed')")
    cut = loss(tab)
    assert cut != before
    panel.locator(".steer input").fill("2")
    tab.wait_for_function(
        "(cut) => !document.querySelector('.state.busy') && "
        "document.querySelector('#loss').innerText !== cut",
        arg=f"{cut:.3f}",
    )
    assert f"set={explained}" in tab.url.replace("%3A", ":")
    panel.locator("a", has_text="See it in text").click()
    tab.wait_for_selector(".examples pre.heat", timeout=120_000)
    assert "latent " in tab.locator(".choose").inner_text()
    assert (
        "look at heads in a circuit of the model under them" in tab.locator(".attend").inner_text()
    )


def test_a_missed_channel_and_the_list(shown: Shown, address: str) -> None:
    """What latents miss is named so; the list has nodes alone, and the files fit."""
    tab = shown(f"#/circuit/{ID}?node=resid_final.388", base=address)
    panel = tab.locator(".panel")
    panel.locator("text=beyond what the 384 latents of its site say").wait_for()
    assert "missed channel 4" in panel.inner_text()
    tab.locator("details.all summary").click()
    tab.wait_for_selector("details.all tbody tr")
    assert tab.locator("details.all tbody tr").count() == 43
    assert tab.locator("details.all [data-kind=edges]").count() == 0
    tab.locator("text=Export").first.click()
    files = tab.locator("a[download]").all_inner_texts()
    assert "Graphviz" in files
    assert not any("Attribution graph of this prompt" in words for words in files)


def test_a_drawn_circuit_beside_it(shown: Shown, work: Path, here: Any, tmp_path: Path) -> None:
    """No count of edges is a dash: it is not the fewest, where one begins or where two face."""
    root = Path(shutil.copytree(work, tmp_path / "work"))
    micro.make(load(root / "dense"), micro.PLANTED).save(root / "circuits" / "drawn")
    with here(root, STATIC) as running:
        tab = shown("#/", base=running.url)
        assert tab.locator("#start").get_attribute("href") == "#/circuit/circuits-drawn"
        row = tab.locator("tr", has_text=ID)
        assert row.locator("td.n").nth(1).inner_text() == "\u2013"
        tab = shown(f"#/compare?left={ID}&right=circuits-drawn", base=running.url)
        edges = tab.locator("table.facing tr", has_text="edges").first
        assert edges.locator("td").first.inner_text() == "\u2013"
        assert "times" not in edges.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(shown: Shown, address: str, scheme: str, explained: str) -> None:
    """Nothing is wider than the window."""
    settings = {"width": 390, "height": 844, "color_scheme": scheme, "base": address}
    tab = shown(f"#/circuit/{ID}?node={explained}", **settings)
    tab.locator(".panel h3", has_text="Decoder").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_autoencoders_that_are_gone(shown: Shown, work: Path, here: Any, tmp_path: Path) -> None:
    """One line names them, at home and where the circuit would be; the page is whole."""
    root = Path(shutil.copytree(work, tmp_path / "work"))
    shutil.rmtree(root / "saes")
    line = "its autoencoders in saes are missing (there is no such folder)"
    with here(root, STATIC) as running:
        assert httpx.get(f"{running.url}api/circuits/{ID}").status_code == 409
        tab = shown("#/", base=running.url)
        row = tab.locator("tr", has_text=ID)
        assert line in row.locator(".error").inner_text()
        assert row.locator("a.open").count() == 0
        assert tab.locator("a.open").count() > 0  # those that come with lacewing
        assert tab.locator("details.model").count() > 1

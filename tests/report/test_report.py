"""The report of a small real run: what it says is what was measured, and it opens from disk."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import micro
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.errors import ConfigError
from lacewing.model.sites import site_widths
from lacewing.model.store import load
from lacewing.report.build import report
from lacewing.report.page import block_densities
from lacewing.tasks.pair import Pair

PAIR = Pair("if x", "x", " ==", " =", "a.py")


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the small trained run, to which circuits may be added."""
    import shutil

    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def add_circuit(run: Path, name: str, per_site: int) -> Circuit:
    """A circuit of the first few channels of every site, saved under the run."""
    model = load(run)
    nodes = {
        key: np.arange(min(per_site, width), dtype=np.int32)
        for key, width in site_widths(model.network.config).items()
    }
    circuit = circuit_of(
        model.network,
        nodes,
        model_id=model.id,
        model_source=str(run),
        task=name,
        answers=(1, 2),
        ablation="mean",
        config=PruneConfig(target_loss=0.15),
        losses={"full": 0.1, "circuit": 0.14, "validation": 0.15},
        pairs=(PAIR,),
    )
    circuit.save(run / "circuits" / name)
    return circuit


def test_numbers_are_the_runs(own: Path, tmp_path: Path) -> None:
    """report.json repeats the run's summary, metrics and circuit sizes."""
    circuit = add_circuit(own, "if_equals", 3)
    report(own, tmp_path / "report")
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert json.loads((own / "summary.json").read_text()) == data["summary"]
    assert circuit.n_edges == data["circuits"][0]["edges"]["paper"]
    assert circuit.node_names() == data["circuits"][0]["node_names"]
    assert len((own / "metrics.jsonl").read_text().splitlines()) == len(data["metrics"])


def test_page_needs_nothing_else(own: Path, tmp_path: Path) -> None:
    """The page names no address but the SVG namespace, and every figure in it is well-formed."""
    add_circuit(own, "if_equals", 4)
    page = report(own, tmp_path / "report").read_text()
    addresses = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) >= 2
    for figure in figures:
        ElementTree.fromstring(figure)


def test_figures_are_files_too(own: Path, tmp_path: Path) -> None:
    """Every figure stands beside the page as SVG and as PNG."""
    add_circuit(own, "if_equals", 4)
    report(own, tmp_path / "report")
    for name in ("training", "circuit-if_equals"):
        assert ElementTree.parse(tmp_path / "report" / f"{name}.svg").getroot().tag.endswith("svg")
        assert (tmp_path / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_missing_parts_are_named(own: Path, tmp_path: Path) -> None:
    """Without tasks, circuits and comparison the page says which commands make them."""
    page = report(own, tmp_path / "report").read_text()
    for command in ("lacewing tasks", "lacewing prune", "lacewing compare"):
        assert command in page


def test_what_is_left_out_is_named(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A circuit that is not whole, and a pruning on its way: a line, and the page says it too."""
    for name in ("whole", "torn", "half"):
        add_circuit(own, name, 3)
    (own / "circuits" / "torn" / "manifest.json").unlink()
    (own / "circuits" / "half").rename(own / "circuits" / "half.unfinished")
    (own / "circuits" / "notes.txt").write_text("mine")
    add_circuit(own, "away", 3)
    (own / "circuits" / "away").rename(tmp_path / "away")
    (own / "circuits" / "away").symlink_to(tmp_path / "away")
    page = report(own, tmp_path / "report").read_text()
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("left out: ")]
    assert "half.unfinished is a pruning on its way" in line
    assert "torn has no manifest.json" in line
    assert "away is a link out of the run" in line
    assert "notes.txt" not in line
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [circuit["task"] for circuit in data["circuits"]] == ["whole"]
    assert all(f"Left out: {sentence}." in page for sentence in data["left_out"])
    assert len(data["left_out"]) == 3


def test_verdicts_are_shown(own: Path, tmp_path: Path) -> None:
    """A failed verdict appears as NO with its reason; nothing says that a circuit holds."""
    add_circuit(own, "if_equals", 4)
    sufficient, necessary = (micro.SHORT_TEST[name] for name in ("sufficient", "necessary"))
    failed = necessary | {"verdict": False, "reason": "without it the loss is only 0.2"}
    unresolved = sufficient | {"verdict": None, "interval": [0.1, 0.2]}
    verification = micro.SHORT_TEST | {"necessary": failed, "sufficient": unresolved}
    path = own / "circuits" / "if_equals" / "verification.json"
    path.write_text(json.dumps(verification))
    page = report(own, tmp_path / "report").read_text()
    assert "necessary: NO" in page
    assert "sufficient: unresolved" in page
    assert "0 of 2 short tests; fails: necessary" in page
    assert "<b>0 of 1</b><span>circuits pass 2 of 2 short tests" in page
    assert "without it the loss is only 0.2" in page


def test_meanings_are_shown(own: Path, tmp_path: Path) -> None:
    """What is explained well has a row, as text; what is not is counted; without any, how to."""
    add_circuit(own, "if_equals", 4)
    place = own / "circuits" / "if_equals" / "explanations.json"
    assert "lacewing explain --circuit" in report(own, tmp_path / "without").read_text()
    card = {"ci95": {"f1": [0.8, 0.95]}, "best_control": {"name": "unigram", "f1": 0.4}}
    good = {"node": "0.attn_in.1", "sentence": "Active where <b>.", "f1": 0.9, "verdict": None}
    rows = [good | {"card": card | {"described": True}}]
    rows += [{"node": "0.attn_in.2", "sentence": "Nothing can be said."}]
    shares = {"explained": 0.5, "described": 0.5, "supported": 0.0, "tokens": 9, "seed": 0}
    place.write_text(json.dumps({"nodes": rows} | shares))
    page = report(own, tmp_path / "report").read_text()
    assert "<td>0.attn_in.1</td><td>Active where &lt;b&gt;.</td><td>0.90 [0.80, 0.95]</td>" in page
    assert "unigram 0.40" in page
    assert "Of 2 nodes 50 % are described" in page
    assert "0.attn_in.2</td>" not in page


def test_empty_circuit_draws(own: Path, tmp_path: Path) -> None:
    """A circuit without a node or an edge is drawn all the same."""
    add_circuit(own, "nothing", 0)
    assert "Circuit: nothing" in report(own, tmp_path / "report").read_text()


def test_foreign_folder_is_left_alone(own: Path, tmp_path: Path) -> None:
    """A folder that is no report is refused, and what is in it stays."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="no report of lacewing"):
        report(own, tmp_path / "mine")
    assert "keep" == (tmp_path / "mine" / "notes.txt").read_text()


def test_older_report_is_replaced(own: Path, tmp_path: Path) -> None:
    """A second report takes the place of the first."""
    report(own, tmp_path / "report")
    add_circuit(own, "if_equals", 2)
    assert "Circuit: if_equals" in report(own, tmp_path / "report").read_text()


def test_block_densities_are_the_four_matrices(own: Path) -> None:
    """Only attention and MLP matrices count for the share of zeros."""
    summary = json.loads((own / "summary.json").read_text())
    assert 8 == len(block_densities(summary))  # four in each of two layers

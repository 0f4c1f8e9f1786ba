"""A circuit of latents in the report of the run that they are of."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.model.store import load
from lacewing.report.build import report
from lacewing.sae import folder as saved
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.config import SaeConfig
from lacewing.tasks.pair import Pair

SITE = "0.mlp_out"
PAIR = Pair("if x", "x", " ==", " =", "a.py")
CONFIG = SaeConfig(k=4, tokens=4096, revival=0.0)


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the small trained run, with autoencoders and a circuit of their latents."""
    place = Path(shutil.copytree(run, tmp_path / "run"))
    model = load(place)
    width = len(model.means[SITE])
    rows, none = torch.eye(width), torch.zeros(width)
    sae = Autoencoder(SITE, SITE, "topk", 4, rows, none.clone(), rows.clone(), none.clone(), none)
    more = {"corpus": "text", "config": CONFIG.as_json()}
    saved.save(tmp_path / "saes", model, [sae], {SITE: none}, **more)
    latent = load(f"sae:{tmp_path / 'saes'}")
    nodes = {key: np.zeros(0, dtype=np.int32) for key in latent.means}
    nodes[SITE] = np.array([0, 3, width - 1, width], dtype=np.int32)
    circuit_of(
        latent.network,
        nodes,
        model_id=latent.id,
        model_source=latent.source,
        task="if_equals",
        answers=(1, 2),
        ablation="mean",
        config=PruneConfig(target_loss=0.15, prompts=64),
        losses={"full": 0.1, "circuit": 0.14, "validation": 0.15},
        pairs=(PAIR,),
    ).save(place / "circuits" / "latents")
    return place


def test_it_is_reported(own: Path, tmp_path: Path) -> None:
    """Its latents are counted apart from what they miss, drawn, and made by two commands."""
    page = report(own, tmp_path / "report").read_text()
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    (circuit,) = data["circuits"]
    assert circuit["latents"]["missed"] == 1
    assert circuit["edges"] == {"paper": 0, "all": 0}
    assert "3 latents and 1 channels of what they miss" in " ".join(page.split())
    assert "no weight joins two latents" in page
    figure = (tmp_path / "report" / "circuit-latents.svg").read_text()
    assert figure.count("<circle") == 4
    *_, train, prune, _ = data["commands"]
    words = ["--site", SITE, "--corpus", "text", "--output", str(tmp_path / "saes")]
    words += ["--k", "4", "--tokens", "4096", "--revival", "0.0"]
    assert shlex.split(train) == ["lacewing", "sae", "--model", str(own), *words]
    assert f"prune --model sae:{tmp_path / 'saes'}" in prune


def test_its_autoencoders_are_gone(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The circuit is left out in one line, and the report is there."""
    shutil.rmtree(tmp_path / "saes")
    page = report(own, tmp_path / "report").read_text()
    said = f"its autoencoders in {tmp_path / 'saes'} are missing: put them back, or prune again"
    assert said in page
    assert said in capsys.readouterr().err
    assert json.loads((tmp_path / "report" / "report.json").read_text())["circuits"] == []


@pytest.mark.parametrize("change", ["retrained", "of another model"])
def test_it_fits_no_more(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """Autoencoders trained anew, or of another model: left out in one line that says so."""
    model, place = load(own), tmp_path / "saes"
    old = saved.read(place, model)
    shutil.rmtree(place)
    if change == "retrained":
        means = {key: mean + 1 for key, mean in old.means.items()}
        saved.save(place, model, old.saes, means, corpus="x")
        said = "belongs to model"
    else:
        saved.save(place, replace(model, id="0" * 16), old.saes, dict(old.means), corpus="x")
        said = f"the autoencoders in {place} are of model {'0' * 16}"
    page = report(own, tmp_path / "report").read_text()
    assert said in page
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("left out: ")]
    assert said in line
    assert json.loads((tmp_path / "report" / "report.json").read_text())["circuits"] == []


def test_it_shows_itself(own: Path) -> None:
    """In a notebook, with its dots."""
    circuit = Circuit.load(own / "circuits" / "latents")
    assert circuit._repr_html_().count("<circle") == 4

"""Autoencoders trained, measured and saved, killed and gone on with, refused where none fits."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import micro
from lacewing import artifacts
from lacewing.cli.app import main
from lacewing.data.corpus import Corpus
from lacewing.errors import LacewingError
from lacewing.model.store import Model, load
from lacewing.sae import folder as saved
from lacewing.sae import train as training
from lacewing.sae.config import SaeConfig
from lacewing.sae.learner import Learner
from lacewing.sae.text import KIND, text_of

QUICK: dict[str, Any] = {"tokens": 2048, "batch": 8, "k": 4, "expansion": 2}
QUICK |= {"held_out": 256, "learning_rate": 0.1}
SITES = ["0.attn_out", "0.mlp_out"]


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text of the micro model's letters, in many files."""
    return micro.write_letters(tmp_path_factory.mktemp("sae") / "text")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro model as a run."""
    return micro.write_run(micro.micro(), tmp_path_factory.mktemp("sae-run") / "run")


@pytest.fixture(scope="session")
def model(run: Path) -> Model:
    """The same, open."""
    return load(str(run))


@pytest.fixture(scope="session")
def trained(model: Model, letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Autoencoders at two sites; read only."""
    folder = tmp_path_factory.mktemp("sae-trained") / "saes"
    training.train(model, SITES, folder, SaeConfig(**QUICK), str(letters), quiet=True)
    return folder


def test_the_folder(trained: Path, model: Model) -> None:
    """It holds SAELens' files by site, and says whose they are and what they do."""
    facts = saved.facts_of(trained)
    assert (facts.model_id, facts.tokens) == (model.id, 2048)
    assert [place.site for place in facts.sites] == SITES
    assert all((trained / site / "cfg.json").exists() for site in SITES)
    assert not trained.with_name("saes.unfinished").exists()
    for sae in saved.read(trained, model).saes:
        torch.testing.assert_close(sae.decoder.norm(dim=1), torch.ones(sae.latents))
        torch.testing.assert_close(sae.input_bias, sae.decoder_bias)


def test_the_figures(trained: Path) -> None:
    """Each with its interval, and beside the loss of the site as it is, at zero, at its mean."""
    for one in saved.facts_of(trained).figures:
        names = ("loss_recovered", "recovered_from_mean", "l0", "dead_share", "explained_variance")
        for name in names:
            low, high = one[name]["interval"]
            assert low - 1e-9 <= one[name]["value"] <= high + 1e-9, name
        assert set(one["losses"]) == {"full", "spliced", "zero", "mean"}
        assert one["l0"]["value"] <= QUICK["k"]
        assert one["explained_variance"]["value"] > 0.3
        losses = {name: loss["value"] for name, loss in one["losses"].items()}
        worst = losses["zero"]
        by_hand = (worst - losses["spliced"]) / (worst - losses["full"])
        assert one["loss_recovered"]["value"] == pytest.approx(by_hand, abs=1e-6)


def test_a_perfect_dictionary(model: Model, letters: Path) -> None:
    """One latent for each channel and sign recovers all of the loss and leaves nothing out."""
    from lacewing.sae.autoencoder import Autoencoder
    from lacewing.sae.figures import measured

    width = model.network.config.d_model
    rows, none = torch.cat([torch.eye(width), -torch.eye(width)]), torch.zeros(2 * width)
    zero = torch.zeros(width)
    sae = Autoencoder("0.mlp_out", "0.mlp_out", "standard", 0, rows, none, rows, zero, zero)
    text = text_of(model, Corpus.parse(str(letters)), letters.with_name("tokens"), 512, 512, 0)
    (found,) = measured(model, [sae], text.windows(512), quiet=True)
    assert found.explained_variance.value == pytest.approx(1, abs=1e-6)
    assert found.losses["spliced"].value == pytest.approx(found.losses["full"].value, abs=1e-5)
    assert found.dead_share.value <= 0.5 + 1e-9


@pytest.mark.parametrize("more", [{"kind": "abstopk"}, {"transcoder": True}])
def test_other_kinds(more: dict[str, Any], model: Model, letters: Path, tmp_path: Path) -> None:
    """Magnitudes with signs; and what an MLP writes from what it reads."""
    output = tmp_path / "saes"
    config = SaeConfig(**QUICK, **more)
    facts = training.train(model, ["0.mlp_out"], output, config, str(letters), quiet=True)
    assert facts.figures[0]["explained_variance"]["value"] > (0.05 if "transcoder" in more else 0.3)
    (sae,) = saved.read(output, model).saes
    assert sae.is_transcoder == ("transcoder" in more)
    seen = saved.read(output, model).means["0.mlp_out"]
    assert (seen.min() < 0) == (more.get("kind") == "abstopk")
    assert load(f"sae:{output}").network.config.latents["0.mlp_out"] == sae.latents + micro.WIDTH


def test_the_same_again(trained: Path, model: Model, letters: Path, tmp_path: Path) -> None:
    """The same call, the same bytes."""
    output = tmp_path / "saes"
    training.train(model, SITES, output, SaeConfig(**QUICK), str(letters), quiet=True)
    assert weights(output) == weights(trained)


def weights(folder: Path) -> list[bytes]:
    """The bytes of all weights."""
    return [(folder / site / "sae_weights.safetensors").read_bytes() for site in SITES]


def test_killed_and_gone_on_with(
    trained: Path, run: Path, letters: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """`kill -9` in the middle, the same command again: the same bytes."""
    output, state = tmp_path / "saes", tmp_path / "saes.unfinished"
    words = ["sae", "--model", str(run), "--output", str(output), "--corpus", str(letters)]
    for site in SITES:
        words += ["--site", site]
    for name, value in QUICK.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--checkpoint-seconds", "0"]
    child = subprocess.Popen(
        [sys.executable, "-m", "lacewing", *words], env=environment, stderr=subprocess.DEVNULL
    )
    step = 0
    while step < 2:
        time.sleep(0.01)
        assert child.poll() is None, "it ended before it could be killed"
        place = state / "checkpoint" / "state.json"
        step = json.loads(place.read_text())["step"] if place.exists() else 0
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not output.exists()
    done = subprocess.run(
        [sys.executable, "-m", "lacewing", *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "going on at step" in done.stderr
    assert weights(output) == weights(trained)
    assert not state.exists()


def test_another_training_in_the_same_place(
    model: Model, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unfinished one of other settings is named, and stays; a damaged one is refused."""
    output = tmp_path / "saes"
    config = SaeConfig(**QUICK, checkpoint_seconds=0.0)
    steps = iter(range(3))

    def stop(self: Learner, *given: Any) -> float:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return real(self, *given)

    real = Learner.step
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(model, ["0.mlp_out"], output, config, str(letters), quiet=True)
    other = SaeConfig(**QUICK | {"k": 3})
    with pytest.raises(LacewingError, match="unfinished training of another config"):
        training.train(model, ["0.mlp_out"], output, other, str(letters), quiet=True)
    file = tmp_path / "saes.unfinished" / "checkpoint" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"abcd")
    with pytest.raises(LacewingError, match="damaged"):
        training.train(model, ["0.mlp_out"], output, config, str(letters), quiet=True)
    shutil.rmtree(tmp_path / "saes.unfinished")


def test_the_dead_are_revived() -> None:
    """Latents that nothing used learn from what is left over; without that loss they stay."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(24, 8, generator=draw), dim=1)
    dead = {}
    for revival in (0.0, 1 / 32):
        config = SaeConfig(tokens=64 * 250, k=2, expansion=4, revival=revival, dead_after=1024)
        learner = Learner("0.mlp_out", "0.mlp_out", {"0.mlp_out": 8}, config, 0)
        with torch.no_grad():
            learner.encoder_bias[:20] = -4  # most of them begin dead
        generator = torch.Generator().manual_seed(1)
        with torch.enable_grad():
            for step in range(250):
                which = torch.randint(24, (64, 2), generator=generator)
                size = 1 + torch.rand(64, 2, 1, generator=generator)
                x = (directions[which] * size).sum(1)
                learner.step(x, x, step / 250)
        dead[revival] = int(learner.dead.sum())
    assert dead[1 / 32] < dead[0.0], dead
    assert dead[0.0] >= 10


BAD: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "site": (["7.mlp_out"], {}, "no site '7.mlp_out'"),
    "twice": (["0.mlp_out", "0.mlp_out"], {}, "name it once"),
    "none": ([], {}, "name"),
    "transcoder": (["0.attn_out"], {"transcoder": True}, "a transcoder writes LAYER.mlp_out"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_trained(case: str, model: Model, letters: Path, tmp_path: Path) -> None:
    """One clear line, and nothing is written."""
    sites, more, told = BAD[case]
    config = SaeConfig(**QUICK, **more)
    with pytest.raises(LacewingError, match=told):
        training.train(model, sites, tmp_path / "saes", config, str(letters), quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_there(trained: Path, model: Model, letters: Path) -> None:
    """Is not overwritten."""
    with pytest.raises(LacewingError, match="exists already"):
        training.train(model, SITES, trained, SaeConfig(**QUICK), str(letters), quiet=True)


@pytest.mark.parametrize("content", [b"", b"12345", b"\xff" * 400])
def test_damaged_text_is_drawn_anew(
    content: bytes, model: Model, letters: Path, tmp_path: Path
) -> None:
    """Also where the sums say that it was always so: no tokens, a part of one, an unknown one."""
    folder, source = tmp_path / "tokens", Corpus.parse(str(letters))
    before = text_of(model, source, folder, 512, 512, 0)
    ids = (np.array(before.train), np.array(before.held_out))
    (folder / "train.bin").write_bytes(content)
    artifacts.seal(folder, KIND, ["train.bin", "validation.bin", "index.json"])
    after = text_of(model, source, folder, 512, 512, 0)
    assert np.array_equal(after.train, ids[0])
    assert np.array_equal(after.held_out, ids[1])


@pytest.mark.parametrize("name", ["tokens", "checkpoint"])
def test_links_out_of_what_is_unfinished(
    name: str, model: Model, letters: Path, tmp_path: Path
) -> None:
    """Are not followed."""
    (tmp_path / "saes.unfinished").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "saes.unfinished" / name).symlink_to(tmp_path / "elsewhere")
    output = tmp_path / "saes"
    with pytest.raises(LacewingError, match="a link out of its folder"):
        training.train(model, SITES, output, SaeConfig(**QUICK), str(letters), quiet=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_killed_as_it_ended(trained: Path, model: Model, letters: Path, tmp_path: Path) -> None:
    """The autoencoders are there, and so is what they were made of: the same command ends it."""
    output, state = tmp_path / "saes", tmp_path / "saes.unfinished"
    shutil.copytree(trained, output)
    state.mkdir()
    other = SaeConfig(**QUICK | {"seed": 9})
    with pytest.raises(LacewingError, match="of another training"):
        training.train(model, SITES, output, other, str(letters), quiet=True)
    assert state.exists()
    facts = training.train(model, SITES, output, SaeConfig(**QUICK), str(letters), quiet=True)
    assert facts == saved.facts_of(trained)
    assert not state.exists()


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_output_without_a_name(
    name: str, model: Model, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is refused in one line."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LacewingError, match="choose another --output"):
        training.train(model, SITES, name, SaeConfig(**QUICK), str(letters), quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_adopted(trained: Path, model: Model, letters: Path, tmp_path: Path) -> None:
    """A folder of SAELens becomes one of a model, measured on the same text to the same figures."""
    output = tmp_path / "adopted"
    config = SaeConfig(**QUICK)
    folders = {site: trained / site for site in SITES}
    facts = training.adopt(model, folders, output, config, str(letters), quiet=True)
    before = saved.facts_of(trained)
    assert (facts.config, facts.tokens) == (None, 0)
    for mine, own in zip(facts.figures, before.figures, strict=True):
        assert mine["l0"]["value"] == own["l0"]["value"]
        assert mine["losses"]["spliced"]["value"] == pytest.approx(
            own["losses"]["spliced"]["value"], abs=1e-5
        )


def test_the_page(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of docs/sae.md runs as it stands."""
    page = (Path(__file__).parents[2] / "docs" / "sae.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n((?:.*\n)*?)```$", page, re.M)
    (tmp_path / "text").symlink_to(text)
    with contextlib.chdir(tmp_path):
        names: dict[str, Any] = {}
        exec(compile(block, "sae.md", "exec"), names)  # the block itself
    assert "interval" in capsys.readouterr().out
    assert names["latents"].is_open


def test_the_command(run: Path, letters: Path, tmp_path: Path) -> None:
    """Shows the four figures with their intervals, and the controls; folders fit sites."""
    output = tmp_path / "saes"
    words = ["--model", str(run), "--corpus", str(letters), "--output", str(output)]
    quick = [f"--{n.replace('_', '-')}={v}" for n, v in QUICK.items()]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main(["sae", "--site", "0.mlp_out", *words, *quick])
    told = " ".join(said.getvalue().split())  # as narrow as the terminal is
    for part in ("loss recovered [95 %]", "L0", "dead", "explained variance", "at zero", "at its"):
        assert part in told
    assert "256 tokens in 16 windows, seed 0" in told
    error = io.StringIO()
    words = [*words[:-1], str(tmp_path / "new"), "--adopt", str(output)]
    with pytest.raises(SystemExit), contextlib.redirect_stderr(error):
        main(["sae", "--site", "0.mlp_out", "--site", "0.attn_out", *words])
    assert "1 folders for 2 sites" in error.getvalue()

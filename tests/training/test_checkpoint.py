"""Checkpoints that were damaged: noticed before a run goes on, and what happens then."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.store import load
from lacewing.training.checkpoint import FOLDER, STATE, TENSORS, load_checkpoint, resume
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.optimizer import adam

Small = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def begun(text: Path, small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted at its end: with a checkpoint, and another at two thirds."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    train(small(keep=(2 / 3,)), Corpus.files(str(text)), folder, quiet=True)
    for name in (artifacts.MANIFEST, "summary.json", "means.safetensors", "model.safetensors"):
        (folder / name).unlink()
    shutil.copytree(folder / "kept" / "20", folder / FOLDER)
    return folder


@pytest.fixture
def copy(begun: Path, tmp_path: Path) -> Path:
    """A copy of it, to damage."""
    shutil.copytree(begun, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path: Path) -> None:
    """Change the highest bit of an exponent: one weight becomes enormous."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)


def test_a_flipped_bit_is_noticed(copy: Path, run: Path) -> None:
    """Nothing of the network is changed; the line says what to do."""
    network = load(run).network.requires_grad_(True)
    before = {name: p.clone() for name, p in network.named_parameters()}
    flip(copy / FOLDER / TENSORS)
    shutil.rmtree(copy / "kept")
    with pytest.raises(ArtifactError, match=r"another content.*remove .*checkpoint to train from"):
        resume(copy, network, adam(network, TrainConfig()), 30)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_the_newest_kept_checkpoint_is_used(
    copy: Path, run: Path, text: Path, small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and the run ends as the one that nobody damaged."""
    flip(copy / FOLDER / TENSORS)
    done = train(small(keep=(2 / 3,)), Corpus.files(str(text)), copy, quiet=True)
    said = capsys.readouterr().err
    assert "another content" in said
    assert "going on from" in said
    assert load(run).id == load(done.folder).id


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"step": 31, "seconds": 1.0}, "says 31 steps in 1 s, of a run of 30"),
        ({"step": -1, "seconds": 1.0}, "says -1 steps"),
        ({"step": "20", "seconds": 1.0}, "step: "),
        ({"step": 20}, "has no seconds"),
        ({"step": 20, "seconds": float("nan")}, "seconds: "),
        ([20, 1.0], "the file: "),
    ],
)
def test_a_resealed_state(copy: Path, run: Path, state: object, said: str) -> None:
    """One that no training can be in: a run would end at once, or not at all."""
    artifacts.write_json(copy / FOLDER / STATE, state)
    artifacts.seal(copy / FOLDER, "checkpoint", [STATE, TENSORS])
    network = load(run).network.requires_grad_(True)
    with pytest.raises(ArtifactError, match=said):
        load_checkpoint(copy, network, adam(network, TrainConfig()), steps=30)


@pytest.mark.parametrize("part", ["weight", "exp_avg", "exp_avg_sq"])
def test_resealed_tensors(copy: Path, run: Path, part: str) -> None:
    """Of another shape, not finite, or missing."""
    file, network = copy / FOLDER / TENSORS, load(run).network.requires_grad_(True)
    whole, name = artifacts.read_tensors(file), f"{part}/wte.weight"
    nan = whole[name].clone()
    nan[0, 0] = torch.nan
    for tensor, said in (
        (nan, "not finite"),
        (whole[name][:1], r"another model|is \(1, 32\), not \(300, 32\)"),
        (whole[name].double(), "holds float64"),
        (None, "missing"),
    ):
        rest = {key: t for key, t in whole.items() if key != name}
        artifacts.write_tensors(file, rest | ({} if tensor is None else {name: tensor}))
        artifacts.seal(copy / FOLDER, "checkpoint", [STATE, TENSORS])
        with pytest.raises(ArtifactError, match=said):
            load_checkpoint(copy, network, adam(network, TrainConfig()), steps=30)


def test_a_second_training_in_the_folder_is_told(copy: Path, text: Path, small: Small) -> None:
    """While one goes on there; a finished run needs no lock and leaves none."""
    config, corpus = small(keep=(2 / 3,)), Corpus.files(str(text))
    with (
        artifacts.locked(copy, "free"),
        pytest.raises(ConfigError, match=r"another training is running in .*--output"),
    ):
        train(config, corpus, copy, quiet=True)
    train(config, corpus, copy, quiet=True)
    assert not (copy / artifacts.LOCK).exists()
    with artifacts.locked(copy, "free"):
        assert 30 == train(config, corpus, copy, quiet=True).steps


def test_a_damaged_tokenizer_is_not_sealed(copy: Path, text: Path, small: Small) -> None:
    """A run that goes on has the tokenizer it was begun with, or none."""
    path = copy / "tokenizer.json"
    path.write_text(path.read_text().replace('"!":', '"¡":', 1))
    with pytest.raises(ConfigError, match="another tokenizer"):
        train(small(keep=(2 / 3,)), Corpus.files(str(text)), copy, quiet=True)

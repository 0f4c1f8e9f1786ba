"""What a training leaves on its way: compact models, whole checkpoints, starts in the middle."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.errors import ConfigError
from lacewing.model.store import load
from lacewing.training.checkpoint import load_checkpoint
from lacewing.training.config import TrainConfig
from lacewing.training.density import pfrac_at
from lacewing.training.loop import train
from lacewing.training.optimizer import adam, learning_rate_at
from lacewing.training.run import FILES, read_metrics

Small = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def kept(text: Path, small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of thirty steps with three snapshots and a checkpoint at two thirds."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    train(small(snapshots=3, keep=(2 / 3,)), Corpus.files(str(text)), folder, quiet=True)
    return folder


def test_snapshots_stand_at_equal_factors() -> None:
    """From a thousandth of the steps to the last, each the same factor after the one before."""
    config = TrainConfig(tokens=2_048_000, batch=16, context=128, snapshots=3)
    assert config.snapshot_steps == (10, 100, 1000)
    assert TrainConfig().snapshot_steps == ()


def test_what_is_kept_changes_nothing(run: Path, kept: Path) -> None:
    """Snapshots and kept checkpoints leave the trained model as it would have been."""
    assert load(run).id == load(kept).id
    assert [row["loss"] for row in read_metrics(run)] == [r["loss"] for r in read_metrics(kept)]


def test_snapshots_are_models(kept: Path) -> None:
    """Each loads, knows its step, and the last is the trained model but for its rounding."""
    found = {int(p.name): load(p) for p in (kept / "snapshots").iterdir()}
    assert set(found) == {1, 3, 30}
    assert found[30].validation_loss == pytest.approx(load(kept).validation_loss, abs=0.01)
    assert found[1].validation_loss > found[30].validation_loss + 0.1
    assert artifacts.read_json(kept / "snapshots" / "1" / "summary.json")["steps"] == 1


def test_a_kept_checkpoint_holds_all(kept: Path) -> None:
    """The checkpoint at step 20 has the weights and both moments of that step."""
    network = load(kept).network.requires_grad_(True)
    optimizer = adam(network, TrainConfig())
    step, _ = load_checkpoint(kept, network, optimizer, Path("kept") / "20")
    assert step == 20
    assert all(state["exp_avg_sq"].any() for state in optimizer.state.values())


def test_a_start_in_the_middle_goes_on_there(
    kept: Path, text: Path, small: Small, tmp_path: Path
) -> None:
    """From a snapshot at step 1 on, thirty steps become twenty-nine, on the same schedule."""
    config = small(start=str(kept / "snapshots" / "1"), start_step=1, evaluate_every=1)
    done = train(config, Corpus.files(str(text)), tmp_path / "run", quiet=True)
    rows = read_metrics(done.folder)
    assert [row["step"] for row in rows] == list(range(2, 31))
    assert [row["lr"] for row in rows] == [learning_rate_at(small(), i) for i in range(1, 30)]
    assert pfrac_at(config, 3) == pfrac_at(small(), 3) > config.pfrac
    assert rows[-1]["validation_loss"] == pytest.approx(load(kept).validation_loss, abs=0.2)
    for name, parameter in load(done.folder).network.named_parameters():
        if name.startswith("blocks") and parameter.ndim == 2:
            assert parameter.numel() // 4 == int(torch.count_nonzero(parameter)), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_step": 5}, "needs a start"),
        ({"start": "builtin:taught-tiny", "start_step": 30}, "below the 30 steps"),
        ({"keep": (1.5,)}, r"keep must lie in \(0, 1\)"),
        ({"snapshots": -1}, "snapshots must be at least 0"),
    ],
)
def test_impossible_settings_are_named(
    small: Small, changes: dict[str, object], message: str
) -> None:
    """Each is refused before training."""
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_runs_older_than_a_setting_are_still_theirs(
    run: Path, text: Path, small: Small, tmp_path: Path
) -> None:
    """A finished run whose config.json lacks a newer setting is returned, not refused."""
    saved = artifacts.read_json(run / "config.json")
    old = tmp_path / "old"
    for path in run.iterdir():
        if path.is_file():
            artifacts.write_bytes(old / path.name, path.read_bytes())
    del saved["training"]["start_step"], saved["training"]["keep"]
    artifacts.write_json(old / "config.json", saved)
    artifacts.seal(old, "run", FILES)
    assert train(small(), Corpus.files(str(text)), old, quiet=True).steps == 30

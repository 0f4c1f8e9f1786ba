"""Training runs: what they leave, that they go on after any end, and that pieces change nothing."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError, MismatchError
from lacewing.model.store import load
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train
from lacewing.training.run import check_run, read_metrics, rewind_metrics
from lacewing.training.twin import WITHIN, Pace, train_twin

Small = Callable[..., TrainConfig]
Flags = Callable[..., list[str]]
Program = Callable[[Sequence[str]], str]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with what is in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def losses(folder: Path) -> list[float]:
    """Training and validation losses of every logged step."""
    return [row[key] for row in read_metrics(folder) for key in ("loss", "validation_loss")]


def test_a_run_is_whole_and_learned_something(run: Path) -> None:
    """The manifest lists every file, no checkpoint is left, and the loss fell."""
    manifest = artifacts.read_manifest(run, "run", check_hash=True)
    assert {"config.json", "tokenizer.json", "metrics.jsonl", "summary.json"} < set(
        manifest["files"]
    )
    assert not (run / "checkpoint").exists()
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert [step * 256 for step in (10, 20, 30)] == [row["tokens"] for row in rows]
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert rows[-1]["validation_loss"] == pytest.approx(load(run).validation_loss, abs=1e-6)


def test_the_final_density_is_exact_and_the_floor_holds(run: Path) -> None:
    """After training every block matrix keeps exactly a quarter, every row or column at least 2."""
    for name, p in load(run).network.named_parameters():
        if name.startswith("blocks") and p.ndim == 2:
            assert p.numel() // 4 == int(torch.count_nonzero(p)), name
            dim = 0 if "proj" in name else 1
            assert int(torch.count_nonzero(p, dim=dim).min()) >= 2, name
        elif name in ("wte.weight", "lm_head.weight"):
            assert p.numel() // 4 == int(torch.count_nonzero(p)), name


def test_a_finished_run_is_returned_untouched(run: Path, text: Path, small: Small) -> None:
    """The same call again trains nothing and writes nothing."""
    before = contents(run)
    again = train(small(), Corpus.files(str(text)), run, quiet=True)
    assert again.steps == 30
    assert before == contents(run)


def test_another_configuration_is_refused_and_nothing_changes(
    run: Path, text: Path, small: Small, tmp_path: Path
) -> None:
    """Other settings, another corpus or another tokenizer into the same folder: one clear error."""
    before = contents(run)
    corpus = Corpus.files(str(text))
    with pytest.raises(ConfigError, match="seed 0, this one has 1"):
        train(small(seed=1), corpus, run, quiet=True)
    with pytest.raises(ConfigError, match="vocab_size 300, this one has 280"):
        train(small(vocab_size=280), corpus, run, quiet=True)
    with pytest.raises(ConfigError, match="corpus"):
        train(small(), Corpus.files(str(text / "package1")), run, quiet=True)
    with pytest.raises(ConfigError, match="another tokenizer"):
        train(small(), corpus, run, tokenizer=Tokenizer.train(["a b c"] * 9, 280), quiet=True)
    assert before == contents(run)


def test_a_folder_of_something_else_is_left_alone(text: Path, small: Small, tmp_path: Path) -> None:
    """A folder with other files is refused before the first byte is written."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no run of lacewing"):
        train(small(), Corpus.files(str(text)), tmp_path, quiet=True)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_accumulated_pieces_change_nothing(
    run: Path, text: Path, small: Small, tmp_path: Path
) -> None:
    """Four pieces of two sequences train the model that one piece of eight trains."""
    train(small(accumulate=4), Corpus.files(str(text)), tmp_path / "run", quiet=True)
    assert losses(run) == pytest.approx(losses(tmp_path / "run"), rel=1e-4)


def test_a_batch_that_does_not_divide_is_refused(text: Path, small: Small, tmp_path: Path) -> None:
    """Eight sequences do not make three equal pieces; no folder is made."""
    with pytest.raises(ConfigError, match="batch 8 does not divide into 3"):
        train(small(accumulate=3), Corpus.files(str(text)), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_two_processes_train_the_same_model(
    run: Path, text: Path, flags: Flags, program: Program, tmp_path: Path
) -> None:
    """Under torchrun two CPU processes share each batch; every loss is that of one process."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    verb = ["-m", "lacewing", "train", "--output", str(tmp_path / "run"), "--corpus", str(text)]
    program([*launcher, *verb, *flags()])
    assert len(losses(run)) == 6
    assert losses(run) == pytest.approx(losses(tmp_path / "run"), rel=1e-4)


def test_kill_and_resume_ends_with_the_same_bytes(
    text: Path, flags: Flags, program: Program, environment: dict[str, str], tmp_path: Path
) -> None:
    """Killed (-9) at a bad moment and started again, a run ends with an undisturbed one's bytes."""
    long = flags(tokens=8 * 32 * 200, evaluate_every=50, checkpoint_seconds=0.2)
    verb = ["-m", "lacewing", "train", "--corpus", str(text), *long]
    folder = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, *verb, "--output", str(folder)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not (folder / "checkpoint" / "manifest.json").exists():
            assert process.poll() is None, "it ended before its first checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "manifest.json").exists(), "it was killed too late to show anything"
    artifacts.recover(folder / "checkpoint")
    assert 0 < artifacts.read_json(folder / "checkpoint" / "state.json")["step"] < 200
    os.replace(folder / "checkpoint", folder / ".checkpoint.old")  # as if between two renames
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 199, "lo')  # as if in the middle of a line
    program([*verb, "--output", str(folder)])
    program([*verb, "--output", str(tmp_path / "whole")])
    for name in ("model.safetensors", "means.safetensors", "tokenizer.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (folder / name).read_bytes(), name
    assert losses(tmp_path / "whole") == losses(folder)
    left = {p.name for p in folder.iterdir() if p.name.startswith(".")}
    assert set() == left


def test_precisions_may_differ_in_one_process(text: Path, small: Small, tmp_path: Path) -> None:
    """What the library that carries the training keeps of a first one hinders no second."""
    corpus = Corpus.files(str(text))
    for precision in ("bf16", "fp32"):
        config = small(precision=precision, tokens=2 * 256)
        run = train(config, corpus, tmp_path / precision, quiet=True)
        assert math.isfinite(run.validation_loss)


def test_metrics_are_whole_lines(tmp_path: Path) -> None:
    """A line cut off by a crash is not read; going on from a step drops it and what came after."""
    rows = [{"step": step, "loss": 1.0} for step in (10, 20, 30)]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 40, "lo'
    (tmp_path / "metrics.jsonl").write_text(text)
    assert rows == read_metrics(tmp_path)
    rewind_metrics(tmp_path, 20)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert rows[:2] == [json.loads(line) for line in lines]


def test_a_checkpoint_of_another_model_is_refused(
    run: Path, text: Path, small: Small, tmp_path: Path
) -> None:
    """Weights of another shape in the checkpoint are an error that names the tensor."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(run / name, folder / name)
    shutil.copytree(run / "tokens", folder / "tokens")
    artifacts.write_folder(
        folder / "checkpoint",
        "checkpoint",
        json={"state.json": {"step": 3, "seconds": 1.0}},
        tensors={"state.safetensors": {"weight/wte.weight": torch.zeros(2, 2)}},
    )
    with pytest.raises(ArtifactError, match="checkpoint of another model"):
        train(small(), Corpus.files(str(text)), folder, quiet=True)


def test_the_twin_stops_at_the_sparse_models_loss(run: Path, tmp_path: Path) -> None:
    """A dense twin with ten times the tokens stops early, within 0.02 nats of its run."""
    changes = {"tokens": 8 * 32 * 200, "learning_rate": 0.003}
    twin = train_twin(run, tmp_path / "twin", changes, quiet=True)
    sparse, dense = load(run), load(twin.folder)
    assert twin.steps < 300
    assert abs(sparse.validation_loss - dense.validation_loss) <= WITHIN
    assert dense.network.config.abs_topk is None
    assert all(bool((p != 0).all()) for n, p in dense.network.named_parameters() if "c_fc.w" in n)
    assert sparse.tokenizer.to_bytes() == dense.tokenizer.to_bytes()


def test_a_run_starts_from_another_ones_weights(
    run: Path, text: Path, small: Small, tmp_path: Path
) -> None:
    """It begins with them, at the target density from the first step, and goes on learning."""
    before = load(run)
    config = small(start=str(run), tokens=8 * 32 * 10, learning_rate=0.01)
    after = train(config, Corpus.files(str(text)), tmp_path / "on", quiet=True)
    assert after.validation_loss < before.validation_loss
    assert before.tokenizer.to_bytes() == load(after.folder).tokenizer.to_bytes()
    assert [0.25] == [row["density"] for row in read_metrics(after.folder)]
    for name, p in load(after.folder).network.named_parameters():
        if name.startswith("blocks") and p.ndim == 2:
            assert p.numel() // 4 == int(torch.count_nonzero(p)), name


def test_a_run_does_not_start_from_a_model_of_another_shape(
    run: Path, text: Path, small: Small, tmp_path: Path
) -> None:
    """One line that names what differs, and nothing trained."""
    corpus = Corpus.files(str(text))
    with pytest.raises(MismatchError, match="has d_head 8, this run 16"):
        train(small(start=str(run), d_head=16), corpus, tmp_path / "on", quiet=True)
    other = Tokenizer.train((p.read_text() for p in sorted(text.rglob("*1.py"))), 300)
    with pytest.raises(MismatchError, match="another tokenizer"):
        train(small(start=str(run)), corpus, tmp_path / "no", tokenizer=other, quiet=True)


def test_metrics_reach_tensorboard(text: Path, small: Small, tmp_path: Path) -> None:
    """The losses of the metrics file are in the event file too."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    config = small(trackers=("tensorboard",), tokens=8 * 32 * 20)
    run = train(config, Corpus.files(str(text)), tmp_path / "run", quiet=True)
    (events,) = (run.folder / "lacewing").glob("events.out.tfevents*")
    seen = accumulator.EventAccumulator(str(events.parent)).Reload()
    expected = [row["validation_loss"] for row in read_metrics(run.folder)]
    assert expected == pytest.approx([e.value for e in seen.Scalars("validation_loss")])


def test_the_pace_of_looks_at_a_twins_loss() -> None:
    """Half of the steps the slope asks for, within bounds; after a rise, twice the last stride."""
    pace = Pace(3.0)
    assert 10 == pace.next_look(100, 3.5)
    assert 20 == pace.next_look(110, 3.4)  # 0.4 to go at 0.01 a step
    assert 40 == pace.next_look(130, 3.45)
    assert 80 == pace.next_look(170, 3.44)  # 1,760 steps wanted, but strides at most double
    assert 2 == pace.next_look(250, 3.011)
    assert (True, False) == (pace.stop(280, 3.009), pace.stop(280, 3.011))


def test_a_run_knows_its_corpus(
    text: Path, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is stored absolute; a run of old, with a relative one, goes on where it was."""
    (tmp_path / "text").symlink_to(text)
    monkeypatch.chdir(tmp_path)
    train(small(), Corpus.parse("text"), "run", quiet=True)
    saved = artifacts.read_json(tmp_path / "run" / "config.json")
    assert str(tmp_path / "text") == saved["corpus"] == load("run").corpus
    assert "corpus_id" not in saved
    artifacts.write_json(tmp_path / "run" / "config.json", saved | {"corpus": "text"})
    check_run(tmp_path / "run", small(), Corpus.parse("text"), None)


def test_another_build_of_the_corpus_is_refused(text: Path, small: Small, tmp_path: Path) -> None:
    """A run on a built corpus keeps its id, and does not go on once that is another one."""
    place, run = tmp_path / "corpus", tmp_path / "run"
    rows = [[str(p.relative_to(text)), p.read_text()] for p in sorted(text.rglob("*.py"))]
    packages = []
    for split, count in (("train", 240), ("validation", 30), ("task", 30)):
        content = "".join(json.dumps(row) + "\n" for row in rows[:count])
        artifacts.write_bytes(place / "text" / f"{split}.jsonl", content.encode())
        packages.append({"label": split, "split": split})
        rows = rows[count:]
    files = ["corpus.json", *(f"text/{package['label']}.jsonl" for package in packages)]

    def name(id: str) -> None:
        artifacts.write_json(
            place / "corpus.json", {"id": id, "list": "made here", "packages": packages}
        )
        artifacts.seal(place, "corpus", files)

    name("first")
    train(small(), Corpus.parse(str(place)), run, quiet=True)
    assert "first" == artifacts.read_json(run / "config.json")["corpus_id"]
    before = contents(run)
    name("second")
    with pytest.raises(ConfigError, match=r"begun on corpus first, but .* is second now"):
        train(small(), Corpus.parse(str(place)), run, quiet=True)
    shutil.rmtree(place)
    with pytest.raises(ConfigError, match="no built corpus now"):
        train(small(), Corpus.parse(str(place)), run, quiet=True)
    assert before == contents(run)

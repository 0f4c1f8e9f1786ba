"""Bridges trained, saved, killed and gone on with, adopted, refused where they do not fit."""

import contextlib
import dataclasses
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

import pytest
import torch

import micro
from lacewing import artifacts
from lacewing.bridges import folder as saved
from lacewing.bridges import pretrain
from lacewing.bridges import train as training
from lacewing.bridges.config import BridgeConfig
from lacewing.bridges.folder import Coupling
from lacewing.cli.app import main
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import LacewingError
from lacewing.model.config import BLOCK_SITES
from lacewing.model.store import Model, load
from lacewing.training.config import TrainConfig
from lacewing.training.run import read_metrics

QUICK: dict[str, Any] = {"n_layer": 1, "context": 16, "batch": 8, "tokens": 8 * 16 * 6}
QUICK |= {"validation_tokens": 256, "evaluate_every": 3, "expansion": 0.25, "d_head": 16}
QUICK |= {"density": 0.2, "floor": 1, "d_position": 0, "precision": "fp32", "bigram": False}
MICRO = QUICK | {"d_model": micro.WIDTH, "d_mlp": micro.WIDTH, "abs_topk": None, "sinks": False}
MICRO |= {"density": 0.5, "learning_rate": 0.001, "abs_topk_sites": BLOCK_SITES}
BRIDGE = BridgeConfig(fit_tokens=512, encoder_kept=0.5)


def bridged(dense: Model, output: Path, corpus: Path, **changes: Any) -> saved.Facts:
    """A training of moments."""
    sparse = changes.pop("sparse", None)
    config = TrainConfig(**(QUICK | changes))
    return training.train(dense, output, config, BRIDGE, str(corpus), sparse=sparse, quiet=True)


@pytest.fixture(scope="session")
def made(dense: Model, letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bridges to a sparse model from scratch; read only."""
    folder = tmp_path_factory.mktemp("bridge-made") / "bridges"
    bridged(dense, folder, letters)
    return folder


def test_the_folder(made: Path, dense: Model) -> None:
    """It says whose they are, holds the sparse model as a run, and opens with both."""
    found = saved.read(made)
    facts = found.facts
    assert facts.learned
    assert (facts.dense.id, facts.steps, facts.tokens) == (dense.id, 6, 768)
    assert found.sparse.id == load(made / "sparse").id == facts.sparse.id
    assert found.sparse.network.config.d_model == 64
    assert found.bridges.at(0).encoder.weight.shape == (64, micro.WIDTH)
    assert found.bridges.sizes.kept == 32
    assert not made.with_name("bridges.unfinished").exists()
    density = found.sparse.ours.blocks[0].c_fc.weight.ne(0).double().mean()
    assert float(density) == pytest.approx(0.2, abs=0.01)


def test_the_figures(made: Path) -> None:
    """Each with its interval and beside a stream at its mean; a line of metrics for each look."""
    figures = saved.facts_of(made).figures
    assert [one["site"] for one in figures["sites"]] == ["0.attn_in", "0.mlp_in", "resid_final"]
    for one in figures["sites"]:
        for way in (one["to_sparse"], one["to_dense"]):
            for name in ("explained", "above", "divergence", "nothing"):
                low, high = way[name]["interval"]
                assert low - 1e-9 <= way[name]["value"] <= high + 1e-9
        assert one["to_sparse"]["explained"]["value"] <= one["ceiling"]["value"] + 1e-6
    rows = read_metrics(made)
    assert [row["step"] for row in rows] == [3, 6]
    assert {"paths", "above", "to_dense.explained"} <= rows[0].keys()
    assert (made / "sparse" / "metrics.jsonl").read_bytes() == (made / "metrics.jsonl").read_bytes()


def test_training_helps(dense: Model, sparse: Model, letters: Path, tmp_path: Path) -> None:
    """From random bridges between two models that are the same in other coordinates."""
    config = TrainConfig(**(QUICK | {"tokens": 8 * 16 * 60, "evaluate_every": 20}))
    random = BridgeConfig(fit_tokens=0, encoder_kept=1.0, bridge_learning_rate=0.02)
    run = micro.write_run(sparse, tmp_path / "sparse")
    output = tmp_path / "bridges"
    facts = training.train(
        dense, output, config, random, str(letters), sparse=load(run), quiet=True
    )
    rows = read_metrics(output)
    for way in ("to_sparse", "to_dense"):
        values = [row[f"{way}.explained"] for row in rows]
        assert values[-1] > values[0] + 0.1, values
    assert not facts.learned
    assert saved.read(output).sparse.id == sparse.id  # it is as it was


def test_warm_start(dense: Model, runs: Path, letters: Path, tmp_path: Path) -> None:
    """Begins with a run's weights, at its density, and learns on."""
    start = str(runs / "sparse")
    facts = bridged(dense, tmp_path / "bridges", letters, **(MICRO | {"start": start}))
    assert facts.started == start
    found = saved.read(tmp_path / "bridges")
    assert found.sparse.id != load(start).id
    before, after = (m.ours.blocks[0].c_fc.weight for m in (load(start), found.sparse))
    assert float((before - after).abs().max()) < 0.1 * float(before.abs().max())


def weights(folder: Path) -> list[bytes]:
    """The bytes of all weights."""
    return [
        (folder / name).read_bytes()
        for name in ("bridges.safetensors", "sparse/model.safetensors", "sparse/means.safetensors")
    ]


def test_killed_and_gone_on_with(
    made: Path, runs: Path, letters: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """`kill -9` in the middle, the same command again: the same bytes."""
    output, state = tmp_path / "bridges", tmp_path / "bridges.unfinished"
    words = ["bridge", "--dense", str(runs / "dense"), "--output", str(output)]
    words += ["--corpus", str(letters), "--checkpoint-seconds", "0"]
    for name, value in (QUICK | {"fit_tokens": 512, "encoder_kept": 0.5}).items():
        flag = f"--{name.replace('_', '-')}"
        words += ["--no-bigram"] if name == "bigram" else [flag, str(value)]
    command = [sys.executable, "-m", "lacewing", *words]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    step = 0
    while step < 2:
        time.sleep(0.01)
        assert child.poll() is None, "it ended before it could be killed"
        place = state / "checkpoint" / "state.json"
        with contextlib.suppress(OSError, ValueError):
            step = json.loads(place.read_text())["step"] if place.exists() else 0
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not output.exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "going on at step" in done.stderr
    assert weights(output) == weights(made)
    assert [row["step"] for row in read_metrics(output)] == [3, 6]
    assert not state.exists()


def test_another_training_in_the_same_place(
    dense: Model, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unfinished one of other settings is named and stays; a damaged one is refused."""
    output = tmp_path / "bridges"
    steps = iter(range(2))
    real = training.backward

    def stop(*given: Any, **more: Any) -> Any:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return real(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(training, "backward", stop)
        with pytest.raises(KeyboardInterrupt):
            bridged(dense, output, letters, checkpoint_seconds=0.0)
    with pytest.raises(LacewingError, match="an unfinished training with batch 8"):
        bridged(dense, output, letters, batch=4)
    file = tmp_path / "bridges.unfinished" / "checkpoint" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"abcd")
    with pytest.raises(LacewingError, match=r"not what was written|damaged"):
        bridged(dense, output, letters)
    shutil.rmtree(file.parent)
    bridged(dense, output, letters)
    with pytest.raises(LacewingError, match="exists already"):
        bridged(dense, output, letters)


def test_a_folder_of_somebody_else(dense: Model, letters: Path, tmp_path: Path) -> None:
    """What stands where the unfinished training would be is left as it is."""
    place = tmp_path / "bridges.unfinished"
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(LacewingError, match="something else than an unfinished training"):
        bridged(dense, tmp_path / "bridges", letters)
    assert (place / "thesis.txt").read_text() == "mine"


def other_tokens(model: Model) -> Model:
    """The same model with a tokenizer that cuts otherwise."""
    words = Tokenizer.train(["x y x y"], vocab_size=258)
    return dataclasses.replace(model, tokenizer=words)


def test_models_that_do_not_fit(dense: Model, sparse: Model, letters: Path, tmp_path: Path) -> None:
    """One clear line before anything is written: tokenizers, depths, context, what is train's."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sparse": other_tokens(sparse)}, "bridges join models that read the same tokens"),
        ({"n_layer": 2}, "1 layers and the new model 2"),
        ({"context": 32}, "take --context 16"),
        ({"snapshots": 2}, "--snapshots is train's alone"),
        ({"sparse": sparse, "start": "builtin:taught-tiny"}, "give one of the two"),
        ({"start": "builtin:taught-tiny"}, "read the same tokens"),
        ({"accumulate": 3}, "does not divide into 3"),
    ]
    for changes, told in cases:
        with pytest.raises(LacewingError, match=told):
            bridged(dense, tmp_path / "bridges", letters, **changes)
    assert list(tmp_path.iterdir()) == []


def copy_with(made: Path, place: Path, **changes: Any) -> Path:
    """A copy whose facts were changed, with new sums."""
    shutil.copytree(made, place)
    facts = json.loads((place / saved.FACTS).read_text())
    for name, value in changes.items():
        facts[name] = facts[name] | value if isinstance(value, dict) else value
    artifacts.write_json(place / saved.FACTS, facts)
    artifacts.seal(place, saved.KIND, [saved.FACTS, saved.WEIGHTS, saved.METRICS])
    return place


def test_bridges_of_another_model(made: Path, runs: Path, tmp_path: Path) -> None:
    """Another model, width, depth or tokenizer is one line each; so is a damaged file."""
    with pytest.raises(LacewingError, match="train bridges for this one"):
        saved.read(made, dense=runs / "sparse")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tokenizer_id": "0" * 16}, "put its tokenizer back"),
        ({"dense": {"width": 64}}, "of width 64"),
        ({"n_layer": 2}, "for 2 layers"),
        ({"n_layer": 0}, "damaged"),
        ({"kept": "all"}, "damaged or foreign"),
        ({"sparse": {"id": "f" * 25}}, "are of model f"),
    ]
    for number, (changes, told) in enumerate(cases):
        copied = copy_with(made, tmp_path / str(number), **changes)
        with pytest.raises(LacewingError, match=told):
            saved.read(copied, dense=runs / "dense")
    place = tmp_path / "cut"
    shutil.copytree(made, place)
    file = place / saved.WEIGHTS
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(LacewingError, match=r"bridges.safetensors"):
        saved.read(place, dense=runs / "dense")


def their_folder(coupling: Coupling, place: Path, **more: torch.Tensor) -> Path:
    """The exact bridges in sparse_pretrain's layout."""
    place.mkdir()
    named = {
        f"bridges.{site}.{part}.linear.{kind}": coupling.bridges.state_dict()[
            f"sites.{site}.{part}.{kind}"
        ]
        for site in range(3)
        for part in ("encoder", "decoder")
        for kind in ("weight", "bias")
    }
    torch.save(named | more, place / "bridges.bin")
    settings = {"encoder_afrac": 1.0, "n_layers": 1, "d_dense": "someone/a-model", "d_sparse": 128}
    (place / "config.json").write_text(json.dumps({"bridges_config": settings}))
    return place


def test_bridges_of_sparse_pretrain(
    coupling: Coupling, dense: Model, runs: Path, letters: Path, tmp_path: Path
) -> None:
    """Are read, measured and saved as ours; thresholds, code and other widths are refused."""
    place, output = their_folder(coupling, tmp_path / "theirs"), tmp_path / "bridges"
    sparse, config = load(runs / "sparse"), TrainConfig(**QUICK)
    facts = pretrain.adopt(place, dense, sparse, output, config, str(letters), quiet=True)
    assert facts.config is None
    assert facts.figures["means"]["to_dense.explained"] == pytest.approx(1, abs=1e-5)
    assert facts.figures["means"]["to_dense.divergence"] == pytest.approx(0, abs=1e-4)
    found = saved.read(output)
    for name, tensor in coupling.bridges.state_dict().items():
        assert torch.equal(found.bridges.state_dict()[name], tensor)
    torch.testing.assert_close(found.norms[:, 0], 3 * found.norms[:, 1])

    wide = their_folder(coupling, tmp_path / "wide")
    (wide / "config.json").write_text('{"bridges_config": {"encoder_afrac": null}}')
    with pytest.raises(LacewingError, match="encoder_afrac is null: only encoders with AbsTopK"):
        pretrain.adopt(wide, dense, sparse, tmp_path / "no", config, str(letters), quiet=True)
    log_eps = {"bridges.0.encoder.log_eps": torch.zeros(128)}
    bad = their_folder(coupling, tmp_path / "bad", **log_eps)
    with pytest.raises(LacewingError, match="encoders with a threshold"):
        pretrain.adopt(bad, dense, sparse, tmp_path / "no", config, str(letters), quiet=True)
    torch.save({"bridges.0.encoder.linear.weight": torch.zeros(3, 3)}, bad / "bridges.bin")
    with pytest.raises(LacewingError, match="lacks bridges"):
        pretrain.adopt(bad, dense, sparse, tmp_path / "no", config, str(letters), quiet=True)
    assert not (tmp_path / "no").exists()


def said(*words: str) -> tuple[str, str]:
    """What a command tells on both streams."""
    out, error = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        contextlib.suppress(SystemExit),
    ):
        main(list(words))
    return " ".join(out.getvalue().split()), " ".join(error.getvalue().split())


@pytest.mark.long
def test_the_page(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of docs/bridges.md runs as it stands, one block after the other."""
    page = (Path(__file__).parents[2] / "docs" / "bridges.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n((?:.*\n)*?)```$", page, re.M)
    (tmp_path / "text").symlink_to(text)
    with contextlib.chdir(tmp_path):
        names: dict[str, Any] = {}
        exec(compile("".join(blocks), "bridges.md", "exec"), names)  # the blocks themselves
    explained, recovered = map(float, capsys.readouterr().out.split())
    assert 0 < explained < 1
    assert recovered <= 1
    assert names["coupling"].dense.source == "builtin:dense"


def test_the_commands(runs: Path, letters: Path, tmp_path: Path) -> None:
    """Bridge, steer by a node and by a circuit, each with what it has to say."""
    bridges, text = str(tmp_path / "bridges"), ["--corpus", str(letters)]
    both = ["--dense", str(runs / "dense"), "--sparse", str(runs / "sparse")]
    small = ["--tokens", "256", "--batch", "8", "--validation-tokens", "256"]
    told, _ = said("bridge", *both, *text, *small, "--fit-tokens", "4096", "--output", bridges)
    for part in ("explained", "nats above the dense model", "which is", "256 tokens"):
        assert part in told
    pairs = str(micro.write_pairs(tmp_path / "letters.jsonl"))
    out = str(tmp_path / "steered")
    told, _ = said(
        *("steer", "--bridge", bridges, "--node", "0.attn_in.1", "--task", pairs),
        *("--pairs", "8", "--random", "2", "--strength", "0", "1", "--output", out, *text),
    )
    for part in ("partner's answer [95 %]", "more than random", "8 pairs", "the whole site"):
        assert part in told
    assert {p.name for p in Path(out).iterdir()} >= {"steering.svg", "steering.png"}
    model = load(runs / "sparse")
    circuit = tmp_path / "circuit"
    micro.make(model, micro.PLANTED, model_source=str(runs / "sparse")).save(circuit)
    told, _ = said(
        *("steer", "--bridge", bridges, "--circuit", str(circuit), "--task", pairs, *text),
        *("--pairs", "8", "--random", "2", "--strength", "1"),
    )
    for part in ("sufficient", "necessary", "other nodes", "7 nodes cross a bridge, 8 do not"):
        assert part in told
    # Neither pairs of unlike lengths nor a file without validation pairs lose what is known.
    other = micro.write_pairs(tmp_path / "unlike.jsonl")
    other.write_text(other.read_text().replace('"corrupted": "Y', '"corrupted": "Yab'))
    few = micro.write_pairs(tmp_path / "few.jsonl", 2)
    for file, part in ((other, "8 pairs (8 aligned from"), (few, "falls in the validation part")):
        told, _ = said(
            *("steer", "--bridge", bridges, "--circuit", str(circuit), "--task", str(file), *text),
            *("--pairs", "8", "--random", "2", "--strength", "1"),
        )
        assert part in told
        assert "7 nodes cross a bridge, 8 do not" in told


def test_commands_that_cannot_be_done(runs: Path, made: Path, tmp_path: Path) -> None:
    """One line each."""
    steer = ("steer", "--bridge", str(made))
    model = load(runs / "sparse")
    circuit = tmp_path / "circuit"
    micro.make(model, micro.PLANTED, model_source=str(runs / "sparse")).save(circuit)
    both = ("--dense", str(runs / "dense"), "--output", str(tmp_path / "new"))
    for words, told in (
        (steer, "nothing to steer by"),
        ((*steer, "--node", "0.attn_in.1"), "a node alone says nothing of prompts"),
        ((*steer, "--node", "0.mlp_neuron.1", "--task", "var_if"), "no bridge stands at"),
        ((*steer, "--circuit", str(circuit)), "prune in that one"),
        (
            ("steer", "--bridge", str(runs / "sparse"), "--node", "x"),
            "holds a run, not a set of bridges",
        ),
        (("bridge", *both, "--adopt", str(tmp_path)), "give --sparse"),
        (("bridge", *both, "--sparse", "builtin:taught-tiny"), "read the same tokens"),
    ):
        assert told in said(*words)[1], words

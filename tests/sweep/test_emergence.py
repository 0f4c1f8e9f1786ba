"""When a circuit appears: snapshots of a training, pruned one after the other."""

import json
import shutil
from pathlib import Path
from typing import Any

import letters
import pytest

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import prompt_sets
from lacewing.cli.app import main
from lacewing.data.corpus import Corpus
from lacewing.errors import ConfigError
from lacewing.model.store import load
from lacewing.pruning import prune
from lacewing.pruning import state as kept_state
from lacewing.sweep import emergence
from lacewing.sweep.emergence import Emergence, by_chance, emerge, snapshots
from lacewing.tasks.registry import get
from lacewing.training.config import TrainConfig
from lacewing.training.loop import train


@pytest.fixture(scope="module")
def run(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two sentences with the states it went through."""
    folder = tmp_path_factory.mktemp("emergence") / "run"
    asked = letters.settings(place)["training"] | {"snapshots": 6, "d_model": 32, "density": 0.25}
    train(TrainConfig(**asked), Corpus.parse(str(place / "text")), folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def search(place: Path) -> dict[str, Any]:
    """A pruning of seconds."""
    return {**letters.settings(place)["pruning"], "prompts": 512}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is written."""
    return tmp_path_factory.mktemp("emerged")


@pytest.fixture(scope="module")
def found(run: Path, place: Path, search: dict[str, Any], output: Path) -> Emergence:
    """The emergence of a task; read only."""
    return emerge(run, str(place / "first.jsonl"), output, PruneConfig(**search), quiet=True)


def test_no_circuit_before_the_task_is_learned(found: Emergence, run: Path) -> None:
    """Early states say why there is none; the last has one, which is all in itself."""
    assert len(found.states) == len(snapshots(run)) > 3
    first, *_, last = found.states
    assert first.nodes is None
    assert "nats" in (first.reason or "")
    assert first.full > 0.15 > last.full
    assert last.nodes == last.shared
    assert found.first is not None
    assert first.step < found.first.step <= last.step
    for state in found.states:
        assert (state.nodes is None) == (state.reason is not None)
        if state.nodes is not None:
            assert 0 <= (state.by_chance or 0) <= state.nodes
            assert (state.loss or 9) < 0.3


def test_the_last_circuit_alone(found: Emergence) -> None:
    """Its nodes do the task at the end, and did not at the beginning."""
    first, *_, last = found.states
    assert last.last_alone == pytest.approx(last.loss, abs=0.02)
    assert (first.last_alone or 0) > 0.3


def test_goes_on(
    found: Emergence, run: Path, place: Path, search: dict[str, Any], output: Path
) -> None:
    """Circuits that are there are read; one that is gone is found again, the same."""
    folder = output / "first" / str(found.states[-1].folder)
    before = Circuit.load(folder)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    again = emerge(run, str(place / "first.jsonl"), output, PruneConfig(**search), quiet=True)
    assert again == found
    assert Circuit.load(folder).node_names() == before.node_names()
    with pytest.raises(ConfigError, match="seed"):
        emerge(run, str(place / "first.jsonl"), output, PruneConfig(**search, seed=1), quiet=True)


def test_interrupted_it_goes_on_inside_a_pruning(
    found: Emergence,
    run: Path,
    place: Path,
    search: dict[str, Any],
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kill loses no state's search, and states without a circuit are not asked again."""
    asked, task, whole = PruneConfig(**search), str(place / "first.jsonl"), prune.step_together
    states = [state for state in found.states if state.nodes is not None]
    steps: list[int] = []

    def broken(*given: Any) -> Any:
        steps.append(1)
        if len(steps) == asked.steps // 2:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(kept_state, "EVERY", 0.0)
    monkeypatch.setattr(prune, "step_together", broken)
    with pytest.raises(KeyboardInterrupt):
        emerge(run, task, tmp_path, asked, quiet=True)
    assert (tmp_path / "first" / f"{states[0].step}.unfinished").is_dir()
    monkeypatch.setattr(emergence, "prune", refusing(emergence.prune, found.states[0].step))
    again = emerge(run, task, tmp_path, asked, quiet=True)
    assert again == found
    assert len(steps) <= len(states) * asked.steps + 1
    assert not list((tmp_path / "first").glob("*.unfinished"))
    for state in states:
        one, other = (Circuit.load(p / "first" / str(state.folder)) for p in (output, tmp_path))
        assert one == other


def refusing(prune: Any, step: int) -> Any:
    """A pruning that must not be asked of the state of a step."""

    def asked(model: Any, *given: Any, **more: Any) -> Any:
        assert Path(model.source).name != str(step)
        return prune(model, *given, **more)

    return asked


def test_why_there_is_none_is_of_these_settings(
    found: Emergence, run: Path, place: Path, search: dict[str, Any], output: Path, tmp_path: Path
) -> None:
    """Another target asks an early state again; two processes do not write one folder."""
    first, task = found.states[0], str(place / "first.jsonl")
    copy = tmp_path / "first"
    copy.mkdir()
    for name in (str(first.step), f"{first.step}.json"):
        assert (output / "first" / name).exists() == name.endswith(".json")
    shutil.copy(output / "first" / f"{first.step}.json", copy)
    asked = PruneConfig(**search, target_loss=0.2)
    with artifacts.locked(copy, "held"), pytest.raises(ConfigError, match="another process"):
        emerge(run, task, tmp_path, asked, quiet=True)
    model = load(snapshots(run)[0])
    sets = prompt_sets(model, get(task), asked)
    said = [
        emergence._circuit(model, task, sets, config, copy / str(first.step), True)
        for config in (PruneConfig(**search), asked)
    ]
    assert said[0] == first.reason
    assert "above the target 0.2" in str(said[1])


def test_chance_is_the_mean_of_random_circuits(found: Emergence, output: Path) -> None:
    """Of two circuits with all nodes of a site, all are shared."""
    circuit = Circuit.load(output / "first" / str(found.states[-1].folder))
    full = {key: len(kept) for key, kept in circuit.nodes.items() if len(kept)}
    assert by_chance(circuit, circuit, full | dict.fromkeys(circuit.nodes, 1) | full) == sum(
        full.values()
    )
    double = {key: 2 * len(kept) or 1 for key, kept in circuit.nodes.items()}
    assert by_chance(circuit, circuit, double) == sum(full.values()) / 2


def test_the_verb(
    found: Emergence,
    run: Path,
    place: Path,
    search: dict[str, Any],
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A table, the step of the first circuit, figures in both themes, and JSON."""
    words = ["emerge", "--model", str(run), "--task", str(place / "first.jsonl")]
    words += ["--output", str(output), "--json"]
    for name, value in search.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    main(words)
    printed = capsys.readouterr().out
    assert "the first circuit at 0.15 nats is there after" in printed
    result = json.loads(printed.splitlines()[-1])
    assert result["first"] == found.first.tokens if found.first else None
    kept = json.loads((output / "first" / "emergence.json").read_text())
    assert kept["states"] == result["states"]
    for name in ("loss", "size"):
        for theme in ("", "_dark"):
            assert b"<svg" in (output / "first" / f"{name}{theme}.svg").read_bytes()[:500]
            assert (output / "first" / f"{name}{theme}.png").stat().st_size > 5000


def test_runs_without_snapshots(tmp_path: Path) -> None:
    """What is no run with states is one line."""
    with pytest.raises(ConfigError, match="--snapshots"):
        snapshots(tmp_path)
    with pytest.raises(ConfigError, match="builtin:taught-small"):
        snapshots(Path("builtin:taught-small"))

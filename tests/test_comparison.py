"""The comparison's averages by hand, and its circuits where it is taken up again."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.comparison import Comparison, _check_learned, compare, over_pairs, so_far
from lacewing.errors import ArtifactError, ConfigError, DataError, MismatchError
from lacewing.model.store import Model
from lacewing.pruning import prune, state
from lacewing.pruning import shared as sharing
from lacewing.pruning.shared import Shared
from lacewing.tasks.registry import get


def comparison(counts: dict[str, list[list[int]]]) -> Comparison:
    """A comparison of counts[side][task][seed]."""
    rows: list[dict[str, Any]] = [
        {"task": f"t{t}", "seed": s, "side": side, "edges": n, "edges_all": n, "nodes": n}
        for side, table in counts.items()
        for t, seeds in enumerate(table)
        for s, n in enumerate(seeds)
    ]
    seeds = tuple(range(len(counts["sparse"][0])))
    return Comparison("a", "b", 0.15, seeds, rows, [])


def test_geometric_means_by_hand() -> None:
    """Over seeds, then tasks: sparse (2·8·4·4)^(1/4), dense (20·20·90·10)^(1/4)."""
    found = comparison({"sparse": [[2, 8], [4, 4]], "dense": [[20, 20], [90, 10]]}).summary()
    sparse, dense = (2 * 8 * 4 * 4) ** 0.25, (20 * 20 * 90 * 10) ** 0.25
    assert pytest.approx(sparse) == found["sparse"]
    assert pytest.approx(dense) == found["dense"]
    assert pytest.approx(dense / sparse) == found["ratio"]
    low, high = found["interval"]
    assert 20 / 8 <= low < found["ratio"] < high <= 90 / 4


def test_the_same_ratio_everywhere_has_no_spread() -> None:
    """Three times as many edges in every task and seed: 3 [3, 3]."""
    found = comparison({"sparse": [[2, 5], [7, 9]], "dense": [[6, 15], [21, 27]]}).summary()
    assert pytest.approx([3, 3, 3]) == [found["ratio"], *found["interval"]]


def test_an_empty_circuit_counts_as_one() -> None:
    """A circuit without edges counts 1, so that its logarithm exists."""
    found = comparison({"sparse": [[0]], "dense": [[4]]}).summary()
    assert pytest.approx((1, 4, 4)) == (found["sparse"], found["dense"], found["ratio"])


def test_the_interval_is_that_of_the_tasks() -> None:
    """With one seed, it is the bootstrap of the mean log ratio over tasks."""
    ratios = np.array([2.0, 3.0, 5.0, 8.0, 13.0, 21.0])
    counts = {"sparse": [[100]] * 6, "dense": [[int(100 * r)] for r in ratios]}
    dice = np.random.default_rng(7)
    means = np.log(ratios)[dice.integers(6, size=(20_000, 6))].mean(1)
    expected = np.exp(np.percentile(means, [2.5, 97.5]))
    np.testing.assert_allclose(expected, comparison(counts).summary()["interval"], rtol=0.06)


def test_several_pairs_by_hand() -> None:
    """Over the tasks that all have: 2, 8 and 4, 16 are 45.25 / 8; a task of one alone is out."""
    one = comparison({"sparse": [[1], [1]], "dense": [[2], [8]]})
    two = comparison({"sparse": [[1], [1], [1]], "dense": [[4], [16], [999]]})
    found = over_pairs([two, one])
    assert ["t0", "t1"] == found["tasks"]
    expected = (2 * 8 * 4 * 16) ** 0.25
    assert pytest.approx((1, expected, expected)) == tuple(
        found[name] for name in ("sparse", "dense", "ratio")
    )
    assert pytest.approx([2, 16]) == found["interval"]
    assert {"tasks": []} == over_pairs([one, dataclasses.replace(two, rows=[])])


def test_pairs_are_resampled_too() -> None:
    """Tasks alike in each of two pairs: the spread is that of the pairs, 2 and 8."""
    one, two = (comparison({"sparse": [[1]] * 4, "dense": [[times]] * 4}) for times in (2, 8))
    found = over_pairs([one, two])
    assert pytest.approx([4, 2, 8]) == [found["ratio"], *found["interval"]]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of pairs."""
    return micro.write_pairs(tmp_path_factory.mktemp("task") / "letters.jsonl")


@pytest.fixture(scope="module")
def settings() -> PruneConfig:
    return PruneConfig(target_loss=micro.TARGET, prompts=2048, batch=16, calibrate=False)


@pytest.fixture(scope="module")
def output(
    model: Model, task: Path, settings: PruneConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished comparison of the model with its dense form."""
    folder = tmp_path_factory.mktemp("comparison") / "out"
    compare(model, micro.micro(dense=True), [str(task)], folder, settings, quiet=True)
    return folder


def test_a_finished_comparison_is_read_again(
    model: Model, task: Path, settings: PruneConfig, output: Path
) -> None:
    """The same nodes on both sides, 8 against 22 edges; nothing is pruned a second time."""
    files = {p: p.stat().st_mtime_ns for p in output.rglob("*.safetensors")}
    dense = micro.micro(dense=True)
    found = compare(model, dense, [str(task)], output, settings, quiet=True)
    assert files == {p: p.stat().st_mtime_ns for p in output.rglob("*.safetensors")}
    assert 2 == len(files)
    edges = found.summary("edges")
    expected = (8, micro.DENSE_EDGES, micro.DENSE_EDGES / 8)
    assert pytest.approx(expected) == (edges["sparse"], edges["dense"], edges["ratio"])
    assert pytest.approx(1) == found.summary("nodes")["ratio"]


def test_circuits_of_something_else_are_refused(
    model: Model, task: Path, settings: PruneConfig, output: Path, tmp_path: Path
) -> None:
    """Other settings, another model, other prompts of a task of that name: each is said."""
    dense = micro.micro(dense=True)
    other = PruneConfig(target_loss=micro.TARGET, prompts=1024, batch=16, calibrate=False)
    with pytest.raises(ConfigError, match="prompts 2048, this one has 1024"):
        compare(model, dense, [str(task)], output, other, quiet=True)
    with pytest.raises(MismatchError, match=model.id):
        compare(micro.micro(1), dense, [str(task)], output, settings, quiet=True)
    changed = micro.write_pairs(tmp_path / task.name, seed=6)
    with pytest.raises(ConfigError, match="other prompts of letters"):
        compare(model, dense, [str(changed)], output, settings, quiet=True)


def test_a_circuit_without_edges_has_no_ratio(
    model: Model, task: Path, settings: PruneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that one side does without any edge is left out, and said so."""
    monkeypatch.setattr(Circuit, "n_edges", property(lambda _: 0))
    with pytest.raises(DataError, match="has no edge"):
        compare(model, model, [str(task)], tmp_path / "out", settings, quiet=True)


def test_tasks_that_cannot_be_compared(model: Model, task: Path, tmp_path: Path) -> None:
    """An unknown task is an error; one that is not learned is left out, and said so."""
    dense = micro.micro(dense=True)
    settings = PruneConfig(target_loss=micro.TARGET, prompts=64, batch=16)
    with pytest.raises(DataError, match="unknown task 'nonsense'"):
        compare(model, dense, [str(task), "nonsense"], tmp_path / "out", settings, quiet=True)
    hard = PruneConfig(target_loss=0.001, prompts=64, batch=16)
    with pytest.raises(DataError, match=r"no task is learned by both .* by the sparse model"):
        compare(model, dense, [str(task)], tmp_path / "out", hard, quiet=True)
    assert not (tmp_path / "out").exists()


def test_what_is_learned_is_decided_on_validation_prompts(
    model: Model, task: Path, sets: PromptSets, settings: PruneConfig
) -> None:
    """Test prompts with the wrong answers do not matter, validation prompts with them do."""

    def loss(name: str) -> float:
        prompts = getattr(sets, name)
        exchanged = dataclasses.replace(prompts, answer=prompts.other, other=prompts.answer)
        turned = dataclasses.replace(sets, **{name: exchanged})
        return Shared().loss(model, get(task), settings, model.corpus, turned)

    _check_learned("sparse", "letters", loss("test"), settings)
    with pytest.raises(DataError, match="letters is not learned by the sparse model"):
        _check_learned("sparse", "letters", loss("validation"), settings)


def test_edges_start_from_the_search_for_nodes(
    model: Model,
    task: Path,
    settings: PruneConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With nodes alone first, none is searched again, no loss measured: the same circuits."""
    plain = dataclasses.replace(settings, prompts=1024, edge_masks=1)
    edges, known = dataclasses.replace(plain, edges=True), tmp_path / "known"
    pair = (model, model, [str(task)])
    alone = compare(*pair, tmp_path / "alone", edges, quiet=True)
    nodes = compare(*pair, tmp_path / "nodes", plain, shared=Shared(known), quiet=True)
    for module, name in ((prune, "step_together"), (sharing, "evaluate")):
        monkeypatch.setattr(module, name, None)
    found = compare(*pair, tmp_path / "edges", edges, shared=Shared(known), quiet=True)
    for side in ("sparse", "dense"):
        one, other, before = (
            Circuit.load(tmp_path / name / side / "letters-0")
            for name in ("alone", "edges", "nodes")
        )
        assert one == other
        assert one.losses == other.losses
        assert before.n_nodes == other.nodes_only.nodes
    assert alone.summary() == found.summary()
    seconds = {row["side"]: row["seconds"] for row in nodes.rows}
    assert all(row["seconds"] >= 0.9 * seconds[row["side"]] for row in found.rows)


def test_losses_are_kept_by_model_and_task(
    model: Model, task: Path, settings: PruneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured once for each model; of another model, target or file of pairs it is another's."""
    measured: list[str] = []

    def counted(model: Model, prompts: Any) -> Any:
        measured.append(model.id)
        return whole(model, prompts)

    whole = sharing.evaluate
    monkeypatch.setattr(sharing, "evaluate", counted)
    other = micro.micro(1)
    losses = [
        Shared(tmp_path / "known").loss(one, get(file), settings, one.corpus)
        for one in (model, other)
        for file in (task, task, micro.write_pairs(tmp_path / task.name, seed=6))
    ]
    assert measured == [model.id, model.id, other.id, other.id]
    assert losses[0] == losses[1] != losses[2]
    hard = dataclasses.replace(settings, target_loss=0.001)
    with pytest.raises(DataError, match="is not learned by the sparse model"):
        compare(
            model, model, [str(task)], tmp_path, hard, shared=Shared(tmp_path / "known"), quiet=True
        )
    assert len(measured) == 4
    text = micro.write_letters(tmp_path / "text")
    unknown = get("single_double_quote")
    for _ in range(2):
        with pytest.raises(DataError):
            Shared(tmp_path / "known").loss(model, unknown, settings, str(text))
    assert len(measured) == 4


def test_what_is_there_of_an_unfinished_comparison(output: Path, tmp_path: Path) -> None:
    """Every cell has its JSON; one that is missing is named, and its task has no ratio."""
    found, missing = so_far(output)
    assert missing == []
    assert found.tasks() == ["letters"]
    assert pytest.approx(micro.DENSE_EDGES / 8) == found.summary()["ratio"]
    shutil.copytree(output, tmp_path / "half")
    (tmp_path / "half" / "dense" / "letters-0.json").unlink()
    found, missing = so_far(tmp_path / "half")
    assert missing == [{"task": "letters", "side": "dense", "seed": 0}]
    assert found.rows == []


def test_a_link_among_its_folders_is_not_followed(
    model: Model, task: Path, settings: PruneConfig, output: Path, tmp_path: Path
) -> None:
    """A side that is a link elsewhere: nothing is read or written there."""
    copy, outside = tmp_path / "out", tmp_path / "outside"
    shutil.copytree(output, copy)
    (copy / "dense").rename(outside)
    (copy / "dense").symlink_to(outside, target_is_directory=True)
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    with pytest.raises(ArtifactError, match="dense is a link out of its folder"):
        compare(model, micro.micro(dense=True), [str(task)], copy, settings, quiet=True)
    with pytest.raises(ArtifactError, match="is a link out of its folder"):
        so_far(copy)
    assert before == {path: path.stat().st_mtime_ns for path in outside.rglob("*")}


def test_interrupted_it_goes_on_inside_a_pruning(
    model: Model,
    task: Path,
    settings: PruneConfig,
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of the first pruning was kept; what comes of it is what comes without a break."""
    steps, whole, dense = [], prune.step_together, micro.micro(dense=True)

    def broken(*given: Any) -> Any:
        steps.append(1)
        if len(steps) == settings.steps // 2:
            raise KeyboardInterrupt
        return whole(*given)

    place = tmp_path / "out"
    monkeypatch.setattr(state, "EVERY", 0.0)
    monkeypatch.setattr(prune, "step_together", broken)
    with pytest.raises(KeyboardInterrupt):
        compare(model, dense, [str(task)], place, settings, quiet=True)
    assert len(so_far(place)[1]) == 2
    assert (place / "unfinished" / "sparse" / "letters-0").is_dir()
    compare(model, dense, [str(task)], place, settings, quiet=True)
    assert len(steps) < 2.6 * settings.steps
    assert not (place / "unfinished").exists()
    for side in ("sparse", "dense"):
        first, again = (Circuit.load(p / side / "letters-0") for p in (output, place))
        assert first == again
        assert first.losses == again.losses


def test_a_search_that_failed_is_not_made_again(
    model: Model, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is no circuit is kept with the cell, and read there."""
    asked, calls = PruneConfig(target_loss=micro.TARGET, prompts=64, batch=16), []

    def refuse(model: Model, wanted: list[Any], **rest: Any) -> list[DataError]:
        calls.append(len(wanted))
        return [DataError("the penalties remove too much") for _ in wanted]

    monkeypatch.setattr("lacewing.comparison.prune_many", refuse)
    for _ in range(2):
        with pytest.raises(DataError, match="sparse: the penalties remove too much"):
            compare(model, model, [str(task)], tmp_path / "out", asked, quiet=True)
    assert calls == [1]
    assert "remove too much" in so_far(tmp_path / "out")[0].skipped[0]["reason"]
    other = dataclasses.replace(asked, prompts=128)
    with pytest.raises(DataError, match="remove too much"):
        compare(model, model, [str(task)], tmp_path / "out", other, quiet=True)
    assert calls == [1, 1]

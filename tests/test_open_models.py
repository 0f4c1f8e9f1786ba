"""Every verb on a model that transformers trained: GPT-2's layout, on the standard library.

`tests/model/gpt2` is `recipes/gpt2.py` with width 64, 4,000 steps and 1,500 tokens, kept in half
precision. It has half learned what stands under `except` and after `return` (0.26 nats).
"""

import json
import lzma
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from recipes import open_circuits, smollm2

import lacewing
from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.comparison import compare
from lacewing.errors import ConfigError, DataError, LacewingError
from lacewing.interop.foreign import foreign_circuit
from lacewing.model.huggingface.load import SUM, sum_of_means
from lacewing.model.store import Model
from lacewing.pruning import prune as pruning
from lacewing.tasks.batch import prompts
from lacewing.tasks.listing import list_tasks
from lacewing.tasks.registry import get
from lacewing.verification.suite import MORE, PARTS, parts_without
from lacewing.verification.verify import verify

HERE = Path(__file__).parent / "model" / "gpt2"
TASK = "except_return"
CONFIG = PruneConfig(
    target_loss=0.4,
    max_tokens=32,
    prompts=480,
    batch=16,
    penalty_from=1e-3,
    train_pairs=64,
    validation_pairs=48,
    test_pairs=48,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder, to be written to."""
    return Path(shutil.copytree(HERE, tmp_path_factory.mktemp("open") / "gpt2"))


@pytest.fixture(scope="module")
def model(place: Path) -> Model:
    """The model, with its means."""
    return lacewing.load(f"hf:{place}")


@pytest.fixture(scope="module")
def saved(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its circuit, as `prune` finds and saves it."""
    folder = tmp_path_factory.mktemp("circuits") / TASK
    lacewing.prune(model, TASK, CONFIG, quiet=True).save(folder)
    return folder


def test_tasks(model: Model) -> None:
    """The table names the model as its folder says, and scores it."""
    found = list_tasks(model, [TASK, "subject_verb"], evaluated=True, count=24, max_tokens=32)
    assert found["name"] == "GPT-2 layout, 2 layers of 64"
    learned, other = found["tasks"]
    assert learned["loss"] < 0.45
    assert learned["accuracy"] > 0.8
    assert other["origin"] == "template"


def test_prune(model: Model, saved: Path) -> None:
    """A small part of the model keeps the target; the folder opens its model again."""
    circuit = Circuit.load(saved)
    everything = sum(map(len, model.means.values()))
    assert 0 < circuit.n_nodes < everything / 3  # 371 of 1,472 in float32, under 368 in bfloat16
    assert circuit.losses["validation"] <= CONFIG.target_loss
    assert circuit.n_edges > 0
    again = lacewing.load(circuit.model_source)
    circuit.check(again)
    assert again.id == model.id


def test_a_search_goes_on(
    model: Model, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that was interrupted, twice, finds what one that was not finds."""
    folder, steps, real = tmp_path / "search", [0], pruning.step_together

    def stopping(*given: Any) -> str:
        steps[0] += 1
        if steps[0] in (9, 21):
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(pruning, "step_together", stopping)
    monkeypatch.setattr("lacewing.pruning.state.EVERY", 0.0)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            lacewing.prune(model, TASK, CONFIG, state=folder, quiet=True)
    found = lacewing.prune(model, TASK, CONFIG, state=folder, quiet=True)
    assert steps[0] == CONFIG.steps + 2
    assert found == Circuit.load(saved)


def test_the_recipe_goes_on_and_says_what_is_open(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Interrupted in its search it says so, goes on, writes its row, and then does nothing."""
    few = tuple(name for name in (*PARTS, *MORE) if name != "agreement")
    monkeypatch.setattr(open_circuits, "SLOW", few)
    given = open_circuits.Recipe(model.source, tmp_path / "open", (TASK,), CONFIG, whole=False)
    wrong = open_circuits.dataclasses.replace(given, tasks=(TASK, "nothing_like_it"))
    steps, real = [0], pruning.step_together

    def stopping(*asked: Any) -> str:
        steps[0] += 1
        if steps[0] == 12:
            raise KeyboardInterrupt
        return real(*asked)

    assert open_circuits.table(wrong).count("| NOT DONE |") == 2
    monkeypatch.setattr(pruning, "step_together", stopping)
    monkeypatch.setattr("lacewing.pruning.state.EVERY", 0.0)
    with pytest.raises(LacewingError, match="nothing_like_it"):
        open_circuits.main(wrong)
    assert steps[0] == 0  # a wrong name is told before hours of search
    with pytest.raises(KeyboardInterrupt):
        open_circuits.main(given)
    assert "NOT DONE, begun" in capsys.readouterr().out
    for _ in range(2):
        open_circuits.main(given)
        assert steps[0] == CONFIG.steps + 1
        told = capsys.readouterr().out
        assert f"{Circuit.load(given.output / TASK).n_nodes:,} of " in told
        assert "0 of 1 steps are not done" in told


def test_the_recipe_finds_all_before_it_judges(
    model: Model, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first task, too, is compared with another task's circuit; a task without one says why."""
    few = tuple(name for name in (*PARTS, *MORE) if name != "off_target")
    monkeypatch.setattr(open_circuits, "SLOW", few)
    tasks = (TASK, "single_double_quote", "subject_verb")
    given = open_circuits.Recipe(model.source, tmp_path, tasks, CONFIG, whole=False)

    def found(given: open_circuits.Recipe, model: Model, task: str) -> Circuit:
        circuit = Circuit.load(saved)
        if task == "subject_verb":
            raise DataError("the model has not learned it")
        if task != TASK:  # the other half of its nodes stands for another task's circuit
            nodes = {key: kept[::2] for key, kept in circuit.nodes.items()}
            none = {family: pairs[:0] for family, pairs in circuit.edges.items()}
            circuit = open_circuits.dataclasses.replace(circuit, task=task, nodes=nodes, edges=none)
        if not (given.output / task).exists():
            circuit.save(given.output / task)
        return Circuit.load(given.output / task)

    def judged(*asked: Any) -> dict[str, Any]:
        nodes = Circuit.load(tmp_path / tasks[1]).n_nodes  # found, and not judged yet
        assert f"| {tasks[1]} | {nodes:,} |" in open_circuits.table(given)
        row = real(*asked)
        assert "other_task" in row["tests"]
        return row

    real = open_circuits.judged
    monkeypatch.setattr(open_circuits, "found", found)
    monkeypatch.setattr(open_circuits, "judged", judged)
    monkeypatch.setattr(open_circuits, "TASKS", tasks)
    assert not open_circuits.tests_table(given)
    open_circuits.main(given)
    measured = open_circuits.tests_table(given)
    assert "| test | " + " | ".join(tasks[:2]) + " |" in measured
    assert measured.count(": fails") + measured.count(": passes") > 0
    assert "| other_task | " in measured
    assert "no circuit: the model has not learned it" in open_circuits.table(given)
    assert "0 of 3 steps are not done" in open_circuits.table(given)


def test_verify(model: Model, saved: Path) -> None:
    """Every part of the suite says something of it, or why it cannot."""
    slow = ("stability", "controls", "alternatives")
    proof = verify(
        model,
        Circuit.load(saved),
        seed=0,
        folder=saved,
        parts=parts_without(slow, more=True),
        quiet=True,
    )
    names = {test.name for test in proof.tests} | {left.name for left in proof.left_out}
    wanted = {"sufficient.mean", "necessary.frozen", "complement.worst", "interchange", "natural"}
    wanted |= {"agree.answer", "off_target", "baseline.attribution", "baseline.integrated"}
    wanted |= {"negatives", "nuisance", "other_task", "features.two_valued", *slow}
    assert wanted <= names
    kept = {file.stem for file in (saved / "verification").iterdir()}
    assert kept == {"short", *PARTS, *MORE} - set(slow)


def test_compare(model: Model, tmp_path: Path) -> None:
    """A model against itself: both sides the same, their ratio one."""
    found = compare(model, model, [TASK], tmp_path / "both", CONFIG, quiet=True)
    assert found.summary()["ratio"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("config", "said"),
    [({"minimal": True}, "pruning edges is there for"), ({"edges": True}, "pruning edges is")],
)
def test_verbs_that_cannot_say_why(model: Model, config: dict[str, Any], said: str) -> None:
    """Edges of a model whose weights are all there are not pruned; one line says so."""
    with pytest.raises(ConfigError, match=said) as raised:
        lacewing.prune(model, TASK, PruneConfig(**config), quiet=True)
    assert "\n" not in str(raised.value)


def test_no_program(model: Model, saved: Path) -> None:
    """A program of thousands of edges is none that could be read."""
    with pytest.raises(ConfigError, match="a program of a circuit is there for models of lacewing"):
        lacewing.program(model, Circuit.load(saved))


def test_attack(model: Model, saved: Path) -> None:
    """Inputs on which the circuit errs are looked for in any model."""
    found = lacewing.attack(model, Circuit.load(saved), budget=40, tests=4, quiet=True)
    assert found is not None


def _verdicts(model: Model, plain: Any, tmp_path: Path) -> tuple[Circuit, str]:
    file = tmp_path / "circuit.json"
    file.write_text(json.dumps(plain), encoding="utf-8")
    config = PruneConfig(target_loss=0.4, max_tokens=32, validation_pairs=48, test_pairs=48)
    circuit = foreign_circuit(file, model, TASK, config)
    return circuit, verify(model, circuit, quick=True, random_circuits=4, quiet=True).verdict


def test_a_circuit_of_another_tool(model: Model, tmp_path: Path) -> None:
    """All heads and MLPs keep what the model knows; a random one of as many nodes does not."""
    heads = [f"{layer}.{head}" for layer in range(2) for head in range(4)]
    whole = {"format": "lacewing-parts-1", "heads": heads, "mlps": [0, 1]}
    circuit, _ = _verdicts(model, whole, tmp_path)
    # It is calibrated, the full model is not: it may be better.
    assert circuit.losses["circuit"] < circuit.losses["full"] + 0.1
    dice = np.random.default_rng(0)
    drawn = [f"A{layer}.{head}->Resid End" for layer in range(2) for head in [dice.integers(4)]]
    random, verdict = _verdicts(model, {"edges": drawn}, tmp_path)
    assert random.losses["circuit"] > 0.5
    assert "fails: sufficient" in verdict


def test_prompts_of_templates_are_apart(model: Model) -> None:
    """No pair of one part is one of another, and the corpus is not read."""
    task, seen = get("indirect_object"), set[str]()
    for split in ("train", "validation", "test"):
        try:
            made = prompts(task, None, model.tokenizer, split, 40, 60)  # type: ignore[arg-type]
        except DataError:
            pytest.skip("the tokenizer has no single tokens for the names")
        pairs = {pair.clean for pair in made.pairs}
        assert not pairs & seen
        seen |= pairs


def test_errors_are_lacewings_own(tmp_path: Path) -> None:
    """A folder that is no model is an error to be shown, not a traceback."""
    with pytest.raises(LacewingError, match=r"no config\.json"):
        lacewing.load(f"hf:{tmp_path}")


def test_packed_circuits_come_back(
    model: Model, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What --pack keeps is taken instead of a search, by the same model and search alone."""
    monkeypatch.setattr(open_circuits, "KEPT", tmp_path / "kept")
    given = open_circuits.Recipe(model.source, tmp_path / "open", (TASK,), CONFIG)
    assert open_circuits.kept(model, TASK, CONFIG) is None
    shutil.copytree(saved, given.output / TASK)
    begun = given.output / TASK / "verification" / "searches" / "1.unfinished" / "search"
    begun.mkdir(parents=True)
    open_circuits.pack(given)
    with tarfile.open(tmp_path / "kept" / f"{TASK}.tar.xz") as whole:
        names = whole.getnames()
    assert f"{TASK}/circuit.json" in names
    assert not any("unfinished" in name for name in names)
    there = Circuit.load(saved)
    again = open_circuits.kept(model, TASK, CONFIG)
    assert again is not None
    assert (again.n_nodes, again.model_source) == (there.n_nodes, model.source)
    other = open_circuits.dataclasses.replace(CONFIG, seed=CONFIG.seed + 1)
    assert open_circuits.kept(model, TASK, other) is None
    shutil.rmtree(given.output / TASK)
    monkeypatch.setattr(open_circuits, "prune", None)  # a search would fail
    assert open_circuits.found(given, model, TASK).n_nodes == there.n_nodes


@pytest.mark.parametrize(
    "file", sorted(open_circuits.KEPT.glob("*.tar.xz")), ids=lambda file: file.name
)
def test_circuits_in_the_repository_are_whole(file: Path) -> None:
    """Each opens, is of the recipe's search, and reaches its target."""
    circuit = open_circuits.unpacked(file)
    assert circuit.task in open_circuits.TASKS
    assert circuit.config.steps == open_circuits.SEARCH.steps
    assert circuit.losses["circuit"] <= circuit.target_loss


def test_the_means_in_the_repository_fit_the_circuits() -> None:
    """One model's: every node of each circuit has its mean, and the file is what was written."""
    content = lzma.decompress(smollm2.MEASURED.read_bytes())
    means = artifacts.parse_tensors(content, smollm2.MEASURED)
    said = artifacts.parse_metadata(content, smollm2.MEASURED)
    rest = {key: value for key, value in said.items() if key != SUM}
    assert said[SUM] == sum_of_means(means, rest)
    circuits = [open_circuits.unpacked(file) for file in open_circuits.KEPT.glob("*.tar.xz")]
    assert len({circuit.model_id for circuit in circuits}) == 1
    for circuit in circuits:
        for key, kept in circuit.nodes.items():
            assert len(kept) == 0 or kept.max() < len(means[key])

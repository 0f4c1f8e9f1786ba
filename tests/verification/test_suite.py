"""The suite as a whole: it goes on where it stopped, and says everything in one file."""

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console, RenderableType

import micro
from lacewing import artifacts
from lacewing.circuit import natural_text
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.cli.verify import Verify
from lacewing.data.corpus import Corpus
from lacewing.data.source import CorpusSummary
from lacewing.errors import DataError
from lacewing.model.store import Model
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile
from lacewing.tasks.task import Task
from lacewing.verification import agreement, attention, evidence, interchange
from lacewing.verification import distribution_shift as others
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import Finding, LeftOut
from lacewing.verification.kept import FOLDER
from lacewing.verification.verify import VERIFICATION, verify
from micro import make

PARTS = {"interchange": interchange.run, "attention": attention.run}
SIZES = PruneConfig(
    target_loss=micro.TARGET,
    calibrate=False,
    max_tokens=14,
    train_pairs=96,
    validation_pairs=16,
    test_pairs=24,
)


def letters(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Letters between X or Y and an equals sign; every other draft is natural."""
    for number in range(12):
        middle = "".join(random.choices(micro.LETTERS, k=9))
        yield Draft(f"X{middle}=", f"Y{middle}=", 0, ("P", "Q"), natural=number % 2 == 0)


def task(origin: Any = "mixed") -> Task:
    return Task.from_function(letters, name="letters", origin=origin)


@pytest.fixture
def asked(model: Model, sets: PromptSets, tmp_path: Path, text: Path) -> dict[str, Any]:
    """What `verify` wants for the planted circuit, its task in a file."""
    pairs = micro.write_pairs(tmp_path / "letters.jsonl", 60)
    circuit = make(model, micro.PLANTED, config=SIZES, pairs=sets.test.pairs)
    circuit.save(tmp_path / "circuit")
    return {
        "model": model,
        "circuit": circuit,
        "folder": tmp_path / "circuit",
        "corpus": str(text),
        "task": str(pairs),
        "quiet": True,
    }


@pytest.fixture
def elsewhere(model: Model, sets: PromptSets, text: Path) -> Evidence:
    """Evidence of a task whose prompts are made from files."""
    return Evidence(sets.test, sets, sets.test.tokens, str(text), 0, task())


def test_an_interrupted_suite_goes_on(asked: dict[str, Any]) -> None:
    """What was finished is not run again; the whole is what one uninterrupted run gives."""
    calls: list[str] = []

    def counted(*arguments: Any) -> Any:
        calls.append("interchange")
        return interchange.run(*arguments)

    def stopped(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(**asked, parts={"interchange": counted, "attention": stopped})
    whole = {"interchange": counted, "attention": attention.run}
    first = verify(**asked, parts=whole).as_json()
    assert ["interchange"] == calls
    again = verify(**asked, parts=whole).as_json()
    assert first == again
    other = verify(**asked, seed=1, parts=PARTS).as_json()
    assert ["interchange"] == calls
    assert first["sufficient"]["interval"] != other["sufficient"]["interval"]


def drawn(shown: RenderableType) -> str:
    """What is shown, as text with single spaces."""
    console = Console(file=io.StringIO(), width=160)
    with console.capture() as kept:
        console.print(shown)
    return " ".join(kept.get().split())


def test_what_the_suite_says(asked: dict[str, Any]) -> None:
    """The fields of the short test, every finding, and the verdict, as JSON."""
    found = json.loads(json.dumps(verify(**asked, parts=PARTS).as_json(), allow_nan=False))
    assert {"task", "model_id", "pairs", "seed", "full", "sufficient", "necessary"} <= set(found)
    names = ["sufficient.mean", "necessary.mean", "interchange", "attention"]
    assert names == [test["name"] for test in found["tests"]]
    fields = {field.name for field in dataclasses.fields(Finding)}
    assert all(fields == set(test) for test in found["tests"])
    assert "holds" == found["verdict"]
    assert [] == found["left_out"]
    shown = drawn(Verify.show(found))
    assert all(name in shown for name in names)
    assert "verdict holds" in shown


def test_a_changed_circuit_is_tested_anew(
    asked: dict[str, Any], model: Model, sets: PromptSets
) -> None:
    """Parts of a circuit that stood here before are not taken for this one's."""
    before = verify(**asked, parts=PARTS).as_json()
    smaller = make(model, micro.PATH_A, config=SIZES, pairs=sets.test.pairs)
    kept = {p.name: p.read_bytes() for p in (asked["folder"] / FOLDER).iterdir()}
    smaller.save(asked["folder"], replace=True)
    (asked["folder"] / FOLDER).mkdir()
    for name, content in kept.items():
        (asked["folder"] / FOLDER / name).write_bytes(content)
    after = verify(**(asked | {"circuit": smaller}), parts=PARTS).as_json()
    assert before["sufficient"]["loss"] < after["sufficient"]["loss"]
    assert after["verdict"].startswith("fails: sufficient.mean, necessary.mean")


def test_no_test_pair_is_learned_on(asked: dict[str, Any], sets: PromptSets, model: Model) -> None:
    """Pairs of the task that are saved test pairs too are in neither of the other sets."""
    made = evidence.gather(model, asked["circuit"], sets.test, asked["corpus"], 0, asked["task"])
    overlap = made.sets.train.take(range(3)).pairs
    test = dataclasses.replace(sets.test, pairs=(*overlap, *sets.test.pairs[3:]))
    again = evidence.gather(model, asked["circuit"], test, asked["corpus"], 0, asked["task"])
    assert len(made.sets.train) - 3 == len(again.sets.train)
    assert not set(overlap) & set(again.sets.train.pairs)
    assert (natural_text.WINDOWS, model.network.config.context) == tuple(again.text.shape)
    with pytest.raises(DataError, match="--task"):
        evidence.gather(model, asked["circuit"], sets.test, asked["corpus"])


def test_prompts_of_the_other_make(model: Model, elsewhere: Evidence) -> None:
    """A circuit pruned on natural prompts gets composed ones; where all are alike there is none."""
    circuit = make(model, micro.PLANTED, config=SIZES)
    made = others.templates(model, circuit, elsewhere)
    assert not isinstance(made, str)
    assert f"composed prompts ({len(made[0])} pairs of {elsewhere.corpus})" == made[1]
    composed = others.of_make(task(), natural=False)
    known = Corpus.parse(elsewhere.corpus)
    drafts = {c.draft.clean for c in composed.draw(known, "test", 0)}
    assert {pair.clean for pair in made[0].pairs} <= drafts
    alike = dataclasses.replace(elsewhere, task=task("composed"))
    assert isinstance(others.templates(model, circuit, alike), str)


def test_where_one_corpus_has_few_places_the_next_helps_out(
    model: Model, elsewhere: Evidence, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All prompts of the first corpus, then those of the next; none at all is said."""
    known, other = Corpus.parse(elsewhere.corpus), Corpus("other", [others._SomeFiles((text,))])
    drawn, natural = (model.tokenizer, 14, 0), others.of_make(task(), natural=True)
    alone, _ = others._first(natural, [known], drawn)
    monkeypatch.setattr(others, "PAIRS", len(alone) + 5)
    both, sizes = others._first(natural, [known, other], drawn)
    assert f"{len(alone)} pairs of {known.spec}, 5 pairs of other" == sizes
    assert alone.pairs == both.pairs[: len(alone)]
    empty = Corpus("empty", [])
    monkeypatch.setattr(others, "PAIRS", 5)
    assert "5 pairs of other" == others._first(natural, [empty, other], drawn)[1]
    with pytest.raises(DataError, match="no test file of empty has a place"):
        others._first(natural, [empty], drawn)


def test_longer_prompts(model: Model, elsewhere: Evidence) -> None:
    """Longer than any that it was pruned on, or a reason why there are none."""
    circuit = make(model, micro.PLANTED, config=dataclasses.replace(SIZES, max_tokens=8))
    made = others.longer(model, circuit, elsewhere)
    assert not isinstance(made, str)
    assert 8 <= int(made[0].last.min())
    assert int(made[0].last.max()) < 16
    longest = make(model, micro.PLANTED, config=dataclasses.replace(SIZES, max_tokens=9))
    assert "no more than 16" in str(others.longer(model, longest, elsewhere))


def test_other_files(
    model: Model, elsewhere: Evidence, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts come from task files of the other corpus; pairs of a file have none."""
    monkeypatch.setattr(others, "_roots", lambda name: [text])
    monkeypatch.setattr(others, "FILES", 12)
    source = others._SomeFiles((text,))
    names = [found.path for found in source(CorpusSummary())]
    assert 12 == len(names)
    assert {"task"} == {others.split_of(name) for name in names}
    circuit = make(model, micro.PLANTED, config=SIZES)
    made = others.files(model, circuit, elsewhere)
    assert not isinstance(made, str)
    assert {pair.source for pair in made[0].pairs} <= set(names)


def test_agreement_elsewhere(
    model: Model, elsewhere: Evidence, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured where there are prompts, left out where there can be none, open where few."""
    monkeypatch.setattr(others, "_roots", lambda name: [text])
    circuit: Circuit = make(model, micro.PLANTED, config=SIZES)
    found = {f.name: f for f in agreement.run(model, circuit, elsewhere, True)}
    assert isinstance(found["agree.longer"], LeftOut)
    files = found["agree.files"]
    assert isinstance(files, Finding)
    assert 1.0 == files.value
    monkeypatch.setattr(agreement, "FEWEST", 1000)
    few = {f.name: f for f in agreement.run(model, circuit, elsewhere, True)}["agree.files"]
    assert isinstance(few, Finding)
    assert few.passed is None
    nowhere = dataclasses.replace(elsewhere, task=dataclasses.replace(task(), generate=nothing))
    none = {f.name: f for f in agreement.run(model, circuit, nowhere, True)}["agree.files"]
    assert isinstance(none, Finding)
    assert (None, 0) == (none.passed, none.n)
    assert "could be made" in none.meaning


def nothing(file: SourceFile, random: Random) -> Iterator[Draft]:
    """A task that no file has a place for."""
    yield from ()


def test_quick_is_the_short_test(asked: dict[str, Any], tmp_path: Path) -> None:
    """Without the suite the file holds what it always held."""
    source = micro.write_run(asked["model"], tmp_path / "run")
    folder = asked["folder"]
    found = json.loads(json.dumps(Verify(circuit=folder, model=str(source), quick=True).run()))
    assert "tests" not in found
    assert "verdict" not in found
    assert found == artifacts.read_summed(folder / VERIFICATION)

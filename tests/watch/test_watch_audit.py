"""An audit says what was measured, and its check sees whatever was changed."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import audits
import micro
from hostile import material
from hostile.reseal import reseal
from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.cli.app import main
from lacewing.errors import ArtifactError, ConfigError, DataError, MismatchError
from lacewing.model.store import load
from lacewing.verification.finding import reaches
from lacewing.verification.random_circuits import beats
from lacewing.verification.verify import verify
from lacewing.watch.audit.build import Asked, audit, contents, derived, write
from lacewing.watch.audit.card import card
from lacewing.watch.audit.check import NOT_SIGNED, How, check
from lacewing.watch.audit.files import of_model, summed
from lacewing.watch.audit.measure import TOLERANCES, processor, sampled, tolerance
from lacewing.watch.audit.points import ANNEX_IV, ANNEX_XI
from lacewing.watch.audit.schema import AUDIT, Audit, Tolerances
from lacewing.watch.audit.statement import PREDICATE, outcomes, result


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, two circuits of it, and their audit: one that passes, one that is half of it."""
    root = tmp_path_factory.mktemp("audited")
    model = micro.micro()
    micro.write_run(model, root / "model")
    pairs = tuple(micro._pairs(48, 9))
    for name, kept in (("whole", micro.PLANTED), ("half", micro.PATH_A)):
        facts = {"pairs": pairs, "model_source": str(root / "model")}
        circuit = micro.make(model, kept, config=micro.prune_config(), **facts)
        circuit.save(root / "circuits" / name)
    audits.make(root, random_circuits=4)
    return root


@pytest.fixture
def copy(site: Path, tmp_path: Path) -> Path:
    """A copy of all that, to be changed."""
    shutil.copytree(site, tmp_path / "copy")
    return tmp_path / "copy"


def read(root: Path) -> Audit:
    """What its audit.json says."""
    return artifacts.read(root / "audit" / AUDIT, Audit)


def test_numbers_are_those_of_verify(site: Path) -> None:
    """The audit's short test is that of `lacewing verify --quick`."""
    model, made = load(site / "model"), read(site)
    names = {circuit.name: circuit for circuit in made.circuits}
    for name, circuit in names.items():
        there = Circuit.load(site / "circuits" / name)
        found = verify(model, there, quick=True, random_circuits=4, quiet=True)
        assert found.full == circuit.full
        for test, ours in (("sufficient", found.sufficient), ("necessary", found.necessary)):
            said = getattr(circuit, test)
            assert (ours.loss, ours.interval, ours.verdict) == (
                said.loss,
                said.interval,
                said.verdict,
            )
            assert ours.random.lowest == said.random.lowest
        assert 48 == len(circuit.losses.alone)
    assert names["whole"].sufficient.verdict is True
    assert names["half"].sufficient.verdict is False


def test_the_statement_is_in_totos(site: Path) -> None:
    """Subjects are all files of both sides, by their sums; the half circuit fails."""
    made = json.loads((site / "audit" / "statement.json").read_text())
    assert "https://in-toto.io/Statement/v1" == made["_type"]
    assert PREDICATE == made["predicateType"]
    subjects = {one["name"]: one["digest"]["sha256"] for one in made["subject"]}
    weights = artifacts.open_folder(site / "model", "run").manifest.files["model.safetensors"]
    assert weights.sha256 == subjects["model/model.safetensors"]
    assert "circuits/half/pairs.jsonl" in subjects
    predicate = made["predicate"]
    assert "FAILED" == predicate["result"] == result(read(site))
    assert "half: sufficient" in predicate["failedTests"]
    assert "whole: sufficient" in predicate["passedTests"]
    assert len(outcomes(read(site))) == sum(len(predicate[k]) for k in predicate if "Tests" in k)


def test_every_point_has_its_answer(site: Path) -> None:
    """Both annexes, each point once; what lacewing does not know is said to be so."""
    made = read(site)
    numbers = [(point.annex, point.number) for point in made.points]
    assert len(ANNEX_IV) + len(ANNEX_XI) == len(set(numbers)) == 37
    silent = [point for point in made.points if point.answered == "no"]
    assert {("IV", "8"), ("XI", "1.2(e)")} <= {(p.annex, p.number) for p in silent}
    assert all(point.answer.endswith(".") for point in made.points)


def test_the_page_is_for_people_and_offline(site: Path) -> None:
    """It says the verdicts, and names no address."""
    page = (site / "audit" / "index.html").read_text()
    assert "<b>FAIL</b>" in page
    assert "0 of 2 short tests; fails: sufficient, necessary" in page
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_words_from_outside_are_text(site: Path) -> None:
    """Purpose and provider are escaped."""
    made = dataclasses.replace(read(site), purpose="<script>alert(1)</script>")
    page = contents(made)["index.html"].decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_untouched_is_fine(site: Path) -> None:
    """Whatever pairs are drawn; with --whole the random circuits too."""
    for how in (How(sample=8), How(whole=True, quiet=True)):
        found = check(site / "audit", how)
        assert found.fine, found.differs
        assert found.furthest <= TOLERANCES.same
        assert (NOT_SIGNED,) == found.notes
    assert 96 == found.pairs


def test_of_circuits_that_ship(tmp_path: Path) -> None:
    """Every lacewing has them, so their names are enough, wherever the audit goes."""
    names = [Path("builtin:taught-tiny/while_return_true")]
    names += [names[0] / "robust"]
    there = [(name, Circuit.load(name)) for name in names]
    made = audit(
        load("builtin:taught-tiny"),
        there,
        tmp_path / "audit",
        Asked(random_circuits=1, quiet=True),
    )
    said = [(circuit.name, circuit.source) for circuit in made.circuits]
    assert said == [
        ("while_return_true", "builtin:taught-tiny/while_return_true"),
        ("while_return_true-robust", "builtin:taught-tiny/while_return_true/robust"),
    ]
    assert all(circuit.suite for circuit in made.circuits)
    (tmp_path / "audit").rename(tmp_path / "elsewhere")
    found = check(tmp_path / "elsewhere", How(sample=2))
    assert found.fine, found.differs
    with pytest.raises(DataError, match="named twice"):
        audit(load("builtin:taught-tiny"), [there[0]] * 2, tmp_path / "two")


def test_the_text_is_that_of_the_training() -> None:
    """A corpus that was built is named by its id, not by the part of it that is at hand."""
    name = "builtin:sparse"
    made = card(load(name), Path(), None, summed(of_model(name)))
    assert made.text_id
    assert made.text_id in made.text


def test_it_can_be_moved(copy: Path) -> None:
    """Paths are relative; a model or circuits that went elsewhere are named."""
    assert check(copy / "audit").fine
    (copy / "model").rename(copy / "other")
    found = check(copy / "audit")
    assert not found.fine
    assert "model" in str(found.differs)
    (copy / "circuits").rename(copy / "there")
    places = tuple(copy / "there" / circuit.name for circuit in read(copy).circuits)
    assert check(copy / "audit", How(model=str(copy / "other"), circuits=places)).fine
    swapped = check(copy / "audit", How(model=str(copy / "other"), circuits=places[::-1]))
    assert "circuit half" in str(swapped.differs)


def test_a_few_dozen_changed_copies(site: Path) -> None:
    """A byte here or there, of any file, with and without new sums."""
    missed = [name for name, seen, _ in audits.copies(site, 40, seed=0) if not seen]
    assert missed == []


@pytest.mark.long
def test_a_hundred_changed_copies(site: Path) -> None:
    """The seeded tenth of a thousand."""
    every = list(audits.copies(site, 100, seed=1))
    assert [name for name, seen, _ in every if not seen] == []
    assert all(said for _, _, said in every)


@pytest.mark.long
def test_a_model_of_hugging_face(tmp_path: Path) -> None:
    """All that a library opens is in it; what is not known of its training is said."""
    pytest.importorskip("transformers")
    material.make(tmp_path, ("gpt2", "gpt2.circuit"))
    folder = tmp_path / "gpt2.circuit"
    model = load(f"hf:{tmp_path / 'gpt2'}")
    asked = Asked(random_circuits=4, quiet=True)
    made = audit(model, [(folder, Circuit.load(folder))], tmp_path / "audit", asked)
    assert {"model.safetensors", "tokenizer.json"} <= {file.name for file in made.model.files}
    assert ("no", "Not known.") in {(point.answered, point.answer) for point in made.points}
    found = check(tmp_path / "audit", How(whole=True, quiet=True))
    assert found.fine, found.differs
    (tmp_path / "gpt2" / "more.json").write_text("{}")
    assert "more.json is not in the audit" in str(check(tmp_path / "audit").differs)


def test_every_byte_of_the_manifest(copy: Path) -> None:
    """Its own sum is over its values alone; spaces and the order of keys count too."""
    manifest = copy / "audit" / artifacts.MANIFEST
    content = manifest.read_bytes()
    for changed in (
        content.replace(b"\n", b"\n ", 1),
        content + b"\n",
        content[:-1],
        json.dumps(json.loads(content)).encode(),
        content.replace(b"a", b"\\u0061", 1),
    ):
        manifest.write_bytes(changed)
        assert not check(copy / "audit").fine
    manifest.write_bytes(content)
    assert check(copy / "audit").fine


def test_lies_are_seen(site: Path) -> None:
    """Numbers that were changed with all that follows; what only a signature sees is known."""
    found = audits.lies(site, len(audits.LIES), seed=0, whole=True)
    seen = {name: one for name, one, _ in found}
    assert ["the licence"] == [name for name, one in seen.items() if not one]


def forged(made: Audit, name: str, nearest: bool) -> Audit:
    """The half circuit's test made better than all random ones, with the verdict that follows.

    With `nearest` the random circuits' ends and mean are moved too, so that all goes together.
    """
    every = []
    for circuit in made.circuits:
        test = getattr(circuit, name)
        if circuit.name == "half":
            by = 0.3 + test.random.highest - test.random.lowest
            ends = (test.margin[0] + by, test.margin[1] + by)
            away = by if test.at_most else -by
            random = test.random
            if nearest:
                moved = [end + away for end in (random.mean, random.lowest, random.highest)]
                random = dataclasses.replace(random, **dict(zip(NUMBERS, moved, strict=True)))
            side = reaches(test.loss, *test.interval, test.threshold, at_most=test.at_most)
            new = dataclasses.replace(
                test, margin=ends, random=random, verdict=side and beats(ends)
            )
            circuit = dataclasses.replace(circuit, **{name: new})
        every.append(circuit)
    return derived(dataclasses.replace(made, circuits=tuple(every)))


NUMBERS = ("mean", "lowest", "highest")


@pytest.mark.parametrize("name", ["sufficient", "necessary"])
@pytest.mark.parametrize(
    ("nearest", "said"), [(False, r"margin follows as"), (True, "random circuit . of")]
)
def test_a_forged_margin_is_seen(copy: Path, name: str, nearest: bool, said: str) -> None:
    """Without --whole: by the losses that are there, and by random circuits measured again."""
    lie = forged(read(copy), name, nearest)
    shutil.rmtree(copy / "audit")
    write(lie, copy / "audit")
    found = check(copy / "audit", How(seed=0, quiet=True))
    assert not found.fine
    assert re.search(f"circuit half: .*{name}.*{said}|{said} {name}", str(found.differs))


def more(copy: Path) -> None:
    """A file that does not belong."""
    (copy / "audit" / "note.txt").write_text("hello")


def less(copy: Path) -> None:
    """No page."""
    (copy / "audit" / "index.html").unlink()


def another(copy: Path) -> None:
    """Another model of the same shape in the model's place."""
    shutil.rmtree(copy / "model")
    micro.write_run(micro.micro(seed=5), copy / "model")


def retrained(copy: Path) -> None:
    """Another verification beside a circuit than was audited."""
    (copy / "circuits" / "half" / "verification.json").write_text("{}")


def newer(copy: Path) -> None:
    """An audit of a version to come."""
    path = copy / "audit" / AUDIT
    path.write_text(path.read_text().replace('"format": 1', '"format": 2', 1))
    assert reseal(path)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (more, "note.txt is no file of the audit"),
        (less, "index.html is missing"),
        (another, "the model: "),
        (retrained, "circuit half: .*verification.json is not in the audit"),
        (newer, "audit.json: format"),
    ],
)
def test_harm_is_named(copy: Path, harm: Callable[[Path], None], said: str) -> None:
    """One line says what differs."""
    harm(copy)
    found = check(copy / "audit")
    assert not found.fine
    assert re.search(said, str(found.differs)), found.differs
    assert "\n" not in str(found.differs)


def test_mistakes_are_told(site: Path, tmp_path: Path) -> None:
    """No circuit, one twice, one of another model, a folder that is there."""
    model = load(site / "model")
    one = (site / "circuits" / "half", Circuit.load(site / "circuits" / "half"))
    with pytest.raises(ConfigError, match="no circuit"):
        audit(model, [], tmp_path / "new")
    with pytest.raises(DataError, match="named twice"):
        audit(model, [one, one], tmp_path / "new")
    with pytest.raises(ArtifactError, match="exists already"):
        audit(model, [one], site / "audit")
    with pytest.raises(MismatchError, match="belongs to model"):
        audit(micro.micro(seed=3), [one], tmp_path / "new", Asked(quiet=True))
    assert not (tmp_path / "new").exists()


def test_tolerances_are_of_a_kind(site: Path) -> None:
    """Another instruction set allows more; an audit cannot allow itself more than is meant."""
    here = processor()
    other = dataclasses.replace(here, instructions="NEON")
    wide = Tolerances(same=1.0, other=1.0)
    assert TOLERANCES.same == tolerance(here, here, wide) < tolerance(other, here, wide)
    assert 1e-9 == tolerance(here, here, Tolerances(same=1e-9, other=1.0))


def test_neighbours_of_a_pair_count_under_resampling(site: Path) -> None:
    """Its ablation takes values of the next pair, so that all are measured again."""
    circuit = Circuit.load(site / "circuits" / "half")
    assert 8 == len(sampled(circuit, 8, 0))
    resampled = dataclasses.replace(circuit, ablation="resample")
    assert 48 == len(sampled(resampled, 8, 0))


def test_the_command(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made, checked, changed; status 0, 0, 3, and 2 for flags that do not go together."""
    circuits = [str(copy / "circuits" / name) for name in ("half", "whole")]
    words = ["audit", str(copy / "model"), "--circuits", *circuits]
    main([*words, "--output", str(copy / "new"), "--purpose", "to test"])
    told = capsys.readouterr().out
    assert "FAILED, not signed" in told
    made = artifacts.read(copy / "new" / AUDIT, Audit)
    assert "lacewing audit" in made.commands[-1]
    assert "--purpose 'to test'" in made.commands[-1]
    main(["audit", "--check", str(copy / "new")])
    assert "is fine: " in capsys.readouterr().out
    page = copy / "new" / "index.html"
    page.write_bytes(page.read_bytes().replace(b"FAILED", b"PASSED"))
    with pytest.raises(SystemExit) as stopped:
        main(["audit", "--check", str(copy / "new")])
    assert 3 == stopped.value.code
    assert "index.html" in capsys.readouterr().out
    for odd in (["audit"], ["audit", "--check", "x", "--output", "y"], ["audit", "--key", "k"]):
        with pytest.raises(SystemExit) as stopped:
            main(odd)
        assert 2 == stopped.value.code
        assert 1 == len(capsys.readouterr().err.splitlines())

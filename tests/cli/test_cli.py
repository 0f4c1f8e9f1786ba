"""The verbs on a model worked out by hand: what they print, what they refuse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import micro
from lacewing import artifacts
from lacewing.cli.app import main
from lacewing.cli.prune import Prune
from lacewing.tasks.pair import Pair

SEARCH = [
    "--target-loss",
    str(micro.TARGET),
    "--prompts",
    "2048",
    "--batch",
    "16",
    "--no-calibrate",
]
Json = Callable[[list[str]], Any]
Refuse = Callable[[list[str]], str]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two models as finished runs, and a task as a file of pairs."""
    folder = tmp_path_factory.mktemp("micro")
    return {
        "sparse": str(micro.write_run(micro.micro(), folder / "sparse")),
        "dense": str(micro.write_run(micro.micro(dense=True), folder / "dense")),
        "task": str(micro.write_pairs(folder / "letters.jsonl")),
    }


@pytest.fixture(scope="session")
def circuit(runs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A circuit made on the command line."""
    folder = tmp_path_factory.mktemp("circuits") / "letters"
    main(["prune", *named(runs), "--output", str(folder), *SEARCH])
    return str(folder)


def named(runs: dict[str, str]) -> list[str]:
    return ["--model", runs["sparse"], "--task", runs["task"]]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Json:
    """Run a command with --json; the object on the last line of standard output."""

    def execute(arguments: list[str]) -> Any:
        capsys.readouterr()
        main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return execute


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run a command that has to be refused; the one line it prints."""

    def execute(arguments: list[str]) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        out, err = capsys.readouterr()
        assert 2 == stop.value.code
        assert "" == out
        lines = err.strip().splitlines()
        assert 1 == len(lines), err
        assert lines[0].startswith("lacewing: ")
        return lines[0]

    return execute


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_prune_prints_the_published_form(
    answer: Json, runs: dict[str, str], tmp_path: Path
) -> None:
    """The planted counts, both losses on test prompts, target and seconds."""
    found = answer(["prune", *named(runs), "--output", str(tmp_path / "circuit"), *SEARCH])
    assert 15 == found["nodes"]
    assert {"paper": 8, "all": micro.ALL_EDGES} == found["edges"]
    assert {"full", "circuit"} == set(found["loss"])
    assert found["reached"]["verdict"] is True
    assert found["loss"]["circuit"] <= found["loss"]["full"] <= micro.TARGET
    assert micro.TARGET == found["target_loss"]
    assert found["seconds"] > 0
    names = {"circuit.json", "nodes.safetensors", "pairs.jsonl", "manifest.json"}
    assert names == {path.name for path in (tmp_path / "circuit").iterdir()}


def test_prune_warns_where_test_prompts_miss_the_target() -> None:
    """Where the whole interval is above it, and where it straddles it; else there is no warning."""

    def shown(verdict: bool | None, low: float, high: float) -> str:
        reached = {"verdict": verdict, "interval": [low, high], "pairs": 13}
        facts = {"nodes": 3, "edges": {"paper": 2, "all": 4}, "target_loss": 0.15, "seconds": 1.0}
        facts |= {"chosen_at": 0.1} | {"loss": {"circuit": 0.1, "full": 0.05}, "reached": reached}
        return Prune.show(facts)

    assert "warning" not in shown(True, 0.1, 0.15)
    assert "\nwarning: misses the target 0.15 on 13 test pairs: [0.200, 0.400]" in shown(
        False, 0.2, 0.4
    )
    assert "\nwarning: not shown to reach the target 0.15 on 13 test pairs: [0.100, 0.400]" in (
        shown(None, 0.1, 0.4)
    )


def test_no_circuit_where_the_last_token_decides(
    refused: Refuse, answer: Json, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The bigram table needs no node: nothing is written; an empty circuit of old is none."""
    model = micro.micro(bigram=True)
    run, folder = micro.write_run(model, tmp_path / "run"), tmp_path / "circuit"
    task = str(micro.write_pairs(tmp_path / "last.jsonl", ask=False))
    line = refused(["prune", "--model", str(run), "--task", task, "--output", str(folder), *SEARCH])
    assert (
        "lacewing: no circuit: the bigram table alone gives 0.018; use pairs with the same last "
        "token"
    ) == line
    assert not folder.exists()
    pairs = tuple(Pair(f"{c}X", f"{c}Y", "P", "Q", "") for c in "abcdefgh")
    micro.make(model, {}, pairs=pairs, model_source=str(run)).save(folder)
    found = answer(["verify", "--circuit", str(folder), "--quick"])
    assert found["sufficient"]["loss"] < micro.TARGET
    assert found["sufficient"]["verdict"] is False
    main(["verify", "--circuit", str(folder), "--quick"])
    shown = capsys.readouterr().out
    assert "sufficient: NO - no circuit: no node is kept, and the bigram table alone" in shown
    assert "0 of 2 short tests; fails: sufficient, necessary" in shown


def test_verify_prints_the_published_form(answer: Json, circuit: str) -> None:
    """Verdict, loss, interval and controls of both tests; the same is saved beside the circuit."""
    found = answer(["verify", "--circuit", circuit, "--quick"])
    for name in ("sufficient", "necessary"):
        assert {"verdict", "loss", "interval", "random"} <= set(found[name])
        low, high = found[name]["interval"]
        assert low <= found[name]["loss"] <= high
        assert 20 == found[name]["random"]["count"]
    assert found["sufficient"]["verdict"] is True
    assert found == artifacts.read_summed(Path(circuit) / "verification.json")


def test_tasks_scores_a_model(answer: Json, runs: dict[str, str]) -> None:
    """With --run each task has name, learned, loss, accuracy and pairs; MODEL may follow --run."""
    found = answer(["tasks", "--run", "--model", runs["sparse"], "--task", runs["task"]])
    (row,) = found["tasks"]
    assert {"name", "learned", "loss", "accuracy", "pairs"} <= set(row)
    assert ("letters", True, 1.0) == (row["name"], row["learned"], row["accuracy"])
    assert row["loss"] < micro.TARGET
    assert found == answer(["tasks", "--run", runs["sparse"], "--task", runs["task"]])


def test_tasks_shows_an_example(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without --run, both prompts of a pair and their answers are shown."""
    main(["tasks", "--model", runs["sparse"], "--task", runs["task"]])
    shown = capsys.readouterr().out
    assert "letters (user)" in shown
    assert "-> 'P'" in shown
    assert "-> 'Q'" in shown


def test_compare_prints_the_published_form(
    answer: Json, runs: dict[str, str], tmp_path: Path
) -> None:
    """Tasks, and for edges and nodes both sides, ratio and interval; saved in the output."""
    sides = ["--sparse", runs["sparse"], "--dense", runs["dense"]]
    output = str(tmp_path / "comparison")
    found = answer(["compare", *sides, "--tasks", runs["task"], "--output", output, *SEARCH])
    assert ["letters"] == found["tasks"]
    for count in ("edges", "nodes"):
        assert {"sparse", "dense", "ratio", "interval"} <= set(found[count])
    assert pytest.approx((8, micro.DENSE_EDGES)) == (
        found["edges"]["sparse"],
        found["edges"]["dense"],
    )
    assert found == json.loads((tmp_path / "comparison" / "comparison.json").read_text())


def test_an_existing_output(refused: Refuse, runs: dict[str, str], circuit: str) -> None:
    """A circuit is never overwritten."""
    before = contents(Path(circuit))
    assert "exists already" in refused(["prune", *named(runs), "--output", circuit, *SEARCH])
    assert before == contents(Path(circuit))


def test_a_target_the_model_does_not_reach(
    refused: Refuse, runs: dict[str, str], tmp_path: Path
) -> None:
    """The model's loss and the target are named; nothing is written."""
    output = str(tmp_path / "circuit")
    line = refused(["prune", *named(runs), "--output", output, "--target-loss", "0.0001"])
    assert "the full model's loss on letters is 0.0" in line
    assert "above the target 0.0001" in line
    assert not (tmp_path / "circuit").exists()


def test_a_circuit_of_another_model(refused: Refuse, runs: dict[str, str], circuit: str) -> None:
    """Both models are named."""
    line = refused(["verify", "--circuit", circuit, "--model", runs["dense"]])
    assert "belongs to model" in line
    assert runs["dense"] in line


def test_one_seed_is_no_comparison(refused: Refuse, circuit: str) -> None:
    """Stability compares circuits of several seeds."""
    line = refused(["verify", "--circuit", circuit, "--seeds", "1"])
    assert "seeds must be at least 2, to compare, not 1" in line


def test_damaged_circuits(refused: Refuse, circuit: str, tmp_path: Path) -> None:
    """Truncated or foreign tensors and a missing manifest are told apart."""
    for name, words in (
        ("truncated", "nodes.safetensors"),
        ("foreign", "nodes.safetensors"),
        ("unfinished", "has no manifest.json"),
    ):
        copy = tmp_path / name
        shutil.copytree(circuit, copy)
        tensors = copy / "nodes.safetensors"
        if name == "truncated":
            tensors.write_bytes(tensors.read_bytes()[:-10])
        elif name == "foreign":
            tensors.write_bytes(b"not a tensor")
        else:
            (copy / "manifest.json").unlink()
        assert words in refused(["verify", "--circuit", str(copy)])


def test_a_run_is_no_circuit(refused: Refuse, runs: dict[str, str], circuit: str) -> None:
    """Nor is a circuit a model."""
    assert "holds a run, not a circuit" in refused(["verify", "--circuit", runs["sparse"]])
    line = refused(["tasks", "--run", "--model", circuit, "--task", runs["task"]])
    assert "holds a circuit, not a run" in line


def test_places_that_do_not_exist(refused: Refuse, runs: dict[str, str], tmp_path: Path) -> None:
    """A circuit, a model or a builtin that is not there."""
    nowhere = str(tmp_path / "nowhere")
    assert "no circuit at" in refused(["verify", "--circuit", nowhere])
    command = ["prune", "--task", runs["task"], "--output", str(tmp_path / "out"), "--model"]
    assert "no run at" in refused([*command, nowhere])
    assert "no builtin model 'nonsense'" in refused([*command, "builtin:nonsense"])


def test_an_unknown_task(refused: Refuse, runs: dict[str, str], tmp_path: Path) -> None:
    """Named, with those there are; by prune, tasks and compare alike."""
    output = ["--output", str(tmp_path / "out")]
    model = ["--model", runs["sparse"]]
    sides = ["--sparse", runs["sparse"], "--dense", runs["dense"]]
    for command in (
        ["prune", *model, "--task", "nonsense", *output],
        ["tasks", "--run", *model, "--task", "nonsense"],
        ["compare", *sides, "--tasks", "nonsense", *output],
    ):
        line = refused(command)
        assert "unknown task 'nonsense'" in line
        assert "single_double_quote" in line


def test_run_without_a_model(refused: Refuse) -> None:
    """`tasks --run` says which flag it wants."""
    assert "--run needs a model: add --model" in refused(["tasks", "--run"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no pairs"),
        ("{\n", "bad.jsonl:1: not JSON"),
        ("[1]\n", "bad.jsonl:1: a JSON object is wanted"),
        ('{"clean": "Xa="}\n', "bad.jsonl:1: missing corrupted, clean_answer, corrupted_answer"),
        (
            '\n{"clean": "Xa=", "corrupted": "Xa=", "clean_answer": "P", "corrupted_answer": "Q"}',
            "bad.jsonl:2: clean and corrupted are the same",
        ),
        (
            '{"clean": "Xa=", "corrupted": "Y=", "clean_answer": "PP", "corrupted_answer": "Q"}',
            "bad.jsonl:1: answer 'PP' is 2 tokens",
        ),
        (
            '{"clean": "Xa=", "corrupted": "Y=", "clean_answer": 1, "corrupted_answer": "Q"}',
            "bad.jsonl:1: clean_answer must be text",
        ),
    ],
)
def test_bad_files_of_pairs(
    refused: Refuse, runs: dict[str, str], tmp_path: Path, text: str, words: str
) -> None:
    """File, line and what is wrong with it."""
    (tmp_path / "bad.jsonl").write_text(text)
    command = ["prune", "--model", runs["sparse"], "--task", str(tmp_path / "bad.jsonl")]
    assert words in refused([*command, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_settings_out_of_range(refused: Refuse, runs: dict[str, str], tmp_path: Path) -> None:
    """A target above chance is no target."""
    command = ["prune", *named(runs), "--output", str(tmp_path / "out"), "--target-loss", "0.9"]
    assert "target_loss must lie between 0 and ln 2" in refused(command)

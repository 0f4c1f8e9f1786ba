"""The commands of a report are those that made it: each parses to what was saved, or is run."""

import dataclasses
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tyro
from markupsafe import escape
from test_report import add_circuit

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.cli.app import VERBS, main
from lacewing.comparison import Comparison
from lacewing.demo import PRUNE, SPARSE, TWIN
from lacewing.model.store import load
from lacewing.report.build import report
from lacewing.report.commands import commands as built
from lacewing.tasks.pair import Pair
from lacewing.training.config import TrainConfig
from lacewing.training.twin import twin_config


def commands(run: Path, output: Path) -> list[str]:
    """What the report says made it."""
    report(run, output)
    listed: list[str] = json.loads((output / "report.json").read_text())["commands"]
    page = (output / "index.html").read_text()
    assert all(str(escape(line)) in page for line in listed)
    return listed


def parsed(line: str) -> Any:
    """A command as the command line reads it."""
    program, *words = shlex.split(line)
    assert "lacewing" == program
    return tyro.extras.subcommand_cli_from_dict(VERBS, args=words)


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the small trained run."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_only_what_ran(own: Path, tmp_path: Path, small: Callable[..., TrainConfig]) -> None:
    """Of a run alone: how it was trained, and the report; no circuit that does not exist."""
    train, written = map(parsed, commands(own, tmp_path / "report"))
    assert small() == train.config
    assert (own, tmp_path / "report") == (written.run_, written.output)
    assert json.loads((own / "config.json").read_text())["corpus"] == train.corpus


def test_they_run(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From an empty folder, the commands make the same model, scores and report."""
    main(["tasks", "--run", str(own), "--pairs", "4"])
    told = commands(own, tmp_path / "report")
    assert ["train", "tasks", "report"] == [shlex.split(line)[1] for line in told]
    model, scores = load(own).id, json.loads((own / "tasks.json").read_text())
    shutil.rmtree(own)
    shutil.rmtree(tmp_path / "report")
    for line in told:
        main(shlex.split(line)[1:])
    assert model == load(own).id
    assert scores == json.loads((own / "tasks.json").read_text())
    assert told == json.loads((tmp_path / "report" / "report.json").read_text())["commands"]
    assert str(tmp_path / "report" / "index.html") in capsys.readouterr().out


def test_circuits(own: Path, tmp_path: Path) -> None:
    """Each is pruned as it was saved and verified as it was; an edited one has no command."""
    circuit = add_circuit(own, "if_equals", 3)
    config = PruneConfig(prompts=96, edges=True, seed=2, constraints=("zero",), calibrate=False)
    shutil.rmtree(own / "circuits" / "if_equals")
    pairs = tuple(Pair(f"if {a}x", f"if {a}y", "=", ":", "a.py") for a in "abcdefgh")
    dataclasses.replace(circuit, config=config, pairs=pairs).save(own / "circuits" / "if_equals")
    edited = dataclasses.replace(circuit, edited_from="if_equals", edits=[])
    edited.save(own / "circuits" / "mine")
    main(["verify", "--quick", "--circuit", str(own / "circuits" / "if_equals"), "--seed", "3"])
    told = commands(own, tmp_path / "report")
    assert [f"# {own / 'circuits' / 'mine'} is if_equals, edited in the viewer"] == [
        line for line in told if line.startswith("#")
    ]
    prune, verify = (parsed(line) for line in told if line.split()[1] in ("prune", "verify"))
    assert (config, str(own), "if_equals") == (prune.config, prune.model, prune.task)
    assert Circuit.load(prune.output).config == config
    assert (prune.output, True, 3) == (verify.circuit, verify.quick, verify.seed)
    (line,) = (line for line in told if "verify" in line)
    before = (verify.circuit / "verification.json").read_bytes()
    main(shlex.split(line)[1:])
    assert before == (verify.circuit / "verification.json").read_bytes()


def test_comparison_and_twin(own: Path, tmp_path: Path) -> None:
    """Twin, tasks and seeds are named as they were; the demo's own settings come back whole."""
    twin = tmp_path / "dense"
    shutil.copytree(own, twin)
    saved = json.loads((twin / "config.json").read_text())
    saved["training"] = dataclasses.asdict(twin_config(own, TWIN))
    (twin / "config.json").write_text(json.dumps(saved))
    circuit = dataclasses.replace(add_circuit(own, "if_equals", 3), config=PRUNE)
    circuit.save(own / "comparison" / "sparse" / "if_equals-0")
    row = {"task": "if_equals", "seed": 0, "side": "sparse", "edges": 9, "edges_all": 9}
    row |= {"nodes": 9, "losses": {}, "folder": "sparse/if_equals-0"}
    skipped = [{"task": "var_if", "reason": "not learned"}]
    rows = [row, row | {"side": "dense", "folder": "dense/if_equals-0"}]
    made = Comparison(str(own), str(twin), 0.15, (0,), rows, skipped)
    (own / "comparison" / "comparison.json").write_text(json.dumps(made.as_json()))
    told = {line.split()[1]: parsed(line) for line in commands(own, tmp_path / "report")[1:]}
    assert (own, twin) == (told["train"].twin_of, told["train"].output)
    changed = {key: getattr(told["train"].config, key) for key in TWIN}
    assert TWIN == changed
    compare = told["compare"]
    assert (str(own), str(twin), own / "comparison") == (
        compare.sparse,
        compare.dense,
        compare.output,
    )
    assert (("if_equals", "var_if"), (0,), PRUNE) == (compare.tasks, compare.seeds, compare.config)


def test_the_demo_trains_as_it_says(own: Path, tmp_path: Path) -> None:
    """The demo's configuration comes back from its command."""
    saved = {"corpus": "standard_library", "training": dataclasses.asdict(SPARSE)}
    data = {"config": saved, "comparison": None, "circuits": []}
    assert SPARSE == parsed(built(own, tmp_path / "report", data)[0]).config

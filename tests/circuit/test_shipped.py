"""Circuits that ship: their names, their folders, their models; nothing is written beside them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import micro
from lacewing import artifacts
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.pairs import PAIRS
from lacewing.circuit.shipped import (
    KINDS,
    circuit_names,
    folder_of,
    is_shipped,
    name_of,
)
from lacewing.cli.app import main
from lacewing.errors import ArtifactError, LacewingError
from lacewing.model.shipped import names as models
from lacewing.model.store import load
from lacewing.tasks.batch import encode
from lacewing.verification.short import alone
from lacewing.verification.verify import saved_verification

NAMES = circuit_names()
LARGEST = 3_000_000
"""Bytes of all of them."""
Command = Callable[..., Any]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_of_a_model_that_ships(name: str) -> None:
    """It opens by its name, belongs to the model that its name says, and was verified."""
    circuit, folder = Circuit.load(name), folder_of(name)
    model, task, kind = folder.parts[-3:]
    assert model in models()
    assert circuit.model_source == f"builtin:{model}"
    circuit.check(load(circuit.model_source))
    assert (circuit.task, name_of(folder)) == (task, name)
    assert kind in KINDS
    assert circuit.config.robust == (kind == "robust")
    assert (circuit.certificate is not None) == (kind == "minimal")
    proof = saved_verification(folder)
    assert proof is not None
    assert proof.whole
    assert proof.short.model_id == circuit.model_id
    assert is_shipped(name)
    assert is_shipped(folder)


def test_there_are_some_and_they_are_small() -> None:
    """Plain and robust ones ship, and all of them take little room."""
    kinds = {folder_of(name).name for name in NAMES}
    assert {"plain", "robust"} <= kinds <= set(KINDS)
    size = sum(f.stat().st_size for n in NAMES for f in folder_of(n).iterdir())
    assert 0 < size < LARGEST


def test_the_saved_loss_is_the_circuit_s() -> None:
    """What ships measures as it says: its test loss, on the pairs that came with it."""
    circuit = Circuit.load("builtin:taught-tiny/while_return_true")
    model = load(circuit.model_source)
    prompts = encode(circuit.pairs, model.tokenizer, model.network.config.context)
    assert alone(model, circuit, prompts).mean() == pytest.approx(
        circuit.losses["circuit"], abs=1e-3
    )


@pytest.mark.parametrize(
    "name",
    [
        "builtin:",
        "builtin:taught-tiny",
        "builtin:taught-tiny/nothing",
        "builtin:taught-tiny/while_return_true/robuster",
        "builtin:../taught-tiny/while_return_true",
        "builtin:taught-tiny/while_return_true/../../..",
    ],
)
def test_no_other_name_leads_anywhere(name: str) -> None:
    """What is no circuit's name says which there are, in one line; nothing is opened by it."""
    with pytest.raises(ArtifactError, match=r"there are: builtin:") as caught:
        Circuit.load(name)
    assert "\n" not in str(caught.value)


def test_a_link_in_a_circle_is_no_circuit(tmp_path: Path) -> None:
    """It is told in one line, also as another tool's file, and is none of those that ship."""
    circle = tmp_path / "circle.json"
    circle.symlink_to(circle)
    assert not is_shipped(circle)
    with pytest.raises(ArtifactError) as caught:
        Circuit.load(circle)
    assert "\n" not in str(caught.value)


def test_plain_may_be_said() -> None:
    """The plain circuit has two names."""
    short = "builtin:taught-tiny/while_return_true"
    assert folder_of(f"{short}/plain") == folder_of(short) == folder_of(Path(short))


@pytest.mark.parametrize(
    ("verb", "flags"),
    [("verify", ["--quick"]), ("attack", []), ("explain", []), ("program", [])],
)
def test_nothing_is_written_beside_them(
    verb: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A verb that would write there says in one line what to do, before it works."""
    name = "builtin:taught-tiny/while_return_true"
    before = sorted(folder_of(name).iterdir())
    with pytest.raises(SystemExit) as ended:
        main([verb, "--circuit", name, *flags])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "part of lacewing" in said
    assert "--output" in said
    assert said.count("\n") == 1
    assert sorted(folder_of(name).iterdir()) == before


def test_a_copy_is_an_ordinary_circuit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--output` makes a copy, verifies there, and goes on there when it is asked again."""
    name, place = "builtin:taught-tiny/while_return_true", tmp_path / "mine"
    for _ in range(2):
        main(["verify", "--quick", "--circuit", name, "--output", str(place), "--json"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["task"] == "while_return_true"
    copy = Circuit.load(place)
    assert (copy, copy.pairs) == (Circuit.load(name), Circuit.load(name).pairs)
    assert (place / PAIRS).exists()
    with pytest.raises(SystemExit):
        main(["verify", "--quick", "--circuit", f"{name}/robust", "--output", str(place)])
    assert "another circuit" in capsys.readouterr().err


def test_packed_pairs_are_the_same(tmp_path: Path) -> None:
    """A packed folder is read as a plain one, and takes less room."""
    circuit = micro.make(micro.micro(), micro.PLANTED, pairs=micro.PAIRS)
    for pack in (True, False):
        circuit.save(tmp_path / str(pack), pack=pack)
    packed, plain = (Circuit.load(tmp_path / str(pack)) for pack in (True, False))
    assert packed == plain
    assert packed.pairs == plain.pairs == circuit.pairs
    assert not (tmp_path / "True" / PAIRS).exists()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A small file that unpacks to more than a file may have is refused."""
    bomb = artifacts.packed(bytes(artifacts.LARGEST + 1))
    circuit = micro.make(micro.micro(), micro.PLANTED, pairs=micro.PAIRS)
    circuit.save(tmp_path / "bomb", pack=True)
    (tmp_path / "bomb" / f"{PAIRS}{artifacts.PACKED}").write_bytes(bomb)
    artifacts.seal(
        tmp_path / "bomb",
        "circuit",
        ["circuit.json", "nodes.safetensors", f"{PAIRS}{artifacts.PACKED}"],
    )
    with pytest.raises(LacewingError, match="unpacks to more than"):
        Circuit.load(tmp_path / "bomb")
    for damaged in (bomb[:-9], b"no gzip", bomb + b"more"):
        with pytest.raises(ArtifactError):
            artifacts.unpacked(damaged, 2**26, tmp_path)

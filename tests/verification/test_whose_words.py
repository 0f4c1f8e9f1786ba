"""A circuit names no file: what is read beside its folder is the user's choice."""

import dataclasses
from pathlib import Path

import pytest

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.errors import DataError, LacewingError
from lacewing.model.store import Model
from lacewing.programs.program import program
from lacewing.tasks import registry
from lacewing.verification.evidence import task_of


@pytest.fixture
def theirs(model: Model, tmp_path: Path) -> Circuit:
    """A circuit whose task is a file of the user's, which could be read as pairs."""
    file = micro.write_pairs(tmp_path / "private.jsonl")
    answers = tuple(model.tokenizer.encode("PQ"))
    planted = micro.make(model, micro.PLANTED, answers=answers)
    return dataclasses.replace(planted, task=str(file))


def test_verify_opens_no_file_that_a_circuit_names(
    theirs: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task is looked for among names alone, until the user says where the pairs are."""
    assert task_of(theirs, theirs.task).name == "private"  # asked for: it is one
    monkeypatch.setattr(registry, "read_pairs", lambda path: pytest.fail(f"{path} was opened"))
    with pytest.raises(DataError, match="none that is known by name: pass its file"):
        task_of(theirs)


def test_program_opens_none_either(
    model: Model, theirs: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program is made without prompts of a task that nobody knows."""
    monkeypatch.setattr(registry, "read_pairs", lambda path: pytest.fail(f"{path} was opened"))
    assert "def circuit" in str(program(model, theirs))


def test_pairs_that_ask_for_other_tokens_are_one_line(model: Model, theirs: Circuit) -> None:
    """What a circuit says that its task chooses between need not be what its pairs ask for."""
    other = dataclasses.replace(theirs, answers=(80, 81))
    with pytest.raises(LacewingError, match="none of the circuit's answers"):
        program(model, other)

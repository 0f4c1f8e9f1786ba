"""Bad input on the command line: one line, exit code 2, nothing overwritten."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lacewing.cli.app import main

Flags = Callable[..., list[str]]
Refuse = Callable[[list[str]], str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run a command that has to be refused; the one line it prints."""

    def execute(arguments: list[str]) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        assert out == ""
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        return lines[0]

    return execute


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_empty_corpus(refused: Refuse, flags: Flags, tmp_path: Path) -> None:
    """A folder without files, or none at all, is no corpus; no run is begun."""
    (tmp_path / "empty").mkdir()
    for name, said in (("empty", "is empty"), ("nowhere", "is not there")):
        place = str(tmp_path / name)
        command = ["train", "--output", str(tmp_path / "run"), "--corpus", place]
        line = refused([*command, *flags()])
        assert f"lacewing: corpus '{place}' {said}" in line
    assert not (tmp_path / "run").exists()


def test_a_corpus_that_is_not_text(refused: Refuse, flags: Flags, tmp_path: Path) -> None:
    """Files that are not UTF-8 are skipped and counted; nothing else there is an error."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "latin.py").write_bytes(b"name = '\xe9t\xe9'\n")
    (tmp_path / "corpus" / "null.py").write_bytes(b"a\0b")
    command = ["train", "--output", str(tmp_path / "run"), "--corpus", str(tmp_path / "corpus")]
    assert "(2 skipped)" in refused([*command, *flags()])


def test_a_density_below_the_floor(
    refused: Refuse, flags: Flags, text: Path, tmp_path: Path
) -> None:
    """The message names the floor and the density it needs."""
    command = ["train", "--output", str(tmp_path / "run"), "--corpus", str(text)]
    line = refused([*command, *flags(density=0.01)])
    assert "density too small for the floor" in line
    assert "raise the density to 0.0625" in line
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"density": 1.5}, "density must lie in (0, 1]"),
        ({"anneal_start": 0.6, "anneal_end": 0.5}, "anneal_start < anneal_end"),
        ({"tokens": 10}, "10 tokens are less than one step"),
        ({"d_head": 7}, "d_model 32 is not a multiple of d_head 7"),
        ({"accumulate": 3}, "batch 8 does not divide"),
    ],
)
def test_settings_that_cannot_work(
    refused: Refuse,
    flags: Flags,
    text: Path,
    tmp_path: Path,
    changes: dict[str, float],
    words: str,
) -> None:
    """Each wrong setting is named with what it should be."""
    command = ["train", "--output", str(tmp_path / "run"), "--corpus", str(text)]
    assert words in refused([*command, *flags(**changes)])


def test_a_folder_of_another_configuration(
    refused: Refuse, flags: Flags, run: Path, text: Path
) -> None:
    """The setting that differs is named, and no byte of the run changes."""
    before = contents(run)
    command = ["train", "--output", str(run), "--corpus", str(text)]
    assert "learning_rate 0.0" in refused([*command, *flags(learning_rate=0.03)])
    assert before == contents(run)


def test_a_folder_of_something_else(
    refused: Refuse, flags: Flags, text: Path, tmp_path: Path
) -> None:
    """A folder with other files, or a file, is no place for a run."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    for place in (tmp_path / "notes", tmp_path / "notes" / "a.txt"):
        command = ["train", "--output", str(place), "--corpus", str(text)]
        assert "no run of lacewing" in refused([*command, *flags()])
    assert contents(tmp_path / "notes") == {"a.txt": b"mine"}


def test_a_damaged_tokenizer(refused: Refuse, flags: Flags, text: Path, tmp_path: Path) -> None:
    """A tokenizer.json that is missing or none is said to be."""
    (tmp_path / "tokenizer.json").write_text("{}")
    command = ["train", "--output", str(tmp_path / "run"), "--corpus", str(text), *flags()]
    bad = str(tmp_path / "tokenizer.json")
    assert "no tokenizer" in refused([*command, "--tokenizer", bad])
    assert "no tokenizer" in refused([*command, "--tokenizer", str(tmp_path / "nowhere.json")])


def test_a_twin_of_an_unfinished_run(refused: Refuse, run: Path, tmp_path: Path) -> None:
    """Without a manifest, or a folder, there is nothing to be the twin of."""
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "manifest.json").unlink()
    for name, words in (("copy", "has no manifest.json"), ("nowhere", "no such folder")):
        command = ["train", "--output", str(tmp_path / "twin"), "--twin-of", str(tmp_path / name)]
        assert words in refused(command)
    assert not (tmp_path / "twin").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "means.safetensors"])
def test_a_truncated_model(refused: Refuse, run: Path, tmp_path: Path, name: str) -> None:
    """A verb that loads a damaged model names the file."""
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / name).write_bytes((run / name).read_bytes()[:-8])
    line = refused(["tasks", "--run", "--model", str(tmp_path / "copy"), "--json"])
    assert name in line
    assert "damaged" in line

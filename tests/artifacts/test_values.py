"""JSON from outside: bounded, of its type, every fault one line that names file and field."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from lacewing import artifacts
from lacewing.errors import ArtifactError, ConfigError


@dataclass(frozen=True)
class Inner:
    """A nested type that looks at its own value."""

    __pydantic_config__ = artifacts.EXACT

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"size must be at least 1, not {self.size}")


@dataclass(frozen=True)
class Facts:
    """A type of every kind of field."""

    __pydantic_config__ = artifacts.EXACT

    name: str
    loss: float
    on: bool
    inner: Inner
    ids: tuple[int, ...] = ()


GOOD = {"name": "a", "loss": 1, "on": True, "inner": {"size": 3}, "ids": [1, 2]}


def refused(path: Path, text: str) -> str:
    """The one line that a file is refused with."""
    path.write_text(text)
    with pytest.raises(ArtifactError) as error:
        artifacts.read(path, Facts)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 400 + len(str(path))
    assert str(path) in line
    return line


def test_a_good_file_is_its_dataclass(tmp_path: Path) -> None:
    """Lists become tuples, whole numbers stand for floats, and defaults for what is not said."""
    artifacts.write_json(tmp_path / "f.json", GOOD)
    found = artifacts.read(tmp_path / "f.json", Facts)
    assert Facts("a", 1.0, True, Inner(3), (1, 2)) == found
    assert isinstance(found.loss, float)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": float("nan")}, "loss: input should be a finite number"),
        ({"loss": "1"}, "loss: input should be a valid number, not '1'"),
        ({"loss": True}, "loss: "),
        ({"on": 1}, "on: input should be a valid boolean, not 1"),
        ({"ids": [1, 2.5]}, "ids.1: "),
        ({"ids": [True]}, "ids.0: "),
        ({"inner": {"size": 0}}, "size must be at least 1, not 0"),
        ({"inner": {"size": "x" * 10_000}}, "inner.size: "),
        ({"inner": {"size": 3, "novel": 1}}, "inner.novel, which is unknown here"),
        ({"name": None}, "name: input should be a valid string"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    """The field, what was wanted and what arrived."""
    assert said in refused(tmp_path / "f.json", json.dumps(GOOD | change))


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    """By its name alone: what arrived would be the whole file."""
    text = json.dumps({key: value for key, value in GOOD.items() if key != "loss"})
    assert "f.json has no loss" in refused(tmp_path / "f.json", text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "1" * 5000,
        '{"name": ' + "9" * 100_000 + "}",
        "",
        "nul",
        '"\\ud800"',
    ],
)
def test_depth_and_digits_are_bounded(tmp_path: Path, text: str) -> None:
    """Both with a type and without one."""
    assert "JSON" in refused(tmp_path / "f.json", text)
    with pytest.raises(ArtifactError, match="is not JSON"):
        artifacts.read_json(tmp_path / "f.json")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """Its size alone says that it is none of ours; no byte of it is read."""
    with open(tmp_path / "f.json", "wb") as file:
        file.truncate(2**40)  # a hole of a terabyte
    with pytest.raises(ArtifactError, match=r"has 1,099,511,627,776 bytes, where at most"):
        artifacts.read_json(tmp_path / "f.json")


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    """A folder, a device or a pipe that nobody writes to is refused, and not waited for."""
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "nowhere", "nul\0", "long" * 2000):
        with pytest.raises(ArtifactError):
            artifacts.read_json(tmp_path / name)
    with pytest.raises(ArtifactError, match="no plain file"):
        artifacts.read_json(Path("/dev/zero"))


def test_a_sum_among_the_keys(tmp_path: Path) -> None:
    """One changed digit is noticed; files of old have no sum and are read."""
    path = tmp_path / "v.json"
    artifacts.write_summed(path, {"loss": 0.125, "tests": [1, None]})
    assert {"loss": 0.125, "tests": [1, None]} == artifacts.read_summed(path)
    path.write_text(path.read_text().replace("0.125", "0.115"))
    with pytest.raises(ArtifactError, match="another content than was written"):
        artifacts.read_summed(path)
    path.write_text('{"loss": 0.115}')
    assert {"loss": 0.115} == artifacts.read_summed(path)

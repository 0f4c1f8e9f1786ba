"""Folders are whole or absent, files old or new, and damage is said in one line."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lacewing import artifacts
from lacewing.errors import ArtifactError, LacewingError

TENSORS = {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor([0.5, -1.5], dtype=torch.bfloat16)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole folder of kind "thing"."""
    path = tmp_path / "thing"
    artifacts.write_folder(
        path,
        "thing",
        files={"raw.bin": b"\x00\x01\x02"},
        json={"facts.json": {"x": 1}},
        tensors={"t.safetensors": TENSORS},
    )
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where one may be mounted; elsewhere the test is skipped."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root; test_full_disk_simulated covers the rest")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here; test_full_disk_simulated covers the rest")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def message(error: pytest.ExceptionInfo[LacewingError]) -> str:
    """The text of an error, which has to be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """Change some entries of a manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(folder: Path) -> None:
    """What was written comes back equal, bit for bit and with its types."""
    artifacts.read_manifest(folder, "thing", check_hash=True)
    assert (folder / "raw.bin").read_bytes() == b"\x00\x01\x02"
    assert artifacts.read_json(folder / "facts.json") == {"x": 1}
    back = artifacts.read_tensors(folder / "t.safetensors")
    assert {n: t.dtype for n, t in back.items()} == {n: t.dtype for n, t in TENSORS.items()}
    assert all(torch.equal(back[name], tensor) for name, tensor in TENSORS.items())


def test_manifest_lists_every_file(folder: Path) -> None:
    """The manifest holds format, kind, version, and every file but itself with size and hash."""
    manifest = artifacts.read_manifest(folder, "thing")
    others = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == others
    assert (manifest["format"], manifest["kind"]) == (1, "thing")
    assert manifest["files"]["raw.bin"]["size"] == 3
    assert len(manifest["files"]["raw.bin"]["sha256"]) == 64


def test_metadata_of_tensors(tmp_path: Path) -> None:
    """Metadata of a safetensors file comes back; a file without any has none."""
    artifacts.write_tensors(tmp_path / "m.safetensors", TENSORS, metadata={"shape": "2x3"})
    artifacts.write_tensors(tmp_path / "n.safetensors", TENSORS)
    assert artifacts.read_metadata(tmp_path / "m.safetensors") == {"shape": "2x3"}
    assert artifacts.read_metadata(tmp_path / "n.safetensors") == {}


def test_existing_folder_is_kept(folder: Path) -> None:
    """Without `replace`, a folder that is there is an error and stays as it was."""
    with pytest.raises(ArtifactError) as error:
        artifacts.write_folder(folder, "thing", files={"raw.bin": b"new"})
    assert "exists already" in message(error)
    artifacts.read_manifest(folder, "thing", check_hash=True)
    assert (folder / "raw.bin").read_bytes() == b"\x00\x01\x02"


def test_replace_leaves_only_the_new(folder: Path) -> None:
    """With `replace`, the old files are gone and nothing is left beside the folder."""
    artifacts.write_folder(folder, "thing", files={"other.bin": b"new"}, replace=True)
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "other.bin"]
    assert [p.name for p in folder.parent.iterdir()] == ["thing"]


def test_replace_spares_what_is_not_ours(folder: Path, tmp_path: Path) -> None:
    """`replace` never empties a folder of other files, one of another kind, or a file."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("text")
    for place in (tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(ArtifactError) as error:
            artifacts.write_folder(place, "thing", files={"a": b""}, replace=True)
        assert "nothing was overwritten" in message(error)
    with pytest.raises(ArtifactError, match="something else than a circuit"):
        artifacts.write_folder(folder, "circuit", files={"a": b""}, replace=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "text"
    artifacts.read_manifest(folder, "thing", check_hash=True)


def test_replace_takes_an_empty_folder(tmp_path: Path) -> None:
    """An empty folder is no obstacle."""
    (tmp_path / "thing").mkdir()
    artifacts.write_folder(tmp_path / "thing", "thing", files={"a": b""}, replace=True)
    artifacts.read_manifest(tmp_path / "thing", "thing")


def test_failure_while_replacing_keeps_the_old(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails half-way leaves the old folder whole, and no rest beside it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts.folders, "seal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        artifacts.write_folder(folder, "thing", files={"raw.bin": b"new"}, replace=True)
    artifacts.read_manifest(folder, "thing", check_hash=True)
    assert [p.name for p in folder.parent.iterdir()] == ["thing"]


def test_recover_after_a_crash_between_renames(folder: Path) -> None:
    """Where a crash left the old folder aside and none in place, `recover` puts it back."""
    os.replace(folder, folder.with_name(".thing.old"))
    (folder.parent / ".thing.half").mkdir()
    artifacts.recover(folder)
    artifacts.read_manifest(folder, "thing", check_hash=True)
    assert [p.name for p in folder.parent.iterdir()] == ["thing"]


def test_recover_prefers_the_new(folder: Path) -> None:
    """Where both are there, the new folder stays and the old one goes."""
    shutil.copytree(folder, folder.with_name(".thing.old"))
    artifacts.write_json(folder.parent / ".thing.old" / "facts.json", {"x": 0})
    artifacts.recover(folder)
    assert artifacts.read_json(folder / "facts.json") == {"x": 1}
    assert [p.name for p in folder.parent.iterdir()] == ["thing"]


def test_seal_makes_a_folder_whole(tmp_path: Path) -> None:
    """A folder whose files were written in place counts as whole once it is sealed, not before."""
    artifacts.write_json(tmp_path / "run" / "config.json", {})
    with pytest.raises(ArtifactError, match=r"has no manifest\.json: it is not a finished run"):
        artifacts.read_manifest(tmp_path / "run", "run")
    artifacts.seal(tmp_path / "run", "run", ["config.json"])
    assert set(artifacts.read_manifest(tmp_path / "run", "run")["files"]) == {"config.json"}


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there is said to be absent."""
    with pytest.raises(ArtifactError) as error:
        artifacts.read_manifest(tmp_path / "nowhere", "circuit")
    assert "no circuit at" in message(error)


def test_other_kind(folder: Path) -> None:
    """A folder of another kind is named as what it is."""
    with pytest.raises(ArtifactError) as error:
        artifacts.read_manifest(folder, "circuit")
    assert "holds a thing, not a circuit" in message(error)


def test_newer_format(folder: Path) -> None:
    """A folder of a newer format asks for an update."""
    rewrite_manifest(folder, format=99)
    with pytest.raises(ArtifactError) as error:
        artifacts.read_manifest(folder, "thing")
    assert "format 99" in message(error)


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "{}", "{", "\udcff"),
        '{"format": "1", "kind": "thing", "files": {}}',
        '{"format": 1, "kind": "thing", "files": []}',
        '{"format": 1, "kind": "thing", "files": {"a": 3}}',
    ],
)
def test_foreign_manifest(folder: Path, content: str) -> None:
    """A manifest.json of another program, or a damaged one, is an error of ours, never a crash."""
    (folder / "manifest.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        artifacts.read_manifest(folder, "thing")


def test_missing_file(folder: Path) -> None:
    """A listed file that is gone is named."""
    (folder / "raw.bin").unlink()
    with pytest.raises(ArtifactError) as error:
        artifacts.read_manifest(folder, "thing")
    assert "raw.bin is missing" in message(error)


def test_other_size(folder: Path) -> None:
    """A file of another size is found without reading it."""
    (folder / "raw.bin").write_bytes(b"\x00")
    with pytest.raises(ArtifactError) as error:
        artifacts.read_manifest(folder, "thing")
    assert "has 1 bytes, the manifest says 3" in message(error)


def test_other_content(folder: Path) -> None:
    """A changed file of the same size is found when hashes are checked."""
    (folder / "raw.bin").write_bytes(b"\x00\x01\x03")
    artifacts.read_manifest(folder, "thing")
    with pytest.raises(ArtifactError) as error:
        artifacts.read_manifest(folder, "thing", check_hash=True)
    assert "another content" in message(error)


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_truncated_tensors(folder: Path, kept: int) -> None:
    """A safetensors file cut anywhere is an error that names it."""
    path = folder / "t.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    for read in (artifacts.read_tensors, artifacts.read_metadata):
        with pytest.raises(ArtifactError) as error:
            read(path)
        assert "truncated or no safetensors file" in message(error)


def test_foreign_tensors(tmp_path: Path) -> None:
    """A pickle by the name of safetensors is refused, not loaded."""
    torch.save(TENSORS, tmp_path / "t.safetensors")
    with pytest.raises(ArtifactError) as error:
        artifacts.read_tensors(tmp_path / "t.safetensors")
    assert "truncated or no safetensors file" in message(error)


def test_missing_and_damaged_json(tmp_path: Path) -> None:
    """A JSON file that is missing or damaged is an error that names it."""
    with pytest.raises(ArtifactError, match=r"a\.json is missing"):
        artifacts.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(ArtifactError, match=r"a\.json is not JSON"):
        artifacts.read_json(tmp_path / "a.json")


def test_full_disk(small_disk: Path) -> None:
    """On a disk that fills up, the old content stays, no rest is left, and one line says it."""
    artifacts.write_bytes(small_disk / "file", b"old")
    with pytest.raises(ArtifactError) as error:
        artifacts.write_bytes(small_disk / "file", bytes(200_000))
    assert "disk full" in message(error)
    with pytest.raises(ArtifactError, match="disk full"):
        artifacts.write_folder(small_disk / "thing", "thing", files={"raw.bin": bytes(200_000)})
    assert [p.name for p in small_disk.iterdir()] == ["file"]
    assert (small_disk / "file").read_bytes() == b"old"


def test_full_disk_simulated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the system reports a full disk while flushing; needs no root."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="disk full"):
        artifacts.write_folder(folder, "thing", files={"raw.bin": b"new"}, replace=True)
    with pytest.raises(ArtifactError, match="disk full"):
        artifacts.write_tensors(folder / "t.safetensors", {"a": torch.zeros(3)})
    monkeypatch.undo()
    artifacts.read_manifest(folder, "thing", check_hash=True)
    assert [p.name for p in folder.parent.iterdir()] == ["thing"]


def test_place_is_a_file(tmp_path: Path) -> None:
    """Writing below something that is a file is one clear line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError) as error:
        artifacts.write_json(tmp_path / "file" / "a.json", {})
    assert "cannot write" in message(error)

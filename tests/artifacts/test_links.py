"""Names and links never lead out of their folder."""

import os
from pathlib import Path

import pytest

from lacewing import artifacts
from lacewing.errors import ArtifactError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole folder, and a file beside it that has the same content as its own."""
    (tmp_path / "secret").write_bytes(b"secret")
    artifacts.write_folder(tmp_path / "thing", "thing", files={"a/own": b"secret", "b": b"b"})
    return tmp_path / "thing"


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    """Though its target has the size and the sum that the manifest says."""
    (folder / "a" / "own").unlink()
    (folder / "a" / "own").symlink_to(folder.parent / "secret")
    with pytest.raises(ArtifactError, match="link out of its folder"):
        artifacts.open_folder(folder, "thing")
    whole = artifacts.open_folder(folder, "thing", links=True)
    assert b"secret" == whole.bytes("a/own")


def test_a_linked_folder_inside(folder: Path, tmp_path: Path) -> None:
    """The same of a folder on the way."""
    os.rename(folder / "a", tmp_path / "elsewhere")
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="link out of its folder"):
        artifacts.open_folder(folder, "thing")


def test_links_inside_and_links_to_the_folder_are_fine(folder: Path, tmp_path: Path) -> None:
    """A run may lie on another disk, and a file may be a link to its neighbour."""
    (tmp_path / "link").symlink_to(folder)
    os.rename(folder / "b", folder / "c")
    (folder / "b").symlink_to(folder / "c")
    assert b"b" == artifacts.open_folder(tmp_path / "link", "thing").bytes("b")


def test_work_does_not_go_on_through_links(folder: Path, tmp_path: Path) -> None:
    """What is locked to be gone on with leads nowhere else, in however deep a folder."""
    (tmp_path / "link").symlink_to(folder)
    (folder / "again").symlink_to(folder / "a")
    with artifacts.locked(tmp_path / "link", "busy"):  # the folder itself, and a neighbour
        pass
    os.rename(folder / "a" / "own", tmp_path / "moved")
    for target in (tmp_path / "moved", tmp_path / "nothing", folder / "a" / "own"):
        (folder / "a" / "own").symlink_to(target)
        wrong = pytest.raises(ArtifactError, match="is a link out of its folder, or leads nowhere")
        with wrong, artifacts.locked(folder, "busy"):
            pass
        (folder / "a" / "own").unlink()


def test_a_path_that_leads_nowhere_is_a_path(tmp_path: Path) -> None:
    """Links in a circle, and signs that no path has: whoever opens it says so."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for path in (tmp_path / "a", tmp_path / "a" / "below", tmp_path / "nul\0"):
        assert not artifacts.real(path).exists()
    (tmp_path / "c").symlink_to(tmp_path)
    assert artifacts.real(tmp_path / "c" / "d") == artifacts.real(tmp_path) / "d"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "", ".", "a\nb"])
def test_names_that_climb(folder: Path, name: str) -> None:
    """A manifest, or anything else, that names a file outside is refused."""
    with pytest.raises(ArtifactError, match="lies outside"):
        artifacts.own(folder, name)
    manifest = artifacts.read_json(folder / "manifest.json")
    del manifest["sha256"]
    manifest["files"][name] = manifest["files"]["b"]
    artifacts.write_json(folder / "manifest.json", manifest)
    with pytest.raises(ArtifactError, match="lies outside"):
        artifacts.open_folder(folder, "thing")


def test_an_edited_manifest_is_noticed(folder: Path) -> None:
    """A file that was taken off the list, too; manifests of old have no sum and are read."""
    manifest = artifacts.read_json(folder / "manifest.json")
    del manifest["files"]["b"]
    artifacts.write_json(folder / "manifest.json", manifest)
    with pytest.raises(ArtifactError, match="another content than was written"):
        artifacts.open_folder(folder, "thing")
    del manifest["sha256"]
    artifacts.write_json(folder / "manifest.json", manifest)
    assert "b" not in artifacts.open_folder(folder, "thing")


def test_a_mapped_file_is_checked_once_a_state(folder: Path) -> None:
    """And again after it was changed, though its size is the same."""
    whole = artifacts.open_folder(folder, "thing")
    assert folder / "b" == whole.path("b") == whole.path("b")
    (folder / "b").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="another content"):
        whole.path("b")


def test_a_pipe_in_place_of_an_empty_file_is_not_waited_for(tmp_path: Path) -> None:
    """It has the size that the manifest says, and nobody writes to it."""
    artifacts.write_folder(tmp_path / "thing", "thing", files={"empty": b""})
    (tmp_path / "thing" / "empty").unlink()
    os.mkfifo(tmp_path / "thing" / "empty")
    with pytest.raises(ArtifactError, match="no plain file"):
        artifacts.open_folder(tmp_path / "thing", "thing")

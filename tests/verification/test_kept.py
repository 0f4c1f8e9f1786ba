"""What a suite keeps as it goes: read again where it is what was written, and never elsewhere."""

from pathlib import Path

import pytest

import micro
from lacewing import artifacts
from lacewing.errors import ArtifactError
from lacewing.verification.kept import FOLDER, Kept
from lacewing.verification.verify import VERIFICATION, Verification, saved_verification

PART = {"tests": [], "left_out": [], "seconds": 1.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved circuit."""
    micro.make(micro.micro(), micro.PLANTED).save(tmp_path / "circuit")
    return tmp_path / "circuit"


def test_a_changed_part_is_measured_anew(folder: Path) -> None:
    """One digit, the sum gone, another condition, or no JSON: it counts as not done."""
    kept = Kept(folder, {"seed": 0})
    kept.write("short", PART)
    assert PART == kept.read("short")
    assert Kept(folder, {"seed": 1}).read("short") is None
    path = folder / FOLDER / "short.json"
    text = path.read_text()
    without = {k: v for k, v in artifacts.read_json(path).items() if k != artifacts.SUM}
    for changed in (text.replace("1.5", "1.6"), text[:-9], "[" * 99_999, "3"):
        path.write_text(changed)
        assert kept.read("short") is None
    artifacts.write_json(path, without)
    assert kept.read("short") is None
    path.write_text(text)
    assert PART == kept.read("short")


def test_a_link_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    """A `verification` that leads out of the folder is refused, and nothing lands there."""
    (tmp_path / "outside").mkdir()
    (folder / FOLDER).symlink_to(tmp_path / "outside")
    with pytest.raises(ArtifactError, match="link out of its folder"):
        Kept(folder, {})
    assert [] == list((tmp_path / "outside").iterdir())


def test_an_edited_verification_is_none(folder: Path) -> None:
    """A verdict that was changed by hand is not shown; one without a sum, of old, is."""
    Verification.from_json(micro.SHORT_TEST).save(folder)
    assert saved_verification(folder) is not None
    path = folder / VERIFICATION
    path.write_text(path.read_text().replace('"loss": 0.6', '"loss": 0.5'))
    assert saved_verification(folder) is None
    artifacts.write_json(path, micro.SHORT_TEST)
    assert saved_verification(folder) is not None


@pytest.mark.parametrize(
    "change",
    [{"pairs": "8"}, {"full": None}, {"sufficient": 3}, {"seconds": {"a": "b"}}, {"tests": [{}]}],
)
def test_a_verification_of_wrong_types(change: dict[str, object]) -> None:
    """Is one line of ours, wherever the fault lies."""
    with pytest.raises(ArtifactError, match=r"verification"):
        Verification.from_json(micro.SHORT_TEST | change)

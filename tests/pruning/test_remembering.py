"""Selections that were measured: what was changed since is not believed."""

from pathlib import Path

import pytest
import torch

from lacewing.errors import ArtifactError
from lacewing.pruning.remembering import Remembering


class Small:
    """A target that selections of at most one node reach; counts what it is asked."""

    asked = 0

    def reaches(self, masks: dict[str, torch.Tensor]) -> bool:
        """Whether there are few."""
        self.asked += 1
        return sum(int(mask.sum()) for mask in masks.values()) <= 1


def selection(count: int) -> dict[str, torch.Tensor]:
    """So many nodes of five."""
    return {"0.attn_in": torch.arange(5) < count}


def kept(file: Path) -> Remembering:
    """What a file remembers of a target."""
    return Remembering.of(Small(), file)  # type: ignore[arg-type]


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "tried.jsonl"
    assert [kept(file).reaches(selection(n)) for n in (1, 2)] == [True, False]
    again = kept(file)
    assert [again.reaches(selection(n)) for n in (1, 2)] == [True, False]
    assert again.target.asked == 0  # type: ignore[attr-defined]


def test_a_line_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "tried.jsonl"
    kept(file).reaches(selection(2))
    file.write_text(file.read_text().replace("false", "true"))
    with pytest.raises(ArtifactError, match="line 1: another content than was written"):
        kept(file)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.jsonl").write_text("")
    (tmp_path / "inside" / "tried.jsonl").symlink_to(tmp_path / "outside.jsonl")
    with pytest.raises(ArtifactError, match="a link out of its folder"):
        kept(tmp_path / "inside" / "tried.jsonl")
    assert (tmp_path / "outside.jsonl").read_text() == ""

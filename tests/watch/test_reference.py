"""References in folders: read as they were written, or refused in one line."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import micro
from lacewing import artifacts
from lacewing.errors import ArtifactError, MismatchError
from lacewing.watch.reference import FACTS, KIND, TENSORS, Reference, names, weights
from watch.live_text import known


def rewritten(folder: Path, change: dict[str, torch.Tensor], **facts: object) -> None:
    """The folder with other tensors or facts, and sums that fit."""
    whole = artifacts.open_folder(folder, KIND)
    plain, tensors = whole.json(FACTS) | facts, whole.tensors(TENSORS) | change
    artifacts.write_folder(
        folder, KIND, json={FACTS: plain}, tensors={TENSORS: tensors}, replace=True
    )


def test_it_comes_back(tmp_path: Path) -> None:
    """Every number of it."""
    model, circuit, reference = known()
    reference.save(tmp_path / "ref")
    again = Reference.load(tmp_path / "ref", model, [circuit])
    assert again.facts.circuits == reference.facts.circuits
    for one, other in zip(
        vars(reference.usual[0]).items(), vars(again.usual[0]).items(), strict=True
    ):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
    assert abs(again.levels - reference.levels).max() < 1e-6
    assert torch.equal(again.probes[0], reference.probes[0])


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Another model, other circuits, changed bytes, lists that are not sorted, odd levels."""
    model, circuit, reference = known()
    folder = tmp_path / "ref"
    reference.save(folder)
    with pytest.raises(MismatchError, match="was fitted with model"):
        Reference.load(folder, micro.micro(seed=1), [circuit])
    with pytest.raises(MismatchError, match=r"these are not the same .none for other"):
        Reference.load(folder, model, [dataclasses.replace(circuit, task="other")])
    smaller = micro.make(model, micro.PATH_A, pairs=circuit.pairs)
    with pytest.raises(MismatchError, match="others, or in another order"):
        Reference.load(folder, model, [smaller])
    good = artifacts.open_folder(folder, KIND).tensors(TENSORS)
    rewritten(folder, {"0/carried": good["0/carried"].flip(0)})
    with pytest.raises(ArtifactError, match="0/carried is not sorted"):
        Reference.load(folder, model, [circuit])
    rewritten(folder, {"0/carried": good["0/carried"], "levels": good["levels"] * 0})
    with pytest.raises(ArtifactError, match="a level is not between 0 and 1"):
        Reference.load(folder, model, [circuit])
    rewritten(folder, {"levels": good["levels"][:-1]})
    with pytest.raises(ArtifactError, match="levels is"):
        Reference.load(folder, model, [circuit])
    rewritten(folder, {"levels": good["levels"]}, look=7)
    with pytest.raises(ArtifactError, match="looks of 7 tokens"):
        Reference.load(folder, model, [circuit])
    content = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps(content | {"slack": 9.0}))
    with pytest.raises(ArtifactError, match="manifest says"):
        Reference.load(folder, model, [circuit])
    with pytest.raises(ArtifactError, match="exists already"):
        reference.save(folder)


def test_circuits_and_text_count_alike() -> None:
    """Whatever many nodes one has: its kinds share its weight, its nodes that of their kind."""
    model, circuit, _ = known()
    small = micro.make(model, {"resid_final": [4]}, pairs=circuit.pairs)
    signals = names([circuit, small], micro.HEAD)
    share = weights(signals)
    assert len(share) == len(signals) == (3 + 2 + 15 + 1) + (3 + 0 + 1 + 1) + 1
    for owner in (0, 1, -1):
        total = sum(share[i] for i, signal in enumerate(signals) if signal[0] == owner)
        assert abs(total - 1 / 3) < 1e-12
    assert signals[-1] == (-1, "text", "")

"""Training for proof: what a step does to the sites, by hand; and branches of a kept checkpoint."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.hooks import record
from lacewing.model.sites import FINAL_SITE, site_widths
from lacewing.model.store import Model, load
from lacewing.training.branch import branch, kept_steps
from lacewing.training.config import TrainConfig
from lacewing.training.disturbance import (
    BUSY,
    MEMORY,
    STREAM,
    Disturbance,
    constant_share,
    drawn,
    idle_half,
)
from lacewing.training.loop import train

Small = Callable[..., TrainConfig]
ALL: dict[str, Any] = {"ablated_nodes": 0.2, "ablated_halves": 0.5, "idle_price": 0.1}


@pytest.fixture(scope="module")
def kept(text: Path, small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of thirty steps that kept its checkpoint at twenty."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    train(small(keep=(2 / 3,)), Corpus.files(str(text)), folder, quiet=True)
    return folder


def seen_in(run: Path, config: TrainConfig, step: int) -> tuple[Any, Any, Any]:
    """Every site's values in a plain pass and in a disturbed one; the disturbance."""
    network = load(run).ours
    tokens = torch.randint(0, 200, (6, 16), generator=torch.Generator().manual_seed(0))
    disturbance = Disturbance(network, config)
    with record(network) as plain:
        network(tokens)
    with disturbance.during(step), record(network) as disturbed:
        network(tokens)
    assert not any(network.hooks.values())
    return plain, disturbed, disturbance


def test_without_a_demand_nothing_is_hooked(run: Path, small: Small) -> None:
    """A step that asks for nothing is the step it was, and keeps nothing."""
    plain, same, disturbance = seen_in(run, small(), 3)
    assert all(torch.equal(plain[key], same[key]) for key in plain)
    assert disturbance.price() == 0.0
    assert disturbance.state() == {}


def test_nodes_at_their_means(run: Path, small: Small) -> None:
    """With all nodes of the drawn sites off, those have one value everywhere; others have not."""
    _, seen, _ = seen_in(run, small(ablated_nodes=1.0), 3)
    flat = {key for key, v in seen.items() if torch.allclose(v, v[:1, :1].expand_as(v), atol=1e-6)}
    assert 0 < len(flat) < len(seen)
    _, others, _ = seen_in(run, small(ablated_nodes=1.0), 4)
    again = {k for k, v in others.items() if torch.allclose(v, v[:1, :1].expand_as(v), atol=1e-6)}
    assert again != flat


@pytest.mark.parametrize("step", [2, 3])
def test_halves_of_what_is_idle(run: Path, small: Small, step: int) -> None:
    """At the first site a half of all but the busiest is at its mean, or as in another sequence."""
    plain, seen, _ = seen_in(run, small(ablated_halves=1.0), step)
    first = next(iter(seen))
    before, after = plain[first], seen[first]
    changed = (before != after).any(1)
    moved = (before - before.mean((0, 1))).square().mean(1)
    count = round(BUSY * before.shape[2])
    busiest = moved.topk(count, dim=1).indices
    assert not changed.gather(1, busiest).any()
    half = (before.shape[2] - count) // 2
    assert (changed.sum(1) <= half).all()
    assert changed.any()
    stand_in = before.roll(1, 0) if step % 2 else before.mean((0, 1)).expand_as(before)
    where = changed[:, None].expand_as(before)
    torch.testing.assert_close(after[where], stand_in[where])


def test_draws_have_their_shares() -> None:
    """A share of nodes of every sequence; a half of what is idle, never of what is busy."""
    dice = torch.Generator().manual_seed(1)
    assert drawn(500, 64, 0.2, dice).float().mean() == pytest.approx(0.2, abs=0.01)
    values = torch.randn(40, 5, 64, generator=dice)
    values[:, :, 8:16] += 50.0
    off = idle_half(values, dice)
    assert not off[:, 8:16].any()
    assert off.sum(1).tolist() == [28] * 40
    assert off[:, :8].float().mean() == pytest.approx(0.5, abs=0.1)


def test_the_constant_share_by_hand() -> None:
    """A channel of 3 everywhere beside one of plus and minus 1: nine parts of ten."""
    value = torch.tensor([[[3.0, 1.0], [3.0, -1.0]]])
    assert float(constant_share(value)) == pytest.approx(0.9)


def test_the_price_is_paid(run: Path, text: Path, small: Small, tmp_path: Path) -> None:
    """Who pays for what is constant keeps less of it, and the checkpoint knows the means."""
    config = small(idle_price=1.0, keep=(2 / 3,))
    priced = train(config, Corpus.files(str(text)), tmp_path / "priced", quiet=True)
    plain, paid = (shares(load(folder), text) for folder in (run, priced.folder))
    assert plain.keys() == {"0.attn_out", "0.mlp_out", "1.attn_out", "1.mlp_out", FINAL_SITE}
    assert all(paid[key] < 0.6 * plain[key] for key in plain)
    whole = artifacts.open_folder(tmp_path / "priced" / "kept" / "20", "checkpoint")
    more = whole.tensors("more.safetensors")
    assert more.keys() - {"count"} == site_widths(load(run).network.config).keys()
    assert more["count"].item() == min(20, MEMORY)


def shares(model: Model, folder: Path) -> dict[str, float]:
    """The constant share of every priced site, over the text of forty files."""
    ids: list[int] = []
    for file in sorted(folder.rglob("*.py"))[:40]:
        ids += model.tokenizer.encode(file.read_text(encoding="utf-8"))
    with record(model.network) as seen, torch.no_grad():
        model.network(torch.tensor(ids[: 32 * 60]).view(60, 32))
    priced = (k for k in seen if k == FINAL_SITE or k.endswith(STREAM))
    return {key: float(constant_share(seen[key])) for key in priced}


def test_interrupted_it_ends_the_same(text: Path, small: Small, tmp_path: Path) -> None:
    """What is drawn follows from the step, and the running means come back with the checkpoint."""
    config, corpus = small(keep=(2 / 3,), **ALL), Corpus.files(str(text))
    first = train(config, corpus, tmp_path / "run", quiet=True)
    before = load(first.folder).id
    for name in (artifacts.MANIFEST, "summary.json", "means.safetensors", "model.safetensors"):
        (first.folder / name).unlink()
    shutil.copytree(first.folder / "kept" / "20", first.folder / "checkpoint")
    again = train(config, corpus, tmp_path / "run", quiet=True)
    assert load(again.folder).id == before


def test_a_branch_without_changes_is_the_run(kept: Path, tmp_path: Path) -> None:
    """It ends as the run ended, and the run is as it was; called again, it is read."""
    files = {path: path.stat().st_mtime_ns for path in kept.rglob("*") if path.is_file()}
    same = branch(kept, 20, tmp_path / "same", {}, quiet=True)
    assert load(same.folder).id == load(kept).id
    assert files == {p: p.stat().st_mtime_ns for p in kept.rglob("*") if p.is_file()}
    assert branch(kept, 20, tmp_path / "same", {}, quiet=True) == same


def test_branches_differ_in_what_they_change(kept: Path, tmp_path: Path) -> None:
    """Fewer active channels, another order of the text: other models, of the same shape."""
    fewer = branch(kept, 20, tmp_path / "fewer", {"abs_topk": 0.125}, quiet=True)
    assert load(fewer.folder).ours.config.abs_topk == 0.125
    arm = branch(kept, 20, tmp_path / "arm", {**ALL, "seed": 1}, quiet=True)
    assert (fewer.steps, arm.steps) == (30, 30)
    assert len({load(folder).id for folder in (kept, fewer.folder, arm.folder)}) == 3


def test_what_a_branch_cannot_do(kept: Path, tmp_path: Path) -> None:
    """A step that was not kept, a setting that the checkpoint has already: nothing is written."""
    assert kept_steps(kept) == [20]
    with pytest.raises(ArtifactError, match=r"no whole checkpoint of step 10: it has 20"):
        branch(kept, 10, tmp_path / "arm", {})
    with pytest.raises(ConfigError, match="cannot change d_model"):
        branch(kept, 20, tmp_path / "arm", {"d_model": 64})
    assert not (tmp_path / "arm").exists()
    branch(kept, 20, tmp_path / "arm", {"seed": 1}, quiet=True)
    with pytest.raises(ConfigError, match="seed 1, this one has 2"):
        branch(kept, 20, tmp_path / "arm", {"seed": 2}, quiet=True)

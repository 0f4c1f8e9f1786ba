"""The batch stream: seeded, resumable at the exact token, the same over many processes."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lacewing.data.batches import Batches, sequences
from lacewing.errors import DataError


def take(stream: Batches, count: int) -> torch.Tensor:
    """The next batches, stacked."""
    return torch.stack([stream.next() for _ in range(count)])


def test_windows_are_runs_of_the_tokens(counting: np.ndarray) -> None:
    """Each row is context + 1 tokens in a row, as 64-bit ids."""
    batch = Batches(counting, context=32, batch=4, seed=0).next()
    assert (batch.shape, batch.dtype) == ((4, 33), torch.int64)
    assert torch.equal(batch - batch[:, :1], torch.arange(33).expand(4, 33))


def test_seed_decides(counting: np.ndarray) -> None:
    """The same seed gives the same stream, another seed another one."""
    one, same, other = (take(Batches(counting, 32, 4, seed), 5) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("position", [0, 1, 7, 76, 77, 78, 200])
def test_resumes_at_the_exact_token(counting: np.ndarray, position: int) -> None:
    """A stream begun at a position goes on as if it had never stopped, across epochs too."""
    whole = Batches(counting, 32, 4, seed=1)
    assert whole.per_epoch == 77
    take(whole, position) if position else None
    assert whole.position == position
    resumed = Batches(counting, 32, 4, seed=1, position=position)
    assert torch.equal(take(whole, 6), take(resumed, 6))
    assert resumed.position == position + 6


def test_an_epoch_repeats_nothing(counting: np.ndarray) -> None:
    """Within an epoch no target is seen twice and nearly all are seen once."""
    stream = Batches(counting, 32, 4, seed=2)
    targets = take(stream, stream.per_epoch)[..., 1:].flatten()
    assert len(targets.unique()) == len(targets)
    assert len(targets) > 0.98 * len(counting)


def test_epochs_differ(counting: np.ndarray) -> None:
    """The next epoch has another order and other cuts."""
    stream = Batches(counting, 32, 4, seed=2)
    one, two = take(stream, stream.per_epoch), take(stream, stream.per_epoch)
    assert not torch.equal(one, two)
    assert set(one[..., 0].flatten().tolist()) != set(two[..., 0].flatten().tolist())


def test_last_window_fits() -> None:
    """Whatever the cut of an epoch, no window leaves the tokens, even where they just suffice."""
    for length in range(65, 130):
        stream = Batches(np.arange(length, dtype=np.uint16), context=32, batch=1, seed=0)
        for _ in range(20):
            row = stream.next()[0]
            assert int(row[-1] - row[0]) == 32


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_global_batch(counting: np.ndarray, world: int) -> None:
    """Processes together see, row for row, what one process with the whole batch sees."""
    one = Batches(counting, 32, 4 * world, seed=5)
    each = [Batches(counting, 32, 4, seed=5, rank=rank, world=world) for rank in range(world)]
    for _ in range(one.per_epoch + 3):
        assert torch.equal(one.next(), torch.cat([stream.next() for stream in each]))


def test_too_few_tokens() -> None:
    """Tokens that do not fill one batch are an error that names both sizes."""
    with pytest.raises(DataError, match="100 training tokens do not fill one batch of 8 sequences"):
        Batches(np.zeros(100, dtype=np.uint16), context=32, batch=4, seed=0, world=2)
    with pytest.raises(DataError, match="20 validation tokens do not fill one sequence of 32"):
        sequences(np.zeros(20, dtype=np.uint16), 32, 1000)


def test_validation_windows_are_spread(counting: np.ndarray) -> None:
    """Validation windows are fixed, apart from each other, and reach from start to end."""
    windows = sequences(counting, context=32, limit=1600)
    assert windows.shape == (50, 33)
    assert torch.equal(windows, sequences(counting, 32, 1600))
    starts = windows[:, 0]
    assert int(starts[0]) == 0
    assert int(starts[-1]) + 32 > len(counting) - 64
    assert int(starts.diff().min()) >= 32


def test_validation_limit_above_the_tokens(counting: np.ndarray) -> None:
    """With a limit above the tokens there are, every whole window is taken once."""
    windows = sequences(counting, context=32, limit=10**9)
    assert windows[:, 1:].flatten().tolist() == list(range(1, 32 * len(windows) + 1))
    assert len(windows) == (len(counting) - 1) // 32


def test_a_batch_is_cheap(tmp_path: Path) -> None:
    """A batch from a file of ten million tokens takes less than a millisecond (the median of many).

    The median, because other work on the machine delays single batches.
    """
    np.zeros(10_000_000, dtype=np.uint16).tofile(tmp_path / "train.bin")
    tokens = np.memmap(tmp_path / "train.bin", dtype=np.uint16, mode="r")
    stream = Batches(tokens, context=128, batch=32, seed=0)
    stream.next()
    times = []
    for _ in range(200):
        start = time.perf_counter()
        stream.next()
        times.append(time.perf_counter() - start)
    assert sorted(times)[100] < 1e-3

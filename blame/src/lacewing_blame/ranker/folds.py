"""Folds in which no question is on both sides."""

import random
from collections.abc import Iterator, Sequence


def folds(groups: Sequence[str], count: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Places to learn from and places held out, `count` times.

    Args:
        groups: What each run must stay together with, such as its question.
        count: Folds; as many as there are groups leaves out one group at a time.
        seed: Shuffles the groups.

    >>> sorted(held for _, held in folds(["a", "a", "b"], 2, seed=0))
    [[0, 1], [2]]
    """
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)  # noqa: S311 - deals folds, keeps no secret
    count = min(count, len(names))
    if count < 2:
        return
    fold = {name: at % count for at, name in enumerate(names)}
    for one in range(count):
        inside = [at for at, group in enumerate(groups) if fold[group] != one]
        yield inside, [at for at, group in enumerate(groups) if fold[group] == one]

"""How the text of a reference is dealt out, and what levels come of it."""

import numpy as np

from lacewing.watch.dealing import PACKAGES, parts
from lacewing.watch.levels import LASTS, STRETCH, calibrated_levels


def test_packages_stay_whole() -> None:
    """No package is in two parts where there are enough of them, and the parts are alike long."""
    texts = [
        (f"here/p{n}/{m}.py", 10 + (7 * n + m) % 9) for n in range(2 * PACKAGES) for m in range(6)
    ]
    dealt = parts(texts)
    packages = [
        {p.split("/")[1] for (p, _), d in zip(texts, dealt, strict=True) if d == part}
        for part in range(3)
    ]
    assert all(packages)
    assert not packages[0] & packages[1]
    assert not (packages[0] | packages[1]) & packages[2]
    sizes = [sum(n for (_, n), d in zip(texts, dealt, strict=True) if d == k) for k in range(3)]
    assert max(sizes) < 1.3 * min(sizes)


def test_few_packages_are_dealt_by_document() -> None:
    """And so is a text of which one package is the larger half."""
    few = [(f"p{n}/{m}.py", 10) for n in range(2) for m in range(9)]
    assert {d for (name, _), d in zip(few, parts(few), strict=True) if name[:2] == "p0"} == {
        0,
        1,
        2,
    }
    large = [(f"p{n}/a.py", 1) for n in range(PACKAGES)] + [(f"big/{n}.py", 5) for n in range(9)]
    where = {d for (name, _), d in zip(large, parts(large), strict=True) if name[:3] == "big"}
    assert where == {0, 1, 2}


def test_a_stretch_is_not_judged_by_itself() -> None:
    """One signal far out in one stretch of a few: text to come may hold another such stretch.

    Levels that the stretch itself had raised would let it pass.
    """
    dice = np.random.default_rng(0)
    x = dice.uniform(0.0, 0.1, size=(12 * STRETCH, 2))
    x[5 * STRETCH : 6 * STRETCH, 0] = 0.9
    weight, promise = np.array([0.5, 0.5]), 100_000
    levels, slack, measured = calibrated_levels(x, weight, promise)
    usual = x[:, 1].mean()
    assert slack > 0
    assert levels[0] > 3 * usual
    odd, even = calibrated_levels(
        np.delete(x, slice(5 * STRETCH, 6 * STRETCH), 0), weight, promise
    )[:2]
    assert even == 0
    assert odd[0] < 2 * usual
    assert measured < 1e9
    assert LASTS > 1

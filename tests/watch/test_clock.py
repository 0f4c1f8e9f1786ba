"""Nothing that is decided depends on a clock: it may jump, forwards and backwards."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lacewing.watch.monitor import Monitor
from lacewing.watch.serving.service import Service
from lacewing.watch.serving.writing import Wish
from watch.live_text import changed, known, lines
from watch.test_monitor import cut

JUMPS = (0.0, 9e9, -9e9, 1.0, 3e5, -1e-9, 0.0, 2e9)
"""Seconds: the next year 2255, before 1970, and hardly anywhere."""


def jumping() -> Iterator[float]:
    """What a clock says that is set again and again."""
    return itertools.cycle(JUMPS)


def monitored() -> Any:
    """What a monitor raises and says of a changed model in text that becomes another."""
    model, circuit, reference = known()
    monitor = Monitor(model, [circuit], reference, after=changed(cut), probe_every=2000, quiet=True)
    for text in [*lines(200, 2), *lines(200, 3, "0123456789")]:
        monitor.step(model.tokenizer.encode(text), ends=True)
    monitor.finish()
    return monitor.summary()


def served() -> Any:
    """What a server's reads of the same say, and its alarms but for the time that people see."""
    model, circuit, reference = known()
    service = Service(Monitor(model, [circuit], reference, after=changed(cut), quiet=True))
    read = []
    for text in [*lines(200, 2), *lines(200, 3, "0123456789")]:
        writing = service.begin(model.tokenizer.encode(text), Wish(tokens=2, seed=1))
        while writing.ends is None:
            writing.step()
        read.append(service.read(writing))
    service.finish()
    alarms = [{k: v for k, v in alarm.items() if k != "time"} for alarm in service.alarms()]
    assert all(alarm["seen_by"] for alarm in alarms)
    return read, service.standing, alarms


@pytest.mark.parametrize("watched", [monitored, served])
def test_alarms_are_the_same_whatever_the_clock_does(
    watched: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at every clock jumps by years; alarms, counts and evidence are the same."""
    known()  # fitted once, before
    steady = watched()
    read = dict.fromkeys(("time", "monotonic", "perf_counter"), 0)
    for name in read:
        jumps = jumping()

        def jumped(name: str = name, jumps: Iterator[float] = jumps) -> float:
            read[name] += 1
            return next(jumps)

        monkeypatch.setattr(time, name, jumped)
        monkeypatch.setattr(time, f"{name}_ns", lambda jumped=jumped: int(1e9 * jumped()))
    time.time()
    assert read["time"] == 1  # the jumping one
    again = watched()
    monkeypatch.undo()
    assert again == steady
    assert "'cause': 'model'" in str(steady)
    assert "'seen_by': 'text'" in str(steady)

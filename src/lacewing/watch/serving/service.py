"""A model that answers, with its monitor: what a server holds. One caller at a time, please."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.model.layers import sparse_products
from lacewing.model.shipped import BUILTIN
from lacewing.progress import say
from lacewing.watch.alarm import Alarm
from lacewing.watch.monitor import Monitor
from lacewing.watch.serving.decided import decided_in
from lacewing.watch.serving.history import History
from lacewing.watch.serving.metrics import Metrics
from lacewing.watch.serving.sending import Lines, Webhook
from lacewing.watch.serving.writing import Wish, Writing

KEPT = 200
"""Alarms that are kept to be shown."""
TOLD = 10
"""Alarms that are told on standard error; the others are counted, and written where asked for."""


class Service:
    """A monitor whose model answers."""

    def __init__(
        self, monitor: Monitor, alarms: Path | None = None, webhook: str | None = None
    ) -> None:
        """Ask the fixed prompts once, and begin.

        Args:
            monitor: What reads everything that is asked and answered.
            alarms: File that alarms are added to, one JSON object a line.
            webhook: Address that they are posted to.

        Raises:
            ArtifactError: the file of alarms cannot be written.
            ConfigError: the webhook is no address.
        """
        self.monitor, model = monitor, monitor.model
        self.name = name_of(model.source)
        tasks = [circuit.task for circuit in monitor.circuits]
        self.metrics = Metrics(self.name, model.id, tasks)
        self.lines = None if alarms is None else Lines(alarms, self.metrics.sent)
        self.webhook = None if webhook is None else Webhook(webhook, self.metrics.sent)
        self.history = History(monitor)
        self.begun = int(time.time())
        self._alarms: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count, self._lock = 0, threading.Lock()
        self._told(monitor.probe())
        self._stand()

    def begin(self, prompt: Sequence[int], wish: Wish) -> Writing:
        """A text that is to go on."""
        return Writing(self.monitor.model, prompt, wish)

    def read(self, writing: Writing) -> dict[str, Any]:
        """Read a text that has ended, or was cut off, with the monitor.

        Returns:
            `circuits`, as `decided_in`: which tasks were decided in it, and where.
        """
        tokens = writing.tokens
        with sparse_products(self.monitor.model.network):  # looked up once for all passes
            found = decided_in(self.monitor, tokens, len(writing.prompt)) if tokens else []
            for alarms in self.monitor.steps(tokens, ends=True):
                self.metrics.looked(self.history.groups, self.history.add(self.monitor))
                self._told(alarms)
        self._stand()
        return {"circuits": found}

    def finish(self) -> None:
        """Look at what is left, though it may be less than a look, and ask the fixed prompts."""
        self._told(self.monitor.finish())
        self._stand()

    @property
    def standing(self) -> dict[str, Any]:
        """Where things stand; may be asked from any thread at any time."""
        with self._lock:
            return self._now

    def alarms(self, most: int = KEPT) -> list[dict[str, Any]]:
        """The last alarms, the newest last; may be asked from any thread at any time."""
        with self._lock:
            return list(self._alarms)[-most:]

    def close(self) -> None:
        """Give what is on its way a moment."""
        if self.webhook is not None:
            self.webhook.close()

    def _stand(self) -> None:
        """Note where things stand."""
        summary = self.monitor.summary()
        self.metrics.stands(summary)
        del self.monitor.alarms[:-KEPT]
        now = {
            "model": self.name,
            "model_id": self.monitor.model.id,
            "changed": summary["changed"],
            "tokens": summary["tokens"],
            "looks": summary["looks"],
            "run_length": summary["run_length"],
            "evidence": self.monitor.level,
            "alarms": self._count,
            "circuits": [
                row | {"name": name}
                for row, name in zip(summary["circuits"], self.metrics.tasks, strict=True)
            ],
            "undecided": summary["undecided"],
        }
        with self._lock:
            self._now = now

    def _told(self, alarms: Sequence[Alarm]) -> None:
        """Hand alarms on."""
        for alarm in alarms:
            self._count += 1
            told = {"number": self._count, "time": _now(), "model": self.name}
            told |= alarm.as_json() | {"told": alarm.told}
            with self._lock:
                self._alarms.append(told)
            self.metrics.alarmed(alarm.cause)
            for way in (self.lines, self.webhook):
                if way is not None:
                    way.add(told)
            if self._count <= TOLD:
                say(f"alarm at {alarm.told}")


def name_of(source: str) -> str:
    """What a model is called to who asks for it: no path of this machine.

    >>> name_of("builtin:taught-tiny"), name_of("/home/me/runs/mine/")
    ('builtin:taught-tiny', 'mine')
    """
    return source if source.startswith(BUILTIN) else artifacts.real(source).name or "model"


def _now() -> str:
    """The time by the clock, for people; nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Long work in a process of its own: it leaves the server quick, and can be stopped."""

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lacewing.progress import printable
from lacewing.viewer import tie
from lacewing.viewer.answers import Job

WAITING = 8
"""Jobs that may wait; more are refused."""
KEPT = 50
"""Jobs remembered after their end."""
PERCENT = re.compile(r"(\d+) %")


class TooManyError(Exception):
    """The queue of jobs is full."""


@dataclass
class _Task:
    id: str
    kind: Literal["verify", "tasks"]
    subject: str
    arguments: Sequence[str]
    then: Callable[[Any], None]
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    percent: int = 0
    note: str = ""
    error: str | None = None
    began: float = 0.0
    ended: float = 0.0
    process: subprocess.Popen[str] | None = field(default=None, repr=False)


class Jobs:
    """Runs `lacewing VERB` commands one after the other."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)
        self._thread.start()

    def add(
        self,
        kind: Literal["verify", "tasks"],
        subject: str,
        arguments: Sequence[str],
        then: Callable[[Any], None],
    ) -> Job:
        """Queue a command; a job like it that has not ended is returned instead.

        Args:
            kind: What it does.
            subject: Id of the circuit or model.
            arguments: Of `lacewing`; the last line it prints is JSON.
            then: Called with that JSON when it has ended well.

        Raises:
            TooManyError: the queue is full.
        """
        with self._lock:
            open_ones = [t for t in self._tasks.values() if t.state in ("waiting", "running")]
            for task in open_ones:
                if (task.kind, task.subject) == (kind, subject):
                    return _shown(task)
            if len(open_ones) > WAITING:
                raise TooManyError("too many jobs are waiting: try again when some have ended")
            task = _Task(str(next(self._numbers)), kind, subject, arguments, then)
            self._tasks[task.id] = task
            while len(self._tasks) > KEPT + WAITING:
                self._tasks.pop(next(iter(self._tasks)))
            self._wake.notify()
            return _shown(task)

    def all(self) -> list[Job]:
        """Every job remembered, oldest first."""
        with self._lock:
            return [_shown(task) for task in self._tasks.values()]

    def get(self, id: str) -> Job | None:
        """A job by its id."""
        with self._lock:
            return _shown(self._tasks[id]) if id in self._tasks else None

    def cancel(self, id: str) -> Job | None:
        """Stop a job; one that has ended stays as it is."""
        with self._lock:
            task = self._tasks.get(id)
            if task is None:
                return None
            if task.state in ("waiting", "running"):
                task.state, task.ended = "cancelled", time.monotonic()
                if task.process is not None:
                    task.process.terminate()
            return _shown(task)

    def stop(self) -> None:
        """End the process at hand and take no more."""
        with self._lock:
            self._closed = True
            for task in self._tasks.values():
                if task.process is not None and task.process.poll() is None:
                    task.process.terminate()
            self._wake.notify()

    def _loop(self) -> None:
        while True:
            with self._lock:
                self._wake.wait_for(lambda: self._closed or self._waiting() is not None)
                task = self._waiting()
                if self._closed or task is None:
                    return
                task.state, task.began = "running", time.monotonic()
                task.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-m", "lacewing", *task.arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    **tie.options(),
                )
                if hasattr(os, "setpriority"):  # people at the page go first
                    os.setpriority(os.PRIO_PROCESS, task.process.pid, 10)
            self._follow(task, task.process)

    def _waiting(self) -> _Task | None:
        return next((t for t in self._tasks.values() if t.state == "waiting"), None)

    def _follow(self, task: _Task, process: "subprocess.Popen[str]") -> None:
        """Read a process to its end."""
        output: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        reader = threading.Thread(target=lambda: output.extend(process.stdout or ()), daemon=True)
        reader.start()
        last = ""
        for line in process.stderr:
            last = printable(line.strip())[-1000:] or last
            if found := PERCENT.search(last):
                with self._lock:
                    task.percent, task.note = min(100, int(found[1])), last[-120:]
        code = process.wait()
        reader.join()
        for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
            stream.close()
        error = None
        try:
            if code == 0 and task.state != "cancelled":
                task.then(json.loads(output[-1]))
        except Exception as problem:  # a job's end must not end the queue
            error = " ".join(str(problem).split())
        with self._lock:
            task.ended, task.process = time.monotonic(), None
            if task.state == "cancelled":
                return
            if code == 0 and error is None:
                task.state, task.percent, task.note = "done", 100, ""
            else:
                task.state = "failed"
                task.error = error or last.removeprefix("lacewing: ") or f"exit code {code}"


def _shown(task: _Task) -> Job:
    until = task.ended or time.monotonic()
    return Job(
        id=task.id,
        kind=task.kind,
        subject=task.subject,
        state=task.state,
        done=task.percent,
        total=100,
        note=task.note,
        error=task.error,
        seconds=round(until - task.began, 2) if task.began else 0.0,
    )

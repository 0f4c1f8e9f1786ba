"""Who may compute: one at a time, people before background work, and nobody waits for ever."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Literal

LONGEST_WAIT = 20.0
"""Seconds a request waits for its turn."""


class BusyError(Exception):
    """The machine is at work for others; ask again."""


class CancelledError(Exception):
    """Somebody no longer wants what was being computed."""


class Turns:
    """A lock that background work gives up as soon as a person waits."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken, self._people, self._closed = False, 0, False

    @contextmanager
    def person(self, seconds: int | float | None = LONGEST_WAIT) -> Iterator[None]:
        """Compute for a request, after so many seconds at most; none: whenever its turn comes.

        Raises:
            BusyError: the turn did not come in time.
        """
        with self._free:
            self._people += 1
            try:
                if not self._free.wait_for(lambda: not self._taken, seconds):
                    raise BusyError("the server is busy with other requests: try again in a moment")
                self._taken = True
            finally:
                self._people -= 1
                self._free.notify_all()
        yield from self._held()

    @contextmanager
    def background(self) -> Iterator[None]:
        """Compute one small piece of background work, once nobody waits.

        Raises:
            BusyError: the server is closing.
        """
        with self._free:
            self._free.wait_for(lambda: not self._taken and not self._people)
            if self._closed:
                raise BusyError("the server is closing")
            self._taken = True
        yield from self._held()

    def close(self) -> None:
        """Let no more background work begin."""
        with self._free:
            self._closed = True

    def _held(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._free:
                self._taken = False
                self._free.notify_all()


class Work:
    """A piece of background work and how far it is."""

    def __init__(self, run: Callable[["Work"], Any]) -> None:
        self._run = run
        self.state: Literal["computing", "ready", "failed"] = "computing"
        self.value: Any = None
        self.problem: Exception | None = None
        self.done: float = 0
        self.total: float = 0
        self.note = ""
        """What is being done."""
        self.cancelled = False

    def tell(self, note: str, done: int | float, total: int | float) -> None:
        """Say how far it is.

        Raises:
            CancelledError: nobody wants it any more.
        """
        self.note, self.done, self.total = note, done, total
        self.going()

    def going(self) -> None:
        """Asked between two steps: end here if nobody wants it any more.

        Raises:
            CancelledError: it was cancelled.
        """
        if self.cancelled:
            raise CancelledError("cancelled")

    def finish(self) -> None:
        """Do it; an error is kept for who asks."""
        try:
            self.tell(self.note, self.done, self.total)
            self.value = self._run(self)
            self.state = "ready"
        except Exception as error:
            self.problem, self.state = error, "failed"


class Background:
    """One thread that does pieces of work in turn and keeps the latest results."""

    def __init__(self, kept: int = 48) -> None:
        """Keep at most so many results."""
        self.kept, self.stopped = kept, False
        self._works: dict[Any, Work] = {}
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="background", daemon=True)
        self._thread.start()

    def get(self, key: Any, run: Callable[[Work], Any], most: int | None = None) -> Work:
        """The work of a key: as it stands, or begun now.

        Args:
            key: Whatever tells one piece of work from another.
            run: Does it.
            most: Of works that wait; by default as many as are asked for.

        Raises:
            BusyError: as many wait already.
        """
        with self._lock:
            waiting = sum(work.state == "computing" for work in self._works.values())
            if key not in self._works and most is not None and waiting >= most:
                raise BusyError("others are waiting for answers too: try again in a moment")
            work = self._works.pop(key, None)
            if work is None:
                work = Work(run)
                self._queue.put(work)
            self._works[key] = work  # latest last
            for old in list(self._works):
                if len(self._works) > self.kept and self._works[old].state != "computing":
                    del self._works[old]
            return work

    def forget(self, key: Any) -> None:
        """Begin anew when a key is asked for next."""
        with self._lock:
            self._works.pop(key, None)

    def cancel(self, key: Any) -> bool:
        """Forget a key, and end its work at its next step, where that tells how far it is."""
        with self._lock:
            work = self._works.pop(key, None)
        if work is not None:
            work.cancelled = True
        return work is not None and work.state == "computing"

    def stop(self, seconds: float = 5.0) -> None:
        """End soon: what waits is left, what runs stops at its next turn."""
        self.stopped = True
        self._queue.put(None)
        self._thread.join(seconds)

    def _loop(self) -> None:
        while (work := self._queue.get()) is not None and not self.stopped:
            work.finish()  # at once, with its problem, if it was cancelled while it waited

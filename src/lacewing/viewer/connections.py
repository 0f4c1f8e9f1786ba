"""Connections of the server: who does not send, or does not read, gives way to who does.

A connection waits from when it is made until a whole request has arrived, and again from the answer
on; it waits too while its client does not take what is written. What waits has a time limit, which
bytes that trickle in do not move, and there is room for MOST such connections. One more, and that
which has waited longest ends; of the client, by address, that has most of them. So a client that
holds a thousand takes its own places, and one who asks and reads is answered at once.
"""

from asyncio import TimerHandle
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 15.0
"""From a connection, or the first byte of a later request, to the end of the request's head."""
READING_SECONDS = 20.0
"""For a client to take what is written to it, each time that it is behind."""
MOST = 200
"""Connections that may wait at a time."""


class Timed(H11Protocol):
    """HTTP that hangs up on who keeps others waiting."""

    def connection_made(self, transport: Any) -> None:
        """Make room, and start the clock of the first request."""
        self.since: float | None = None
        """Since when it waits; None while it is answered."""
        self._head: TimerHandle | None = None
        self._slow: TimerHandle | None = None
        super().connection_made(transport)
        self._wait()
        self._start()
        _make_room(self)

    def data_received(self, data: bytes) -> None:
        """Start the clock of a next request with its first byte."""
        if self._idle() and self._head is None:
            self._start()
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._look()
        if self.transport.is_closing():
            if self.transport.get_write_buffer_size():
                self._slow = self._slow or self.loop.call_later(READING_SECONDS, self._hang_up)
        elif self._idle() and self.conn.trailing_data[0]:  # the next has begun in the same piece
            self._start()

    def pause_writing(self) -> None:
        """Give a client who does not read so much time."""
        super().pause_writing()
        self._wait()
        self._slow = self.loop.call_later(READING_SECONDS, self._hang_up)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        _stop(self._slow)
        self._slow = None
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, also one that never took its last answer."""
        if self.transport.get_write_buffer_size():
            self._hang_up()
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        super().connection_lost(exc)
        _stop(self._head)
        _stop(self._slow)
        self.since = None

    def _look(self) -> None:
        """Whether it still waits, now that something came or went."""
        if not self._idle():
            _stop(self._head)  # the guard counts the time of a body
            self._head = None
        whole = not self._idle() and not self.cycle.more_body
        if whole and self._slow is None:
            self.since = None
        elif self.since is None:
            self._wait()

    def _idle(self) -> bool:
        """Whether no request is at work here: none has come yet, or the last one is answered."""
        cycle: Any = self.cycle  # None at first, whatever its type says
        return cycle is None or bool(cycle.response_complete)

    def _wait(self) -> None:
        if self.since is None:
            self.since = self.loop.time()

    def _start(self) -> None:
        self._head = self._head or self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        """End it now, whatever is still to be sent."""
        self.since = None
        if not self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()


def _make_room(newest: Timed) -> None:
    """End the longest waiting connection of the client that has most, where too many wait."""
    waiting = [c for c in newest.connections if isinstance(c, Timed) and c.since is not None]
    if len(waiting) <= MOST:
        return
    counts = Counter(c.client[0] if c.client else "" for c in waiting)
    most = counts.most_common(1)[0][0]
    theirs = [c for c in waiting if (c.client[0] if c.client else "") == most and c is not newest]
    min(theirs, key=lambda c: c.since or 0.0, default=newest)._hang_up()


def _stop(clock: TimerHandle | None) -> None:
    if clock is not None:
        clock.cancel()

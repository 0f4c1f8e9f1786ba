"""Connections of the server: who does not send, or does not read, gives way to who does.

A connection waits from when it is made until a whole request has arrived, and again from the answer
on; it waits too while its client does not take what is written. What waits has a time limit, which
bytes that trickle in do not move, and there is room for MOST such connections. One more, and that
which has waited longest ends; of the client, by address, that has most of them. So a client that
holds a thousand takes its own places, and one who asks and reads is answered at once.
"""

from asyncio import TimerHandle
from typing import Any
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

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
        self._head: TimerHandle | None = None
        self._slow: TimerHandle | None = None
        super().connection_made(transport)
        self._room = _ROOMS.setdefault(self.server_state, _Room())
        self._room.enter(self)
        self._start()
        self._room.make(self)

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
        self._room.enter(self)
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
        self._room.leave(self)

    def _look(self) -> None:
        """Whether it still waits, now that something came or went."""
        if not self._idle():
            _stop(self._head)  # the guard counts the time of a body
            self._head = None
        whole = not self._idle() and not self.cycle.more_body
        if whole and self._slow is None:
            self._room.leave(self)
        else:
            self._room.enter(self)

    def _idle(self) -> bool:
        """Whether no request is at work here: none has come yet, or the last one is answered."""
        cycle: Any = self.cycle  # None at first, whatever its type says
        return cycle is None or bool(cycle.response_complete)

    def _start(self) -> None:
        self._head = self._head or self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        """End it now, whatever is still to be sent."""
        self._room.leave(self)
        if not self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()


class _Room:
    """The connections of a server that wait, by client, those first that have waited longest.

    Kept as they come and go: a look at all of them for each new one would hold up whoever comes
    behind a thousand.
    """

    def __init__(self) -> None:
        self._clients: dict[str, dict[Timed, None]] = {}
        self._count = 0

    def enter(self, one: Timed) -> None:
        """It waits from now on, where it did not yet."""
        theirs = self._clients.setdefault(_address(one), {})
        if one not in theirs:
            theirs[one] = None
            self._count += 1

    def leave(self, one: Timed) -> None:
        """It waits no longer."""
        theirs = self._clients.get(_address(one), {})
        if one in theirs:
            del theirs[one]
            self._count -= 1
            if not theirs:
                del self._clients[_address(one)]

    def make(self, newest: Timed) -> None:
        """End the longest waiting connection of the client that has most, where too many wait."""
        if self._count > MOST:
            most = max(self._clients.values(), key=len)
            next((one for one in most if one is not newest), newest)._hang_up()


_ROOMS: WeakKeyDictionary[ServerState, _Room] = WeakKeyDictionary()


def _address(one: Timed) -> str:
    return one.client[0] if one.client else ""


def _stop(clock: TimerHandle | None) -> None:
    if clock is not None:
        clock.cancel()

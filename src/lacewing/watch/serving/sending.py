"""Where alarms go: a file of JSON lines, and a webhook in a thread of its own.

Neither may hold up an answer or end the server. A file that cannot be written is told once, and
again when it can. A webhook gets each alarm as one JSON POST, is given some seconds, and is tried
again after longer and longer pauses; what does not fit in its queue is dropped and counted. Its
address may hold secrets, so only its host is ever shown.
"""

import contextlib
import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lacewing.artifacts.files import writing
from lacewing.errors import ArtifactError, ConfigError
from lacewing.progress import say

Counted = Callable[[str, str], None]
"""Told of every alarm that was handed on: where to, and what came of it."""
SECONDS = 5.0
"""That a webhook has to answer."""
TRIES = 5
PAUSE = 0.5
"""Seconds before the second try; twice as many before each further one."""
QUEUE = 64
"""Alarms that may wait for a webhook."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Lines:
    """A file that alarms are added to."""

    def __init__(self, path: Path, counted: Counted) -> None:
        """Open it once, to see that it can be written.

        Raises:
            ArtifactError: it cannot.
        """
        if path.is_dir():
            raise ArtifactError(f"{path} is a folder: name a file for the alarms")
        if path.is_fifo():
            raise ArtifactError(f"{path} is a pipe, which may hold up answers: name a file")
        with writing(path), open(path, "a", encoding="utf-8"):
            pass
        self.path, self._counted, self._failing = path, counted, False

    def add(self, alarm: Mapping[str, Any]) -> None:
        """Add one alarm; where that fails, say so and go on."""
        try:
            with writing(self.path), open(self.path, "a", encoding="utf-8") as lines:
                # What a full disk cut short stays a line of its own.
                lines.write("\n" * self._failing + json.dumps(alarm) + "\n")
        except ArtifactError as error:
            self._counted("file", "failed")
            if not self._failing:
                say(f"an alarm was not written: {error}; answering goes on")
            self._failing = True
            return
        self._counted("file", "written")
        if self._failing:
            say(f"alarms are written to {self.path} again")
        self._failing = False


class Webhook:
    """An address that alarms are posted to."""

    def __init__(
        self, url: str, counted: Counted, *, pause: float = PAUSE, seconds: float = SECONDS
    ) -> None:
        """Begin to wait for alarms.

        Raises:
            ConfigError: it is no http or https address.
        """
        self.shown = address(url)
        self._url, self._counted, self._pause, self._seconds = url, counted, pause, seconds
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(QUEUE)
        self._over = threading.Event()
        # A receiver on this machine is not looked for behind a proxy.
        here = urlsplit(url).hostname in LOOPBACK
        proxies = [urllib.request.ProxyHandler({})] if here else []
        self._opener = urllib.request.build_opener(_Stay(), *proxies)
        self._thread = threading.Thread(target=self._loop, name="webhook", daemon=True)
        self._thread.start()

    def add(self, alarm: Mapping[str, Any]) -> None:
        """Post one alarm soon; returns at once."""
        try:
            self._queue.put_nowait(alarm)
        except queue.Full:
            self._counted("webhook", "dropped")

    def close(self, seconds: float = 2.0) -> None:
        """End: what waits is given so many seconds."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(seconds)
        self._over.set()

    def _loop(self) -> None:
        while (alarm := self._queue.get()) is not None and not self._over.is_set():
            self._deliver(json.dumps(alarm).encode())

    def _deliver(self, body: bytes) -> None:
        problem = ""
        for number in range(TRIES):
            if number and self._over.wait(self._pause * 2 ** (number - 1)):
                return
            try:
                self._post(body)
            except _RefusedError as error:
                problem = str(error)
                break
            except Exception as error:  # whatever it is, the next alarm goes out
                problem = _reason(error)
            else:
                self._counted("webhook", "delivered")
                return
        self._counted("webhook", "failed")
        say(f"an alarm was not delivered to {self.shown}: {problem}; answering goes on")

    def _post(self, body: bytes) -> None:
        """One try.

        Raises:
            _RefusedError: the receiver will not have it, however often it is sent.
            OSError: it may have it later.
        """
        request = urllib.request.Request(  # noqa: S310 - `address` has looked at the scheme
            self._url, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in (408, 425, 429):
                raise _RefusedError(f"it answers {error.code}") from None
            raise


class _RefusedError(Exception):
    """An answer that will not change."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: an alarm goes to the host that was named, and nowhere else."""

    def redirect_request(self, *about: Any, **more: Any) -> None:
        """None: the redirect is the answer."""
        return


def address(url: str) -> str:
    """What may be shown of a webhook's address: no name, no password, no path.

    Raises:
        ConfigError: it is no http or https address.

    Example:
        >>> address("https://me:secret@example.org:8443/T0/B0/key?token=x")
        'https://example.org:8443/...'
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good, port = False, ""
    if not good or any(ord(sign) <= 32 or ord(sign) > 126 for sign in url):
        raise ConfigError("--webhook takes an http:// or https:// address, and this is none")
    return f"{parts.scheme}://{parts.hostname}{port}/..."


def _reason(error: Exception) -> str:
    """Why a try failed, without the address."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return getattr(error, "strerror", None) or type(error).__name__

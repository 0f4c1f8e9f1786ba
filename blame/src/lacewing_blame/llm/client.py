"""Questions to an OpenAI-compatible endpoint.

1. A question whose answer lies in the cache is not asked again: a broken-off run resumes.
2. Otherwise one POST to BASE/chat/completions; at most `concurrency` are under way at a time.
3. Answers 408, 425, 429 and 5xx, time-outs, broken connections and bodies that are no completion
   are tried again after a growing wait, or after as long as Retry-After says.
4. Everything else, such as a wrong key, a wrong model or nobody listening, is one clear error.

The key is that of transport.py: it goes to the named host only and is written nowhere.
"""

import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Self

from lacewing_blame.errors import ConfigError
from lacewing_blame.llm.cache import Cache
from lacewing_blame.llm.endpoint import Endpoint
from lacewing_blame.llm.replies import Passing, Reply, read_reply
from lacewing_blame.llm.transport import Transport

Messages = Sequence[Mapping[str, str]]
"""A chat: `role` and `content` of each message."""

LONGEST_WAIT = 300.0
"""Seconds; where Retry-After asks for more, the run ends and may be resumed later."""


class Client:
    """Asks one endpoint; may be used by several threads.

    Attributes:
        sent: HTTP requests so far, repeated attempts included.
        cached: Questions answered from the cache so far.
        tokens: Tokens of the answers that were not cached.

    >>> with Client(Endpoint("http://localhost:8000/v1", "model")) as client:
    ...     client.sent
    0
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.sent = self.cached = self.tokens = 0
        self._cache = Cache(endpoint.cache) if endpoint.cache is not None else None
        self._slots = threading.BoundedSemaphore(endpoint.concurrency)
        self._counting = threading.Lock()
        self._stopped = threading.Event()
        self._reason = ""
        self._transport = Transport(endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client is of no use after that."""
        self._transport.close()

    def ask(self, messages: Messages, sample: int = 0) -> Reply:
        """Put one question.

        Args:
            messages: The chat so far.
            sample: Which of several answers to the same question; each is cached on its own.

        Raises:
            ConfigError: the endpoint cannot be reached, refuses, or keeps failing. The client sends
                nothing after that; other threads get the same error.
            DataError: it cannot take this one question, such as a log longer than its context.
        """
        body = self._body(messages)
        request = {"url": self.endpoint.address(), "body": body, "sample": sample}
        if self._cache is not None and (known := self._cache.get(request)) is not None:
            with self._counting:
                self.cached += 1
            written = known.get("written")
            count = written if isinstance(written, int) else 0
            text = self._transport.clean(known["text"])  # one kept by an older version may hold it
            return Reply(text, known["tokens"], known["cut"], count)
        with self._slots:
            try:
                reply = self._clean(self._insist(json.dumps(body).encode()))
            except ConfigError as error:
                self.stop(str(error))
                raise
        with self._counting:
            self.tokens += reply.tokens
        if self._cache is not None:
            self._cache.put(request, asdict(reply))
        return reply

    def stop(self, reason: str = "the run was ended") -> None:
        """Let no further request start; those that wait for another attempt give up."""
        if not self._stopped.is_set():
            self._reason = reason
        self._stopped.set()

    def _clean(self, reply: Reply) -> Reply:
        """An answer without the key, however the server wrote it."""
        return replace(reply, text=self._transport.clean(reply.text))

    def _body(self, messages: Messages) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [{k: _sendable(v) for k, v in message.items()} for message in messages],
        }
        if self.endpoint.temperature is not None:
            body["temperature"] = self.endpoint.temperature
        if self.endpoint.max_tokens is not None:
            body["max_tokens"] = self.endpoint.max_tokens
        return body

    def _insist(self, body: bytes) -> Reply:
        """Send until there is an answer, a failure that will not pass, or no patience left."""
        for attempt in range(self.endpoint.retries + 1):
            if self._stopped.is_set():
                break
            with self._counting:
                self.sent += 1
            try:
                return read_reply(self._transport.post(body))
            except Passing as problem:
                failure = problem
            if attempt < self.endpoint.retries:
                self._stopped.wait(self._pause(attempt, failure))
        else:
            raise ConfigError(
                f"{self.endpoint.shown()} failed {self.endpoint.retries + 1} times, at last with "
                f"{failure}: answers so far are kept if there is a cache; try again later"
            )
        raise ConfigError(self._reason)

    def _pause(self, attempt: int, failure: Passing) -> float:
        """Seconds to wait before the next attempt."""
        if failure.after is None:
            # Spread out, so that several clients do not come back all at once.
            spread = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            return min(self.endpoint.backoff * 2.0**attempt * spread, LONGEST_WAIT)
        if failure.after > LONGEST_WAIT:
            raise ConfigError(
                f"{self.endpoint.shown()} asks to come back in {failure.after:.0f} s "
                f"({failure}): run the same command again then"
            )
        return failure.after


def _sendable(text: str) -> str:
    """Text without halves of surrogate pairs, which servers refuse."""
    return text.encode("utf-8", "replace").decode()

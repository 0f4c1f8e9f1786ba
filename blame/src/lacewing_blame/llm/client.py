"""Questions to an OpenAI-compatible endpoint, over the standard library's HTTP.

1. A question whose answer lies in the cache is not asked again: a broken-off run resumes.
2. Otherwise one POST to BASE/chat/completions; at most `concurrency` are under way at a time.
3. Answers 408, 425, 429 and 5xx, time-outs, broken connections and bodies that are no completion
   are tried again after a growing wait, or after as long as Retry-After says.
4. Everything else, such as a wrong key, a wrong model or nobody listening, is one clear error.

The key comes from an environment variable only, goes to the named host only (redirects are not
followed), and is written nowhere.
"""

import http.client
import json
import os
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from urllib.parse import urlsplit

from lacewing_blame.errors import ConfigError, DataError
from lacewing_blame.llm.cache import Cache
from lacewing_blame.llm.endpoint import Endpoint

Messages = Sequence[Mapping[str, str]]
"""A chat: `role` and `content` of each message."""

AGAIN = {408, 425, 429}
"""Status codes below 500 that may pass."""
TOO_MUCH = {400, 413, 422}
"""Status codes that say that this one question cannot be answered, such as one that is too long."""
LONGEST_WAIT = 300.0
"""Seconds; where Retry-After asks for more, the run ends and may be resumed later."""
LARGEST_ANSWER = 16 * 2**20
"""Bytes of a response that are read."""
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Reply:
    """One answer."""

    text: str
    """What the model wrote; empty where it wrote nothing."""
    tokens: int
    """Tokens of question and answer as the endpoint counts them; 0 where it does not."""
    cut: bool = False
    """Whether the answer ended because it grew too long."""


class _Passing(Exception):  # noqa: N818 - a state, caught in this file
    """A failure that may pass; `after` is what Retry-After said, in seconds."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


class Client:
    """Asks one endpoint; may be used by several threads.

    Attributes:
        sent: HTTP requests so far, repeated attempts included.
        cached: Questions answered from the cache so far.
        tokens: Tokens of the answers that were not cached.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.sent = self.cached = self.tokens = 0
        self._cache = Cache(endpoint.cache) if endpoint.cache is not None else None
        self._slots = threading.BoundedSemaphore(endpoint.concurrency)
        self._counting = threading.Lock()
        self._stopped = threading.Event()
        self._reason = ""
        self._headers = {"Content-Type": "application/json", **_authorization(endpoint)}
        self._opener = _opener(endpoint)

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
            return Reply(known["text"], known["tokens"], known["cut"])
        with self._slots:
            try:
                reply = self._insist(json.dumps(body).encode())
            except ConfigError as error:
                self.stop(str(error))
                raise
        with self._counting:
            self.tokens += reply.tokens
        if self._cache is not None:
            known = {"text": reply.text, "tokens": reply.tokens, "cut": reply.cut}
            self._cache.put(request, known)
        return reply

    def stop(self, reason: str = "the run was ended") -> None:
        """Let no further request start; those that wait for another attempt give up."""
        if not self._stopped.is_set():
            self._reason = reason
        self._stopped.set()

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
            try:
                return _read_reply(self._send(body))
            except _Passing as problem:
                failure = problem
            if attempt < self.endpoint.retries:
                self._stopped.wait(self._pause(attempt, failure))
        else:
            raise ConfigError(
                f"{self.endpoint.address()} failed {self.endpoint.retries + 1} times, at last with "
                f"{failure}: answers so far are kept if there is a cache; try again later"
            )
        raise ConfigError(self._reason)

    def _pause(self, attempt: int, failure: _Passing) -> float:
        if failure.after is None:
            # Spread out, so that several clients do not come back all at once.
            spread = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            return min(self.endpoint.backoff * 2.0**attempt * spread, LONGEST_WAIT)
        if failure.after > LONGEST_WAIT:
            raise ConfigError(
                f"{self.endpoint.address()} asks to come back in {failure.after:.0f} s "
                f"({failure}): run the same command again then"
            )
        return failure.after

    def _send(self, body: bytes) -> bytes:
        """One HTTP request."""
        address = self.endpoint.address()
        with self._counting:
            self.sent += 1
        request = urllib.request.Request(address, body, self._headers, method="POST")  # noqa: S310 - checked
        try:
            with self._opener.open(request, timeout=self.endpoint.timeout) as response:
                return bytes(response.read(LARGEST_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except TimeoutError as error:
            raise _Passing(f"a time-out of {self.endpoint.timeout:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _Passing(f"a time-out of {self.endpoint.timeout:g} s") from error
            if isinstance(error.reason, ConnectionResetError | BrokenPipeError):
                raise _Passing("a broken connection") from error
            why = getattr(error.reason, "strerror", None) or error.reason
            raise ConfigError(
                f"cannot reach {address} ({why}): start the server, or correct --endpoint"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise _Passing(f"a broken connection ({type(error).__name__})") from error

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """What an HTTP status other than success means."""
        said = _message(error)
        status = f"{error.code} {said}".strip()
        address = self.endpoint.address()
        if error.code >= 500 or error.code in AGAIN:
            return _Passing(status, _retry_after(error.headers.get("Retry-After")))
        if error.code in TOO_MUCH:
            return DataError(f"{address} cannot take this question: {status}")
        if error.code in (401, 403):
            key = self.endpoint.key_variable
            return ConfigError(
                f"{address} refuses the key: {status}; put a valid one into the environment "
                f"variable {key}" + ("" if "Authorization" in self._headers else ", which is unset")
            )
        if 300 <= error.code < 400:
            to = error.headers.get("Location", "elsewhere")
            return ConfigError(f"{address} redirects to {to}: give that URL as --endpoint")
        return ConfigError(f"{address} refuses: {status}; check --endpoint and --model")


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would take the key along to another host."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


def _opener(endpoint: Endpoint) -> urllib.request.OpenerDirector:
    """The way out; a server on this machine is not looked for behind a proxy."""
    handlers: list[urllib.request.BaseHandler] = [_StayHere()]
    if urlsplit(endpoint.url).hostname in LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _authorization(endpoint: Endpoint) -> dict[str, str]:
    key = os.environ.get(endpoint.key_variable, "").strip()
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"the key in {endpoint.key_variable} holds signs that no key has")
    return {"Authorization": f"Bearer {key}"}


def _sendable(text: str) -> str:
    """Text without halves of surrogate pairs, which servers refuse."""
    return text.encode("utf-8", "replace").decode()


def _read_reply(content: bytes) -> Reply:
    try:
        answer = json.loads(content)
        choice = answer["choices"][0]
        text = choice["message"].get("content") or ""
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        start = content[:60].decode("utf-8", "replace")
        raise _Passing(f"an answer that is no chat completion ({start!r})") from error
    if not isinstance(text, str):
        raise _Passing("an answer whose content is no text")
    usage = answer.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    tokens = total if isinstance(total, int) else 0
    return Reply(text, tokens, choice.get("finish_reason") == "length")


def _message(error: urllib.error.HTTPError) -> str:
    """The server's own words, in one line."""
    try:
        content = error.read(LARGEST_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    try:
        found = json.loads(content)
        inner = found.get("error", found)
        content = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
    except (ValueError, AttributeError, RecursionError):
        pass
    line = " ".join(content.split())
    return (line[:200] + "..." if len(line) > 200 else line) or str(error.reason)


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, TypeError):
        return None

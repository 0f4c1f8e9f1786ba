"""One request to an endpoint, over httpx: what it gave back, or what its failure means.

The key comes from an environment variable only and goes to the named host only: redirects are not
followed. It is written nowhere, and where a server repeats it, it is taken out of what it said.
A response is read up to a limit, and the endpoint's time-out holds for all of it: a server that
sends a byte now and then gains nothing by it.
"""

import os
import queue
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from lacewing_blame.errors import ConfigError, DataError
from lacewing_blame.llm.endpoint import Endpoint
from lacewing_blame.llm.replies import Passing, retry_after, server_words

AGAIN = {408, 425, 429}
"""Status codes below 500 that may pass."""
TOO_MUCH = {400, 413, 422}
"""Status codes that say that this one question cannot be answered, such as one that is too long."""
LARGEST_ANSWER = 16 * 2**20
"""Bytes of a response that are read."""
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Transport:
    """The way to one endpoint; may be used by several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._key = _key(endpoint)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        here = urlsplit(endpoint.url).hostname in LOOPBACK
        self._http = httpx.Client(
            headers=headers,
            timeout=endpoint.timeout,
            follow_redirects=False,
            # The client bounds what is under way; a request given up may hold its connection.
            limits=httpx.Limits(max_connections=None),
            # A server on this machine is not looked for behind a proxy.
            trust_env=not here,
            verify=_trusted(plain=here and endpoint.url.startswith("http://")),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def post(self, body: bytes) -> bytes:
        """Send one question, once; the body of the response, without the key.

        Raises:
            Passing: a failure that may pass.
            ConfigError: nobody can be reached there, or the endpoint refuses.
            DataError: it cannot take this question.
        """
        box: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

        def run() -> None:
            try:
                box.put(self._post(body, time.monotonic() + self.endpoint.timeout))
            except Exception as error:
                box.put(error)

        # A thread of its own, since headers that trickle in cannot be interrupted otherwise.
        threading.Thread(target=run, daemon=True).start()
        try:
            found = box.get(timeout=self.endpoint.timeout)
        except queue.Empty:
            raise self._late() from None
        if isinstance(found, Exception):
            raise found
        return found

    def clean(self, text: str) -> str:
        """A text without the key."""
        return text.replace(self._key, "***") if self._key else text

    def _late(self) -> Passing:
        return Passing(f"a time-out of {self.endpoint.timeout:g} s")

    def _post(self, body: bytes, until: float) -> bytes:
        try:
            with self._http.stream("POST", self.endpoint.address(), content=body) as response:
                content = _limited(response, until)
        except httpx.TimeoutException as error:
            raise self._late() from error
        except (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            raise self._unreachable(error) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Passing(f"a broken connection ({type(error).__name__})") from error
        if not response.is_success:
            raise self._refusal(response, content)
        if len(content) > LARGEST_ANSWER:
            raise Passing(f"an answer of more than {LARGEST_ANSWER:,} bytes")
        return content.replace(self._key.encode(), b"***") if self._key else content

    def _unreachable(self, error: httpx.HTTPError) -> Exception:
        """Nobody there, unless the connection broke while it was made."""
        causes = list(_causes(error))
        if any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in causes):
            return Passing("a broken connection")
        told = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
        return ConfigError(
            f"cannot reach {self.endpoint.shown()} ({self.clean(told[-1] if told else str(error))}"
            "): start the server, or correct --endpoint"
        )

    def _refusal(self, response: httpx.Response, content: bytes) -> Exception:
        """What an HTTP status other than success means."""
        code, address = response.status_code, self.endpoint.shown()
        status = self.clean(f"{code} {server_words(content) or response.reason_phrase}".strip())
        if code >= 500 or code in AGAIN:
            return Passing(status, retry_after(response.headers.get("Retry-After")))
        if code in TOO_MUCH:
            return DataError(f"{address} cannot take this question: {status}")
        if code in (401, 403):
            return ConfigError(
                f"{address} refuses the key: {status}; put a valid one into the environment "
                f"variable {self.endpoint.key_variable}" + ("" if self._key else ", which is unset")
            )
        if 300 <= code < 400:
            to = self.clean(response.headers.get("Location", "elsewhere"))
            return ConfigError(f"{address} redirects to {to}: give that URL as --endpoint")
        return ConfigError(f"{address} refuses: {status}; check --endpoint and --model")


def _limited(response: httpx.Response, until: float) -> bytes:
    """The body of a response, as far as the limit and a little more, and until a time."""
    content = b""
    for piece in response.iter_bytes():
        content += piece
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer came too slowly")
        if len(content) > LARGEST_ANSWER:
            break
    return content


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it."""
    here: BaseException | None = error
    while here is not None:
        yield here
        here = here.__cause__ or here.__context__


def _key(endpoint: Endpoint) -> str:
    key = os.environ.get(endpoint.key_variable, "").strip()
    if not (key.isascii() and (key.isprintable() or not key)):
        raise ConfigError(f"the key in {endpoint.key_variable} holds signs that no key has")
    return key


def _trusted(plain: bool) -> ssl.SSLContext:
    """Certificates that are trusted: httpx's own and this machine's; none where none is needed."""
    if plain:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context

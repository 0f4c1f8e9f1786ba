"""What every request must pass before the application sees it, and every answer carries.

A page of another site can make a browser send requests to a server on this machine, and by
rebinding its own name even read the answers. So:

    Host            only names that are ours: loopback names, or where bound elsewhere this
                    machine's name and plain addresses, which nobody can rebind
    Origin          where the browser names one it must be us; Sec-Fetch-Site must not be another
                    site's, but for following a link to the page itself
    token           where bound elsewhere: random, in the URL, then in a SameSite=Strict cookie;
                    programs may show it as a bearer, which no other site's page can do unasked
    changes         only POST, PUT, DELETE with JSON, which no form and no plain link can send
    size and time   a body is read to 256 kB and for ten seconds at most
"""

import asyncio
import hmac
import ipaddress
import json
import socket
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 256 * 1024
LONGEST_BODY = 10.0
"""Seconds to send a body in."""
CHANGING = ("POST", "PUT", "DELETE")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


Shape = Callable[[int, str, str], dict[str, Any]]
"""How a server tells an error: from its status, its kind, and one line."""


class RefusedError(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class Guard:
    """The checks, as an ASGI application around another."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, token: str | None, shape: Shape | None = None
    ) -> None:
        """Guard an application.

        Args:
            app: What is guarded.
            host: What the server is bound to.
            port: Its port.
            token: What visitors must show; None where only this machine can reach us.
            shape: How errors are told; by default with their kind and a line.
        """
        self.shape = shape or plain
        self.app, self.host, self.port, self.token = app, host, port, token
        self.cookie = f"lacewing_{port}"  # cookies are shared by all ports of a host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, read the body, and pass on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send)
        try:
            headers = _headers(scope)
            self._check(scope, headers)
            if self._redirect_token(scope):
                await self._to_cookie(scope, send)
                return
            body = await asyncio.wait_for(_read(receive, headers), LONGEST_BODY)
        except RefusedError as refusal:
            await self._refuse(send, refusal)
        except TimeoutError:
            await self._refuse(
                send, RefusedError(408, "too_slow", "the request took too long to arrive")
            )
        else:
            await self.app(scope, _again(body, receive), send)

    async def _refuse(self, send: Send, refusal: RefusedError) -> None:
        body = json.dumps(self.shape(refusal.status, refusal.kind, str(refusal))).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not self.is_ours(host):
            raise RefusedError(403, "forbidden", "this host name is not the server's: see --host")
        self._check_origin(scope, headers, host)
        if self.token is not None and not self._has_token(scope, headers):
            raise RefusedError(
                403, "forbidden", "the token is missing: open the address that lacewing printed"
            )
        method = scope["method"]
        if method not in (*CHANGING, "GET", "HEAD"):
            raise RefusedError(405, "bad_request", f"there is no {method[:10]} here")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method in CHANGING and kind != "application/json":
            raise RefusedError(415, "bad_request", "send Content-Type: application/json")

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this server."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        whole = parts.netloc == host and not (parts.username or parts.path or parts.query)
        if not whole or "@" in host or port not in (self.port, None):
            return False
        if port is None and self.port not in (80, 443):
            return False
        if name in LOOPBACK:
            return True
        if self.host in LOOPBACK:
            return False
        return name in (self.host, socket.gethostname().lower()) or _is_address(name)

    def _check_origin(self, scope: Scope, headers: Mapping[str, str], host: str) -> None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise RefusedError(403, "forbidden", "another site may not use this server")
        if origin is not None and not origin.startswith(("http://", "https://")):
            raise RefusedError(403, "forbidden", "another site may not use this server")
        site = headers.get("sec-fetch-site", "none")
        follows_link = (
            scope["method"] == "GET"
            and scope["path"] == "/"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if site not in ("none", "same-origin") and not follows_link:
            raise RefusedError(403, "forbidden", "another site may not use this server")

    def _has_token(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        assert self.token is not None
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            cookie = None
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        shown = [cookie.value if cookie else "", _query(scope).get("token", "")]
        shown += [bearer.strip()] if kind.lower() == "bearer" else []
        return any(hmac.compare_digest(s.encode(), self.token.encode()) for s in shown)

    def _redirect_token(self, scope: Scope) -> bool:
        """Whether the token stands in the URL of the page, where it would stay in the history."""
        return scope["path"] == "/" and scope["method"] == "GET" and "token" in _query(scope)

    async def _to_cookie(self, scope: Scope, send: Send) -> None:
        rest = urlencode([(k, v) for k, v in _query(scope).items() if k != "token"])
        headers = [(b"location", ("./" + (f"?{rest}" if rest else "")).encode())]
        if self.token is not None:
            value = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            headers.append((b"set-cookie", value.encode()))
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name.

    Raises:
        RefusedError: one that decides something comes twice.
    """
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in found and name in ("host", "origin", "content-type", "content-length"):
            raise RefusedError(400, "bad_request", f"two {name} headers")
        found[name] = value.decode("latin-1")
    return found


async def _read(receive: Receive, headers: Mapping[str, str]) -> bytes:
    """The body of a request.

    Raises:
        RefusedError: it is too large, or its sender is gone.
    """
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > LARGEST_BODY:
        raise RefusedError(413, "too_large", f"a request has at most {LARGEST_BODY} bytes")
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "bad_request", "the request ended before it was whole")
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise RefusedError(413, "too_large", f"a request has at most {LARGEST_BODY} bytes")
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A receive that gives a body that was read already, then what follows."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sent


def plain(status: int, kind: str, message: str) -> dict[str, Any]:
    """An error as the viewer tells it."""
    return {"error": {"kind": kind, "message": message}}


def _query(scope: Scope) -> dict[str, str]:
    try:
        text = scope.get("query_string", b"").decode("latin-1")
        return dict(parse_qsl(text, max_num_fields=20))
    except ValueError:
        return {}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

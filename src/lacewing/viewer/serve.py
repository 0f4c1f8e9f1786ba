"""Starting the server: the port, the token, the browser."""

import logging
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import uvicorn

from lacewing.errors import ConfigError
from lacewing.pages.guard import LOOPBACK, Guard
from lacewing.progress import printable, say
from lacewing.viewer.connections import Timed
from lacewing.viewer.server import application
from lacewing.viewer.state import Viewer

STATIC = Path(__file__).parent / "static"
CONNECTIONS = 600
"""Those that wait (see `connections`) and those that are answered; more are told to come again."""


class _AsText(logging.Formatter):
    """Names of folders and circuits may stand in an error: they steer no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as printable lines."""
        return printable(super().format(record))


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"text": {"()": _AsText, "fmt": "%(levelname)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "text"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}


def static_folder() -> Path:
    """Where the page's files are; LACEWING_STATIC names another copy while one is worked on."""
    return Path(os.environ.get("LACEWING_STATIC") or STATIC)


def view(
    root: Path,
    host: str,
    port: int,
    browser: bool,
    corpus: str | None = None,
    models: Sequence[str] = (),
) -> dict[str, Any]:
    """Serve a folder until interrupted.

    Args:
        root: What is served.
        host: What to bind; anything but loopback gets a token.
        port: 0 for a free one.
        browser: Whether to open the page.
        corpus: Natural text, where the model's own should not be used.
        models: Further models to trace, such as `hf:FOLDER`.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
        ArtifactError: there is no such folder.
    """
    prepare()
    viewer = Viewer(root, corpus, models)
    listening = listen(host, port)
    port = listening.getsockname()[1]
    token = token_for(host)
    app = Guard(application(viewer, static_folder()), host, port, token)
    url = address(host, port, token)
    say(f"lacewing view: {url}  (stop with Ctrl-C)")
    if token:
        say("whoever has this address can read the folder, add notes and save circuits")
    if browser:
        threading.Timer(0.5, _open, [url]).start()
    run(app, listening)
    return {"url": address(host, port, None)}


def token_for(host: str) -> str | None:
    """What visitors have to show; none where only this machine can reach us."""
    return None if host in LOOPBACK else secrets.token_urlsafe(24)


def run(app: Guard, listening: socket.socket) -> None:
    """Answer until interrupted."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=LOGGING,
            log_level="warning",
            access_log=False,
            http=Timed,
            ws="none",
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
        )
    )
    server.run(sockets=[listening])


def prepare() -> None:
    """Set this process up to answer quickly while a browser works on the same machine.

    Half of the cores: threads that wait for each other at every small step lose far more to a busy
    neighbour than they win on an idle machine.
    """
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))


def address(host: str, port: int, token: str | None) -> str:
    """The page's URL."""
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def listen(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises:
        ConfigError: it is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(256)  # so that whoever reads the address waits instead of being refused
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another --port, or "
            "--port 0 for a free one"
        ) from error
    return listening


def _open(url: str) -> None:
    if not webbrowser.open(url):
        say("no browser was found: open the address above yourself")

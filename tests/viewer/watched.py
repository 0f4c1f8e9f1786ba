"""A monitor that answers, served from this process, for the tests of serving."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from lacewing.model.store import Model
from lacewing.pages.guard import Guard
from lacewing.viewer import serve
from lacewing.viewer.watched.answering import shape
from lacewing.viewer.watched.app import application
from lacewing.watch.monitor import Monitor
from lacewing.watch.serving.service import Service
from watch.live_text import known, lines

NAME = "micro"


@dataclass
class Served:
    """A server, and what it holds."""

    service: Service
    port: int

    def client(self, **options: Any) -> httpx.Client:
        """Somebody who asks it."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, **options)

    def ask(self, **asked: Any) -> httpx.Response:
        """One request for completions."""
        with self.client() as client:
            return client.post("/v1/completions", json={"model": self.service.name} | asked)

    def figures(self) -> dict[str, float]:
        """What Prometheus would read, by name and labels."""
        with self.client() as client:
            page = client.get("/metrics").text
        rows = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    def feed(self, count: int, seed: int = 2) -> None:
        """Have it read some lines: a look or more for every hundred."""
        text = lines(count, seed)
        for begin in range(0, count, 16):
            answer = self.ask(prompt=text[begin : begin + 16], max_tokens=0)
            assert answer.status_code == 200, answer.text


@contextmanager
def serving(
    after: Model | None = None,
    alarms: Path | None = None,
    webhook: str | None = None,
    static: Path = serve.STATIC,
) -> Iterator[Served]:
    """The micro model with its monitor; or another version of it that answers."""
    model, circuit, reference = known()
    monitor = Monitor(model, [circuit], reference, after=after, quiet=True)
    service = Service(monitor, alarms, webhook)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = Guard(application(service, static), "127.0.0.1", port, None, shape)
    config = uvicorn.Config(app, http=serve.Timed, log_level="warning", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Served(service, port)
    finally:
        running.should_exit = True
        thread.join(timeout=20)

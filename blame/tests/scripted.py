"""An OpenAI-compatible endpoint on this machine that answers by a script, over real HTTP."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lacewing_blame.events import Event, Label, Trace


@dataclass(frozen=True)
class Answer:
    """What the server sends back."""

    text: str = ""
    """The model's words; sent as a chat completion."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Sent instead of a chat completion."""
    tokens: int = 10
    finish: str = "stop"
    hang_up: bool = False
    """Close the connection without a word."""

    def body(self) -> bytes:
        """The body of the response."""
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.text}}).encode()
        choice = {"message": {"content": self.text}, "finish_reason": self.finish}
        return json.dumps({"choices": [choice], "usage": {"total_tokens": self.tokens}}).encode()


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def user(self) -> str:
        """The question itself."""
        return str(self.body["messages"][-1]["content"])


Script = Callable[[Asked, int], Answer]
"""From a request and its number, counted from 0, to the answer."""


@dataclass
class Server:
    """A running endpoint and what it was asked."""

    url: str
    asked: list[Asked]

    def questions(self) -> list[str]:
        """The questions in order of arrival."""
        return [request.user for request in self.asked]


def in_turn(*answers: Answer | str) -> Script:
    """A script that gives answers in order and repeats the last one."""
    listed = [a if isinstance(a, Answer) else Answer(a) for a in answers]
    return lambda _asked, number: listed[min(number, len(listed) - 1)]


@contextmanager
def serving(script: Script) -> Iterator[Server]:
    """An endpoint that runs while the block does."""
    asked: list[Asked] = []
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # head and body in one packet; apart, the second would wait for an answer

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            request = Asked(self.path, dict(self.headers.items()), json.loads(content))
            with counting:
                number = len(asked)
                asked.append(request)
            answer = script(request, number)
            if answer.hang_up:
                return
            body = answer.body()
            try:
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client has given up, as some tests want

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}/v1", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def small_trace(
    number: int = 6,
    name: str = "run",
    agents: Sequence[str] = ("Planner", "Coder", "Checker"),
    expected: str | None = "the-right-answer",
) -> Trace:
    """A log whose step i says `word-i`, its agents taking turns; labelled at its last step."""
    events = tuple(
        Event(i, agents[i % len(agents)], f"word-{i} of {name}.", role=f"{agents[i % len(agents)]}")
        for i in range(number)
    )
    label = Label(events[-1].agent, number - 1, "the-secret-label-reason")
    return Trace(name, "Find the word.", events, "jsonl", expected=expected, label=label)

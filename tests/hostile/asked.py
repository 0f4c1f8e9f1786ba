"""A request as anybody may send it, answered by a model that is served with its monitor."""

import asyncio
import functools
import json
from pathlib import Path
from typing import Any

from hostile.seen import say
from lacewing.artifacts.files import read_bytes

PORT = 8518
BASE = f"http://127.0.0.1:{PORT}"
ERROR = {"message", "type", "param", "code", "kind"}


def answered(work: Path) -> Any:
    """What comes back for `asked.json`: texts and what was decided, or a refusal."""
    body = read_bytes(Path("asked.json"), most=2**20)
    status, text = asyncio.run(_sent(application(), body))
    if text.startswith("data: "):
        parts = [part.removeprefix("data: ") for part in text.split("\n\n") if part]
        assert parts[-1] == "[DONE]", parts[-1]
        return [json.loads(part)["choices"] for part in parts[:-1]]
    answer = json.loads(text)
    if status == 200:
        return [answer["choices"], answer["usage"]]
    assert status < 500, text
    assert answer["error"].keys() == ERROR, text
    raise SystemExit(say(f"{status} {answer['error']['message']}"))


async def _sent(app: Any, body: bytes) -> tuple[int, str]:
    """The answer, through the guard and all that stands behind it."""
    import httpx

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=60) as client:
        headers = {"Content-Type": "application/json"}
        answer = await client.post("/v1/completions", content=body, headers=headers)
    return answer.status_code, answer.text


@functools.cache
def application() -> Any:
    """The server of the material's run, made once: requests are what is attacked here."""
    from lacewing.circuit.circuit import Circuit
    from lacewing.model.store import load
    from lacewing.pages.guard import Guard
    from lacewing.viewer.serve import STATIC
    from lacewing.viewer.watched.answering import shape
    from lacewing.viewer.watched.app import application as routes
    from lacewing.watch.monitor import Monitor
    from lacewing.watch.reference import Reference
    from lacewing.watch.serving.service import Service

    model, circuits = load("run"), [Circuit.load("circuit")]
    usual = Reference.load("watched", model, circuits)
    service = Service(Monitor(model, circuits, usual, quiet=True))
    return Guard(routes(service, STATIC), "127.0.0.1", PORT, None, shape)

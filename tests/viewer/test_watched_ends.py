"""Whatever was written is watched: where turns do not come, and when the server closes."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import Request

from lacewing.viewer.server import INTERNAL
from lacewing.viewer.turns import LONGEST_WAIT, BusyError, Turns
from lacewing.viewer.watched.answering import Answering
from lacewing.viewer.watched.asked import Asked
from lacewing.watch.monitor import Monitor
from lacewing.watch.serving.service import Service
from viewer.watched import serving
from watch.live_text import changed, known
from watch.test_monitor import cut


class Crowded(Turns):
    """Once so many turns were had, nobody gets one who would not wait for ever."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.left = turns

    @contextmanager
    def person(self, seconds: int | float | None = LONGEST_WAIT) -> Iterator[None]:
        """One turn."""
        self.left -= 1
        if self.left < 0 and seconds is not None:
            raise BusyError("the server is busy with other requests: try again in a moment")
        with super().person(seconds):
            yield


def service() -> Service:
    """The micro model with its monitor."""
    model, circuit, reference = known()
    return Service(Monitor(model, [circuit], reference, quiet=True))


def streamed(answering: Answering, **asked: Any) -> list[Any]:
    """The events of one request; then everything ends, as when the server closes."""
    request = Request({"type": "http", "method": "POST", "headers": []}, receive=asyncio.Future)
    body = Asked(model=answering.service.name, stream=True, **asked)

    async def run() -> list[Any]:
        found = [event async for event in await answering.stream(body, request)]
        await asyncio.wait_for(answering.finish(), 30)
        return found

    events = [event.decode().removeprefix("data: ").strip() for event in asyncio.run(run())]
    return [event if event == "[DONE]" else json.loads(event) for event in events]


@pytest.mark.parametrize("turns", [6, 5])
def test_what_was_written_is_watched_though_no_turn_comes(turns: int) -> None:
    """Six turns for six tokens and none to read them in, or one fewer: all is read in the end."""
    crowded = service()
    *sent, last = streamed(
        Answering(crowded, Crowded(turns)), prompt="Xkfm=", max_tokens=6, temperature=0
    )
    assert last["error"]["type"] == "server_error"
    assert "the server is busy" in last["error"]["message"]
    text = "".join(event["choices"][0]["text"] for event in sent)
    assert text
    assert crowded.standing["tokens"] == 5 + turns
    assert crowded.standing["looks"] == 1


def test_an_error_of_its_own_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients see nothing of our insides; the log does."""
    broken = service()

    def fails(*_: Any) -> None:
        raise RuntimeError("tensor at /home/secret")

    monkeypatch.setattr(broken, "read", fails)
    *_, last = streamed(Answering(broken, Turns()), prompt="Xkfm=", max_tokens=2)
    assert last["error"]["message"] == INTERNAL
    assert "secret" not in json.dumps(last)
    assert "tensor at /home/secret" in caplog.text


def test_closing_looks_at_the_rest() -> None:
    """Though it is less than a look; the fixed prompts tell of a weight that went since."""
    with serving() as served:
        assert served.ask(prompt="Xkfm=", max_tokens=0).status_code == 200
        assert served.service.standing["tokens"] == 0
    standing = served.service.standing
    assert (standing["tokens"], standing["looks"], standing["alarms"]) == (5, 1, 0)
    model = changed(lambda _: None)
    with serving(model) as served:
        assert served.ask(prompt="Xkfm=", max_tokens=0).status_code == 200
        assert served.service.standing["alarms"] == 0
        cut(model)
    (alarm,) = served.service.alarms()
    assert (alarm["cause"], alarm["seen_by"]) == ("model", "probe")


def test_a_temperature_next_to_nothing_is_greedy() -> None:
    """As clients of OpenAI's format expect: no error, and the likeliest tokens."""
    with serving() as served:
        asked = {"prompt": "Xkfm=", "max_tokens": 6, "seed": 3}
        greedy = served.ask(**asked, temperature=0).json()["choices"][0]["text"]
        for nearly in (1e-38, 1e-300):
            for top_p in (1.0, 0.5):
                answer = served.ask(**asked, temperature=nearly, top_p=top_p)
                assert answer.status_code == 200
                assert answer.json()["choices"][0]["text"] == greedy

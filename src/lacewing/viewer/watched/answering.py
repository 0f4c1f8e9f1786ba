"""Answers to a request for completions: token by token, one request's turn after another's.

A token is drawn in a thread, when its turn has come, so that several requests go on side by side.
Where the client is gone, the writing stops, and what was written by then is read by the monitor as
everything else is.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from lacewing.viewer.jobs import TooManyError
from lacewing.viewer.server import INTERNAL
from lacewing.viewer.turns import LONGEST_WAIT, BusyError, Turns
from lacewing.viewer.watched.asked import Asked, RefusalError
from lacewing.watch.serving.service import Service
from lacewing.watch.serving.writing import Drawn, Writing

OPEN = 64
"""Requests that are answered at a time; more are told to come again."""
ALARMS = 5
"""The last alarms that go with an answer."""
GONE = "499"
"""Status under which a request is counted whose client hung up."""
ENDING = 0.02
"""Seconds between two glances at whether everything has ended, when the server closes."""
LOG = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Part:
    """A piece of one choice."""

    index: int
    text: str
    logprobs: dict[str, Any] | None = None
    ends: str | None = None
    read: dict[str, Any] | None = None
    """With the last piece, what the monitor found in it."""


class Answering:
    """All requests that are being answered."""

    def __init__(self, service: Service, turns: Turns) -> None:
        self.service, self.turns, self._open = service, turns, 0
        self._left: set[asyncio.Future[Any]] = set()

    async def whole(self, asked: Asked, request: Request) -> dict[str, Any] | None:
        """The answer in one piece; none where nobody is there any more to have it."""
        begun, prompts = time.monotonic(), self._prompts(asked)
        choices: dict[int, dict[str, Any]] = {}
        counts: list[int] = []
        async with aclosing(self._parts(asked, prompts, request, counts)) as parts:
            async for part in parts:
                one = choices.setdefault(part.index, {"text": "", "index": part.index})
                one["text"] += part.text
                one["logprobs"] = _joined(one.get("logprobs"), part.logprobs)
                one["finish_reason"] = part.ends
                if part.read is not None:
                    one["lacewing"] = part.read
        gone = any(one["finish_reason"] is None for one in choices.values())
        gone |= len(choices) < len(prompts) * asked.count
        self._count(GONE if gone else "200", begun, prompts, counts)
        if gone:
            return None
        return self._head() | {
            "choices": [choices[index] for index in sorted(choices)],
            "usage": _usage(prompts, counts),
            "lacewing": self._standing(),
        }

    async def stream(self, asked: Asked, request: Request) -> AsyncIterator[bytes]:
        """The answer as events; checks what can be refused before the first of them."""
        return self._events(asked, self._prompts(asked), request)

    async def _events(
        self, asked: Asked, prompts: list[list[int]], request: Request
    ) -> AsyncIterator[bytes]:
        begun, counts, status = time.monotonic(), list[int](), GONE
        head, last = self._head(), len(prompts) * asked.count - 1
        more = asked.stream_options is not None and asked.stream_options.include_usage
        try:
            async with aclosing(self._parts(asked, prompts, request, counts)) as parts:
                async for part in parts:
                    choice = {"text": part.text, "index": part.index, "logprobs": part.logprobs}
                    choice["finish_reason"] = part.ends
                    chunk = head | {"choices": [choice]} | ({"usage": None} if more else {})
                    if part.read is not None:
                        choice["lacewing"] = part.read
                    if part.ends is not None and part.index == last:
                        chunk["lacewing"], status = self._standing(), "200"
                    yield _event(chunk)
            if status != GONE:
                if more:
                    yield _event(head | {"choices": [], "usage": _usage(prompts, counts)})
                yield b"data: [DONE]\n\n"
        except (BusyError, TooManyError) as problem:  # 200 was sent already
            status = "503"
            yield _event(shape(503, "busy", str(problem)))
        except Exception:
            status = "500"
            LOG.exception("a stream of completions ended")
            yield _event(shape(500, "internal", INTERNAL))
        finally:
            self._count(status, begun, prompts, counts)

    async def _parts(
        self, asked: Asked, prompts: list[list[int]], request: Request, counts: list[int]
    ) -> AsyncGenerator[Part, None]:
        """Every choice piece by piece; `counts` gets the tokens written for each."""
        if self._open >= OPEN:
            raise TooManyError(f"{OPEN} requests are being answered: try again in a moment")
        self._open += 1
        decode, index = self.service.monitor.model.tokenizer.decode, -1
        try:
            for prompt in prompts:
                for wish in asked.wishes():
                    index += 1
                    counts.append(0)
                    writing = self.service.begin(prompt, wish)
                    echoed = decode(prompt) if asked.echo else ""
                    telling = Telling(self.service, len(echoed), asked.logprobs)
                    if echoed or asked.echo:
                        known = await self._turn(writing.prompt_odds) if telling.wanted else []
                        yield Part(index, echoed, telling.told(known, at=0))
                    try:
                        async with aclosing(self._one(writing, telling, index, request)) as parts:
                            async for part in parts:
                                yield part
                    finally:
                        counts[-1] = len(writing.drawn)
                    if writing.ends is None:
                        return
        finally:
            self._open -= 1

    async def _one(
        self, writing: Writing, telling: "Telling", index: int, request: Request
    ) -> AsyncGenerator[Part, None]:
        """One choice; ends early where the client is gone."""
        read = False

        def watched() -> dict[str, Any]:
            nonlocal read
            read = True  # only now: its turn may never come, or the client go while it waits
            return self.service.read(writing)

        try:
            told, held = 0, ""
            while writing.ends is None:
                if await request.is_disconnected():
                    return
                held += await self._turn(writing.step)
                if held and writing.ends is None:
                    yield Part(index, held, telling.told(writing.drawn[told:]))
                    told, held = len(writing.drawn), ""
            found = await self._turn(watched)
            rest = telling.told(writing.drawn[told:])
            yield Part(index, held, rest, writing.ends, found)
        finally:
            if not read:
                self._read_later(writing)

    async def finish(self) -> None:
        """Wait until everything is read that was written; then the monitor looks at the rest."""
        while self._open or self._left:
            await asyncio.sleep(ENDING)
        await self._turn(self.service.finish, seconds=None)

    async def _turn(
        self, call: Any, *given: Any, seconds: int | float | None = LONGEST_WAIT
    ) -> Any:
        """Compute something in a thread, when its turn has come; none: however long that takes."""

        def run() -> Any:
            with self.turns.person(seconds):
                return call(*given)

        return await run_in_threadpool(run)

    def _read_later(self, writing: Writing) -> None:
        """Have the monitor read what was written until the client hung up, or had to go."""
        work = asyncio.ensure_future(self._turn(self.service.read, writing, seconds=None))
        self._left.add(work)  # the loop itself holds on to none
        work.add_done_callback(self._left.discard)

    def _prompts(self, asked: Asked) -> list[list[int]]:
        """The prompts' tokens.

        Raises:
            RefusalError: another model is asked for, or what it asks cannot be done.
        """
        if asked.model != self.service.name:
            raise RefusalError(
                f"there is no model {asked.model[:100]!r} here; there is {self.service.name}",
                "model",
                "model_not_found",
                404,
            )
        return asked.prompts(self.service.monitor.model)

    def _head(self) -> dict[str, Any]:
        return {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self.service.name,
            "system_fingerprint": self.service.monitor.model.id,
        }

    def _standing(self) -> dict[str, Any]:
        """Where the monitor stands, with every answer."""
        now = self.service.standing
        told = {key: now[key] for key in ("tokens", "evidence", "run_length", "changed")}
        return told | {"alarms": now["alarms"], "last_alarms": self.service.alarms(ALARMS)}

    def _count(
        self, status: str, begun: float, prompts: list[list[int]], counts: list[int]
    ) -> None:
        seconds = time.monotonic() - begun
        self.service.metrics.answered(status, seconds, sum(map(len, prompts)), sum(counts))


class Telling:
    """The odds of one choice, in OpenAI's format."""

    def __init__(self, service: Service, offset: int, likeliest: int | None) -> None:
        self._token = service.monitor.model.tokenizer.token
        self.wanted, self._at = likeliest is not None, offset

    def told(self, drawn: Sequence[Drawn], at: int | None = None) -> dict[str, Any] | None:
        """Of some tokens: their texts, odds, and where in the text each begins."""
        if not self.wanted:
            return None
        begin = self._at if at is None else at
        texts, offsets = [self._token(one.token) for one in drawn], []
        for text in texts:
            offsets.append(begin)
            begin += len(text)
        if at is None:
            self._at = begin
        return {
            "tokens": texts,
            "token_logprobs": [_round(one.logprob) for one in drawn],
            "top_logprobs": [
                {self._token(t): _round(p) for t, p in one.likeliest} or None for one in drawn
            ],
            "text_offset": offsets,
        }


def shape(
    status: int, kind: str, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """An error as OpenAI tells it; `kind` is what the viewer's page reads."""
    types = {404: "invalid_request_error", 429: "rate_limit_error", 403: "permission_error"}
    named = types.get(status, "server_error" if status >= 500 else "invalid_request_error")
    line = " ".join(message.split())[:1000]
    kind = "not_found" if status == 404 else kind
    told = {"message": line, "type": named, "param": param, "code": code or kind}
    return {"error": told | {"kind": kind}}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _joined(first: dict[str, Any] | None, second: dict[str, Any] | None) -> dict[str, Any] | None:
    if first is None or second is None:
        return first or second
    return {key: first[key] + second[key] for key in second}


def _usage(prompts: list[list[int]], counts: list[int]) -> dict[str, int]:
    asked, written = sum(map(len, prompts)), sum(counts)
    return {
        "prompt_tokens": asked,
        "completion_tokens": written,
        "total_tokens": asked + written,
    }


def _event(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()

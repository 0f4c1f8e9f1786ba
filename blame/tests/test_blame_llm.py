"""Many logs at once: order, resuming, and what one log's failure does to the others."""

import threading
from collections import Counter
from pathlib import Path

import pytest

from lacewing_blame.errors import ConfigError, DataError
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.endpoint import Endpoint
from lacewing_blame.llm.many import attribute_all
from scripted import Answer, Asked, Script, in_turn, serving, small_trace

TRACES = [small_trace(4, f"run{number}") for number in range(8)]


def client(url: str, cache: Path | None = None, concurrency: int = 4, retries: int = 0) -> Client:
    """A client that does not wait."""
    return Client(
        Endpoint(url, "m", backoff=0.0, retries=retries, concurrency=concurrency, cache=cache)
    )


def about(asked: Asked) -> int:
    """Which log a question is about."""
    return next(n for n in range(len(TRACES)) if f"of run{n}." in asked.user)


def naming(asked: Asked) -> Answer:
    """A different step for neighbouring logs."""
    at = about(asked) % 4
    agent = TRACES[0].events[at].agent
    return Answer(f'{{"agent": "{agent}", "step": {at}}}')


def test_results_keep_their_order() -> None:
    """Answers that arrive in the opposite order still belong to their logs."""
    given = [threading.Event() for _ in range(5)]
    given[4].set()

    def script(asked: Asked, _number: int) -> Answer:
        log = about(asked)
        # Of the first four, the last one is answered first.
        assert given[min(log + 1, 4)].wait(30)
        answer = naming(asked)
        given[min(log, 4)].set()
        return answer

    with serving(script) as server:
        found = attribute_all(TRACES, "all-at-once", client(server.url), shown=False)
    assert [trace.id for trace in TRACES] == [one.trace for one in found]
    assert [number % 4 for number in range(8)] == [one.step for one in found]


@pytest.mark.parametrize("method", ["all-at-once", "step-by-step", "binary-search", "hybrid"])
def test_interrupted_run_resumes(method: str, tmp_path: Path) -> None:
    """After a failure the same command asks only what was not answered, and ends the same."""

    def well(asked: Asked, _number: int) -> Answer:
        if "second half" in asked.user:
            return Answer('{"half": "second"}')
        if "newest step" in asked.user:
            return Answer("yes" if "word-1 of" in asked.user else "no")
        return naming(asked)

    def failing(after: int) -> Script:
        return lambda asked, number: Answer("down", 500) if number >= after else well(asked, number)

    with serving(well) as server:
        whole = attribute_all(TRACES, method, client(server.url), shown=False)
        needed = Counter(server.questions())
    # Every server has a port of its own, so the cache must see one address for both runs.
    broken = [True]

    def twice(asked: Asked, number: int) -> Answer:
        return failing(5)(asked, number) if broken[0] else well(asked, number)

    with serving(twice) as server:
        with pytest.raises(ConfigError, match="failed 1 times, at last with 500 down"):
            attribute_all(TRACES, method, client(server.url, tmp_path, concurrency=1), shown=False)
        answered = server.questions()[:5]
        before = len(server.asked)
        broken[0] = False
        resumed = attribute_all(TRACES, method, client(server.url, tmp_path), shown=False)
        later = server.questions()[before:]
        assert whole == resumed
        assert needed == Counter(answered) + Counter(later)
        # A third run asks nothing at all.
        before = len(server.asked)
        assert whole == attribute_all(TRACES, method, client(server.url, tmp_path), shown=False)
        assert before == len(server.asked)


def test_log_too_long_for_the_endpoint() -> None:
    """A log that the endpoint cannot take is no prediction with a note; the others go on."""

    def script(asked: Asked, _number: int) -> Answer:
        return Answer("context exceeded", 400) if about(asked) == 2 else naming(asked)

    with serving(script) as server:
        found = attribute_all(TRACES, "all-at-once", client(server.url), shown=False)
    assert [0, 1, None, 3, 0, 1, 2, 3] == [one.step for one in found]
    assert (None, False, ()) == (found[2].agent, found[2].abstained, found[2].ranking)
    [note] = found[2].notes
    assert "400 context exceeded: no prediction" in note


def test_every_log_refused() -> None:
    """If the endpoint can take none of the logs, that is the error, not a score of nought."""
    with (
        serving(in_turn(Answer("unknown parameter", 400))) as server,
        pytest.raises(DataError, match="400 unknown parameter"),
    ):
        attribute_all(TRACES, "all-at-once", client(server.url), shown=False)


def test_failure_stops_the_rest() -> None:
    """A wrong key ends the run; questions that had not started are never sent."""
    with (
        serving(in_turn(Answer("bad key", 401))) as server,
        pytest.raises(ConfigError, match="refuses the key"),
    ):
        attribute_all(TRACES, "all-at-once", client(server.url, concurrency=1), shown=False)
    assert 1 == len(server.asked)

"""Many logs at once, results in the order of the logs."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from lacewing_blame.attribution import Attribution
from lacewing_blame.errors import DataError
from lacewing_blame.events import Trace
from lacewing_blame.llm.client import Client
from lacewing_blame.llm.methods import attribute
from lacewing_blame.llm.prompts import Options
from lacewing_blame.progress import progress


def attribute_all(
    traces: Sequence[Trace],
    method: str,
    client: Client,
    options: Options | None = None,
    priors: Sequence[Attribution] | None = None,
    shown: bool = True,
) -> list[Attribution]:
    """Ask about every log, several at a time.

    A log that the endpoint cannot take, such as one longer than its context, gets no prediction and
    a note, so that it counts as wrong; if it can take none of them, that is the error. Whatever
    else goes wrong ends the whole run: its answers lie in the cache, and the same command resumes.

    Args:
        traces: The runs.
        method: A name in `METHODS`.
        client: Whom to ask.
        options: What the questions contain.
        priors: For rerank, the ranking of every run; by default the shipped ranker's.
        shown: Whether to show the progress.

    Raises:
        ConfigError: as `attribute`.
        DataError: the endpoint can take none of the logs.

    >>> from lacewing_blame.events import conversation
    >>> from lacewing_blame.llm.endpoint import Endpoint
    >>> trace = conversation("How many?", ("Ann", "I assume 4."), ("Bob", "Thanks, 4."))
    >>> from lacewing_blame.llm.replies import Reply
    >>> class Scripted(Client):
    ...     def ask(self, messages, sample=0):
    ...         return Reply('{"agent": "Ann", "step": 0}', 9)
    >>> client = Scripted(Endpoint("http://localhost:8000/v1", "m"))
    >>> attribute_all([trace], "all-at-once", client, shown=False)[0].agent
    'Ann'
    """
    found: dict[int, Attribution] = {}
    refused: list[DataError] = []
    pool = ThreadPoolExecutor(client.endpoint.concurrency)
    try:
        waiting = {
            pool.submit(
                attribute, trace, method, client, options, priors[at] if priors else None
            ): at
            for at, trace in enumerate(traces)
        }
        with progress(f"asking {client.endpoint.model}", len(traces), "log", shown) as bar:
            for done in as_completed(waiting):
                at = waiting[done]
                found[at] = _result(done, traces[at], method, refused)
                bar.update(len(found))
    except BaseException:
        client.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    if refused and len(refused) == len(traces):
        raise refused[0]
    return [found[at] for at in range(len(traces))]


def _result(
    done: Future[Attribution], trace: Trace, method: str, refused: list[DataError]
) -> Attribution:
    try:
        return done.result()
    except DataError as error:
        refused.append(error)
        note = f"{error}: no prediction"
        return Attribution(trace.id, method, None, None, False, (), notes=(note,))

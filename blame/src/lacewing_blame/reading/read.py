"""From a log file of any known format to a `Trace`.

A file is one JSON document or one JSON object per line; the latter is read line by line. What
describes the run may stand beside the records, under these names:

    task      question, task, query, instruction         expected  ground_truth, expected, answer
    group     question_ID, question_id, group, task_id   succeeded is_correct, is_corrected, ...
    label     mistake_agent with mistake_step, or label: {agent, step, reason}
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Trace
from lacewing_blame.formats import FORMATS, otel
from lacewing_blame.formats.common import Log, is_person
from lacewing_blame.reading.labels import read_label
from lacewing_blame.reading.parse import open_log

__all__ = ["FORMATS", "read", "read_folder"]

_TASK = ("question", "task", "query", "instruction")
_EXPECTED = ("ground_truth", "expected", "expected_answer")
_GROUP = ("question_ID", "question_id", "group", "task_id")
_OUTCOME = ("succeeded", "is_correct", "is_corrected", "success")
_ENDINGS = (".json", ".jsonl", ".ndjson")
_LARGEST = 2**30
"""Bytes of the largest log that is read."""


def read(path: Path, format: str | None = None) -> Trace:
    r"""Read the log of one run.

    Args:
        path: A JSON or JSON Lines file.
        format: One of `FORMATS`; detected where not given.

    Raises:
        DataError: the file is missing, not JSON, cut off, not UTF-8, or of no known format; nobody
            acts in it, parents form a cycle, or its label lies outside of it.

    >>> import tempfile
    >>> text = '{"agent": "Ann", "text": "It is 4."}\n{"agent": "Bob", "text": "Thanks."}\n'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "run.jsonl").write_text(text)
    ...     trace = read(Path(folder) / "run.jsonl")
    >>> trace.id, trace.format, trace.agents()
    ('run', 'jsonl', ('Ann', 'Bob'))
    """
    if format is not None and format not in FORMATS:
        raise DataError(f"no format is called {format!r}; known are {', '.join(FORMATS)}")
    try:
        with path.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > _LARGEST:
                raise DataError(f"{path} has {size:,} bytes; a log has at most {_LARGEST:,}")
            log = open_log(path.name, file)
            return _trace(path.stem, log, format or _detected(log))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a log file") from error


def read_folder(path: Path) -> list[Trace]:
    """Read all logs below a folder, in natural order; ids are their paths in it.

    Raises:
        DataError: there is no log, or one cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("10", "9"):
    ...         file = Path(folder) / f"{name}.json"
    ...         _ = file.write_text('[{"agent": "Ann", "text": "4"}]')
    ...     [trace.id for trace in read_folder(Path(folder))]
    ['9', '10']
    """
    files = [f for f in path.rglob("*") if f.suffix.lower() in _ENDINGS and f.is_file()]
    files = [f for f in files if not any(p.startswith(".") for p in f.relative_to(path).parts)]
    if not files:
        raise DataError(f"{path} holds no log; logs end in {', '.join(_ENDINGS)}")
    files.sort(key=lambda f: [(len(n), n) for n in re.split(r"(\d+)", str(f.relative_to(path)))])
    return [replace(read(f), id=f.relative_to(path).with_suffix("").as_posix()) for f in files]


def _detected(log: Log) -> str:
    for name, module in FORMATS.items():
        if module.matches(log):
            return name
    keys = ", ".join(sorted(log.head[0])[:8]) if log.head else "none"
    raise DataError(
        f"{log.name} is of no known format: its records have the fields {keys}; "
        f"known are {', '.join(FORMATS)}"
    )


def _trace(id: str, log: Log, format: str) -> Trace:
    try:
        events = tuple(FORMATS[format].events(log))
    except (AttributeError, TypeError, KeyError) as error:
        raise DataError(
            f"{log.name} is not as {format} writes logs ({type(error).__name__}: {error!s:.80})"
        ) from error
    if not events:
        raise DataError(f"{log.name} has no steps; give the log of a run that did something")
    _check(log.name, events)
    header = log.header
    task = _first(header, _TASK) or _asked(events, format)
    label, notes = read_label(log.name, header, events)
    outcome = next((header[key] for key in _OUTCOME if isinstance(header.get(key), bool)), None)
    return Trace(
        id=str(header.get("run_id") or id),
        task=task,
        events=events,
        format=format,
        expected=_first(header, _EXPECTED),
        group=_first(header, _GROUP) or task or None,
        succeeded=outcome,
        label=label,
        notes=notes,
    )


def _check(name: str, events: tuple[Event, ...]) -> None:
    """Refuse logs in which nobody acts, steps share a number, or parents run in circles."""
    if not any(event.blamable for event in events):
        who = ", ".join(sorted({event.agent for event in events})[:5])
        raise DataError(f"{name} has no agents: only {who} act in it; name who did each step")
    parents = {event.index: event.parent for event in events}
    if len(parents) < len(events):
        raise DataError(f"{name} gives two steps the same index; number them anew")
    settled: set[int] = set()
    for start in parents:
        chain: dict[int, None] = {}
        here: int | None = start
        while here is not None and here not in settled:
            if here in chain:
                circle = " -> ".join(map(str, [*list(chain)[-4:], here]))
                raise DataError(f"{name}: parents form a cycle ({circle}); a step follows its own")
            chain[here] = None
            here = parents.get(here)
        settled |= chain.keys()


def _first(header: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of these fields that is given, as text."""
    found = next((header[key] for key in keys if header.get(key) not in (None, "")), None)
    if found is None:
        return None
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _asked(events: tuple[Event, ...], format: str) -> str:
    """The task, where only the conversation tells: what a person said first."""
    if format == "otel":
        return otel.task(events)
    said = (e.text.strip() for e in events[:4] if not e.blamable and is_person(e.agent))
    return next((text for text in said if text), "")

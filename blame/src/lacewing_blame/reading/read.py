"""From a log file of any known format to a `Trace`.

A file is one JSON document or one JSON object per line; the latter is read line by line. What
describes the run may stand beside the records, under these names:

    task      question, task, query, instruction         expected  ground_truth, expected, answer
    group     question_ID, question_id, group, task_id   succeeded is_correct, is_corrected, ...
    label     mistake_agent with mistake_step, or label: {agent, step, reason}
"""

import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from lacewing_blame.errors import DataError
from lacewing_blame.events import Event, Trace
from lacewing_blame.formats import FORMATS, inspect, otel
from lacewing_blame.formats.common import Log, is_person
from lacewing_blame.reading.evals import is_eval, listed, samples
from lacewing_blame.reading.labels import read_label
from lacewing_blame.reading.parse import open_log

__all__ = ["FORMATS", "read", "read_folder"]

_TASK = ("question", "task", "query", "instruction")
_EXPECTED = ("ground_truth", "expected", "expected_answer")
_GROUP = ("question_ID", "question_id", "group", "task_id")
_OUTCOME = ("succeeded", "is_correct", "is_corrected", "success")
EARLY = 4096
"""Bytes within which an eval log of Inspect says that it is one."""
_ENDINGS = (".json", ".jsonl", ".ndjson", ".eval")
_LARGEST = 2**30
"""Bytes of the largest log that is read."""
_MISSHAPEN = (TypeError, AttributeError, KeyError, IndexError, ValueError, OverflowError)
"""What comes of a text where an object belongs, deep inside: no format checks every field."""


def read(path: Path, format: str | None = None) -> Trace:
    r"""Read the log of one run.

    Args:
        path: A JSON or JSON Lines file, or an eval log of Inspect; where that holds several
            samples, FILE#SAMPLE names one.
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
    path, _, wanted = _parted(path)
    try:
        found = _samples(path)
        if found is not None:
            return _sample(path, found, wanted)
        with path.open("rb") as file:
            _check_size(path, file)
            log = open_log(path.name, file)
            return _trace(path.stem, log, format or _detected(log))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a log file") from error
    except _MISSHAPEN as error:
        raise DataError(f"{path} is not shaped as its format says ({error!r:.100})") from error


def read_so_far(path: Path, format: str | None = None) -> Trace | None:
    r"""What there is of a log that is still being written; none where that is not yet a log.

    Of a file of lines the last line counts once it is whole; a file that is written anew each time
    counts whenever it is whole.

    Raises:
        DataError: the file is missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = Path(folder) / "a.jsonl"
    ...     _ = log.write_text('{"agent": "Ann", "text": "4"}\n' * 2 + '{"agent": "B')
    ...     len(read_so_far(log).events)
    2
    """
    try:
        with path.open("rb") as file:
            _check_size(path, file)
            content = file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a log file") from error
    for part in (content, content[: content.rfind(b"\n") + 1]):
        try:
            log = open_log(path.name, io.BytesIO(part))
            return _trace(path.stem, log, format or _detected(log))
        except DataError:
            continue
    return None


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
    traces = []
    for file in files:
        name = file.relative_to(path).with_suffix("").as_posix()
        found = _samples(file)
        if found is None:
            traces.append(replace(read(file), id=name))
        else:
            traces += [
                replace(_sample(file, found, one), id=f"{name}/{one}" if len(found) > 1 else name)
                for one in found
            ]
    return traces


def _parted(path: Path) -> tuple[Path, str, str]:
    """A file, and the sample of it that is named behind a #."""
    before, sign, wanted = str(path).rpartition("#")
    return (Path(before), sign, wanted) if sign and not path.exists() else (path, "", "")


def _check_size(path: Path, file: BinaryIO) -> None:
    """Refuse a log that is too large to be held."""
    if (size := os.fstat(file.fileno()).st_size) > _LARGEST:
        raise DataError(f"{path} has {size:,} bytes; a log has at most {_LARGEST:,}")


def _samples(path: Path) -> dict[str, dict[str, Any]] | None:
    """The samples of an eval log of Inspect; none where the file is another log."""
    if is_eval(path):
        return samples(path)
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    with path.open("rb") as file:
        if b'"eval"' not in file.read(EARLY):
            return None
        _check_size(path, file)
        file.seek(0)
        content = file.read()
    try:
        return listed(json.loads(content))
    except (ValueError, RecursionError):
        return None


def _sample(path: Path, found: Mapping[str, dict[str, Any]], wanted: str) -> Trace:
    """One sample as a trace."""
    if not wanted and len(found) == 1:
        wanted = next(iter(found))
    if wanted not in found:
        first = ", ".join(list(found)[:5])
        named = f"no sample {wanted!r:.60}" if wanted else f"{len(found)} samples"
        raise DataError(
            f"{path.name} holds {named}: name one, as {path.name}#SAMPLE; there are {first}"
            + (" and more" if len(found) > 5 else "")
        )
    header = inspect.header(found[wanted])
    messages = header["inspect_messages"]
    if not messages or not all(isinstance(one, Mapping) for one in messages):
        raise DataError(f"{path.name}: sample {wanted} has no messages")
    return _trace(wanted, Log(path.name, header, list(messages), iter(())), "inspect")


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
    except _MISSHAPEN as error:
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
    asking = (e for e in events[:4] if not e.blamable and e.kind == "message")
    person = (e for e in asking if is_person(e.agent) or (e.index == 0 and e.role != "system"))
    said = (e.text.strip() for e in person)
    return next((text for text in said if text), "")

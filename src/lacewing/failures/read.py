"""From a log file of any known format to a `Trace`.

A file is one JSON document or one JSON object per line; the latter is read line by line. What
describes the run may stand beside the records, under these names:

    task      question, task, query, instruction         expected  ground_truth, expected, answer
    group     question_ID, question_id, group, task_id   succeeded is_correct, is_corrected, ...
    label     mistake_agent with mistake_step, or label: {agent, step, reason}
"""

import codecs
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from lacewing.errors import DataError
from lacewing.failures.events import Event, Label, Trace
from lacewing.failures.formats import FORMATS, jsonl, otel
from lacewing.failures.formats.common import Log, Record, is_person

__all__ = ["FORMATS", "read", "read_folder"]

PEEK = 32
"""Records looked at to tell the format."""
_TASK = ("question", "task", "query", "instruction")
_EXPECTED = ("ground_truth", "expected", "expected_answer")
_GROUP = ("question_ID", "question_id", "group", "task_id")
_OUTCOME = ("succeeded", "is_correct", "is_corrected", "success")
_ENDINGS = (".json", ".jsonl", ".ndjson")


def read(path: Path, format: str | None = None) -> Trace:
    """Read the log of one run.

    Args:
        path: A JSON or JSON Lines file.
        format: One of `FORMATS`; detected where not given.

    Raises:
        DataError: the file is missing, not JSON, cut off, not UTF-8, or of no known format; nobody
            acts in it, parents form a cycle, or its label lies outside of it.
    """
    if format is not None and format not in FORMATS:
        raise DataError(f"no format is called {format!r}; known are {', '.join(FORMATS)}")
    try:
        with path.open("rb") as file:
            log = _open(path.name, file)
            return _trace(path.stem, log, format or _detected(log))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a log file") from error


def read_folder(path: Path) -> list[Trace]:
    """Read all logs below a folder, in natural order; ids are their paths in it.

    Raises:
        DataError: there is no log, or one cannot be read.
    """
    files = [f for f in path.rglob("*") if f.suffix.lower() in _ENDINGS and f.is_file()]
    files = [f for f in files if not any(p.startswith(".") for p in f.relative_to(path).parts)]
    if not files:
        raise DataError(f"{path} holds no log; logs end in {', '.join(_ENDINGS)}")
    files.sort(key=lambda f: [(len(n), n) for n in re.split(r"(\d+)", str(f.relative_to(path)))])
    return [replace(read(f), id=f.relative_to(path).with_suffix("").as_posix()) for f in files]


def _open(name: str, file: IO[bytes]) -> Log:
    """A log as a stream of records: of lines, where its first line is a value and more follow."""
    first = next((line for line in file if line.strip(b"\xef\xbb\xbf \t\r\n")), b"")
    if not first:
        raise DataError(f"{name} is empty; give a log")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{name} is UTF-16; save it as UTF-8")
    first = first.removeprefix(codecs.BOM_UTF8)
    try:
        value = json.loads(first)
        lines = isinstance(value, dict) and (second := _next_line(file)) != b""
    except (ValueError, RecursionError):
        value, lines = None, False
        return _whole(name, _parsed(name, first + file.read()))
    if not lines:
        whole = value if isinstance(value, dict) else _parsed(name, first + file.read())
        return _whole(name, whole)
    header: dict[str, Any] = {}
    records = _records(name, header, itertools.chain((first, second), file))
    return Log(name, header, list(itertools.islice(records, PEEK)), records)


def _next_line(file: IO[bytes]) -> bytes:
    return next((line for line in file if line.strip()), b"")


def _records(name: str, header: dict[str, Any], lines: Iterable[bytes]) -> Iterator[Record]:
    """The records of a file of lines; lines about the run go into the header."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = _parsed(name, line, number)
        if not isinstance(value, dict):
            raise DataError(f"{name}: line {number} is no JSON object but {str(value)!r:.40}")
        said = any(key in value for key in (*jsonl.AGENT, *jsonl.TEXT, *otel.KEYS, "type", "lc"))
        if said:
            yield value
        else:
            header.update(value)


def _whole(name: str, value: object) -> Log:
    """A log in one JSON document."""
    header = dict(value) if isinstance(value, dict) else {}
    inner = header.get("values")
    if isinstance(inner, dict):
        header = {**header, **inner}
    keys = dict.fromkeys(key for module in FORMATS.values() for key in module.KEYS)
    found = value if isinstance(value, list) else None
    if found is None:
        found = next((header[key] for key in keys if isinstance(header.get(key), list)), None)
    if found is None:
        raise DataError(
            f"{name} is of no known format: it has no list under any of {', '.join(keys)}; "
            f"known are {', '.join(FORMATS)}"
        )
    for place, record in enumerate(found):
        if not isinstance(record, dict):
            raise DataError(f"{name}: step {place} is no JSON object but {str(record)!r:.40}")
    if not found:
        raise DataError(f"{name} has no steps; give the log of a run that did something")
    return Log(name, header, found[:PEEK], iter(found[PEEK:]))


def _parsed(name: str, content: bytes, line: int | None = None) -> Any:
    place = name if line is None else f"{name}, line {line},"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place} is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}); "
            "save it as UTF-8"
        ) from error
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{place} is nested too deeply for a log") from error
    except json.JSONDecodeError as error:
        where = f"line {line or error.lineno}, column {error.colno}"
        if text.lstrip()[:1] in "{[" and _cut_off(text, error):
            raise DataError(
                f"{place} is cut off: JSON ends at {where}; write the log again, or remove its end"
            ) from error
        raise DataError(f"{place} is not JSON ({error.msg} at {where}); give a log") from error


def _cut_off(text: str, error: json.JSONDecodeError) -> bool:
    """Whether the text stops in the middle, rather than being wrong somewhere."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()) - 1


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
    label, notes = _label(log.name, header, events)
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


def _label(
    name: str, header: Mapping[str, Any], events: tuple[Event, ...]
) -> tuple[Label | None, tuple[str, ...]]:
    """Who and when as annotated, and what is odd about it."""
    given = header.get("label")
    fields = dict(given) if isinstance(given, Mapping) else {}
    agent = fields.get("agent", header.get("mistake_agent"))
    step = fields.get("step", header.get("mistake_step"))
    if agent is None and step is None:
        return None, ()
    if agent is None or step is None:
        missing = "agent" if agent is None else "step"
        raise DataError(f"{name}: the label has no {missing}; it needs an agent and a step")
    try:
        at = int(str(step))
    except ValueError as error:
        raise DataError(f"{name}: the label's step is {step!r:.40}, which is no number") from error
    acting = {event.index: event.agent for event in events}
    if at not in acting:
        raise DataError(
            f"{name}: the label names step {at}, outside of the log "
            f"(steps {min(acting)} to {max(acting)})"
        )
    reason = str(fields.get("reason", header.get("mistake_reason")) or "")
    label = Label(str(agent).strip(), at, reason)
    return label, tuple(_oddities(label, acting))


def _oddities(label: Label, acting: Mapping[int, str]) -> Iterator[str]:
    there, names = acting[label.step], set(acting.values())
    if there.casefold() != label.agent.casefold():
        yield f"label: step {label.step} was made by {there}, not by {label.agent}"
    alike = next((n for n in names if n.casefold() == label.agent.casefold()), None)
    if alike is None:
        yield f"label: no agent of this log is called {label.agent}"
    elif label.agent not in names:
        yield f"label: {label.agent} is spelled {alike} in the log"

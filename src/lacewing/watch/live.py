"""Watching a text from its beginning to its end, with progress, and with alarms as JSON lines."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lacewing.artifacts.files import writing
from lacewing.errors import ArtifactError, DataError
from lacewing.progress import progress, say
from lacewing.watch.alarm import Alarm
from lacewing.watch.monitor import Monitor
from lacewing.watch.stream import DamagedError, pieces

TOLD = 10
"""Alarms that are told as they come; the others are counted, and written where asked for."""


def watch_text(
    monitor: Monitor, source: str, *, alarms: Path | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Read a text with a monitor.

    Args:
        monitor: What reads.
        source: A file, a folder, or `-` for standard input.
        alarms: File that alarms are added to, one JSON object a line, as they are raised.
        quiet: Tell neither progress nor alarms.

    Returns:
        The monitor's summary, with whether it was interrupted, and by what the text was cut off.

    Raises:
        DataError: there is no such text, or no token in it.
        ArtifactError: the file of alarms cannot be written.
    """
    cut_off = None
    interrupted = False
    if alarms is not None and alarms.is_dir():
        raise ArtifactError(f"{alarms} is a folder: name a file for the alarms")
    with progress("watch", 1.0, "text", not quiet) as bar:
        try:
            for found, share in _read(monitor, source):
                for alarm in found:
                    _tell(alarm, len(monitor.alarms), alarms, quiet)
                bar.update(share, lambda: f"{monitor.tokens:,} tokens")
        except KeyboardInterrupt:
            interrupted = True
        except (EOFError, ConnectionError, BrokenPipeError) as error:
            cut_off = f"{source} was cut off after {monitor.tokens:,} tokens ({error})"
        except DamagedError as error:
            cut_off = str(error)
    if cut_off and not quiet:
        with contextlib.suppress(OSError):
            say(cut_off)
    if not interrupted:
        for alarm in monitor.finish():
            _tell(alarm, len(monitor.alarms), alarms, quiet)
    if not monitor.tokens and not interrupted:
        raise DataError(f"{source} holds no text: nothing was watched")
    return monitor.summary() | {"interrupted": interrupted, "cut_off": cut_off}


def _read(monitor: Monitor, source: str) -> Iterator[tuple[list[Alarm], float]]:
    encode = monitor.model.tokenizer.encode
    for piece in pieces(source):
        yield monitor.step(encode(piece.text), ends=piece.ends), piece.share


def _tell(alarm: Alarm, number: int, file: Path | None, quiet: bool) -> None:
    if file is not None:
        with writing(file), open(file, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(alarm.as_json()) + "\n")
    if not quiet and number <= TOLD:
        with contextlib.suppress(OSError):
            say(f"alarm at {alarm.told}")

"""Run one case in a child process with limits, and sort what came of it.

The child may write below its own folder alone. What it opens, runs and connects to is seen by an
audit hook; a secret lies beside the folder, and whoever opens it went outside.
"""

import contextlib
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hostile.figures import steady
from hostile.hook import unwatch, watch

SECONDS, PATIENCE = 20.0, 60.0
"""Processor time that a case may take, and time by the clock, on machines that are busy."""
BYTES = 4 * 2**30
"""Memory that a case may ask for beyond what Python and torch have."""
SECRET = "the secret beside the folder"
FINE = ("clean", "equal", "other", "long")
"""Outcomes that are none of the program's faults; everything else is a failure.

clean: exit code 2 and one line; equal: the figures of the untouched; other: other figures, where
no sum says what they were; long: a flag that asks for more work than a case may take.
"""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MARKUP = ("<script>alert(1)", "<img src=x onerror")

Probe = Callable[[Path], Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    kind: str
    detail: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What a child left behind."""

    result: dict[str, Any]
    out: str
    err: str
    status: int | None
    """What waitpid said; none where it had to be killed."""
    seconds: float
    megabytes: float
    outside: list[str]


def place(folder: Path) -> Path:
    """Lay out a case's folder: where it works, its temporary files, and what it must not touch."""
    for name in ("work", "tmp", "outside"):
        (folder / name).mkdir(parents=True)
    (folder / "outside" / "secret.txt").write_text(SECRET)
    return folder / "work"


def watched(folder: Path, probe: Probe, starts: bool = False, patience: float = PATIENCE) -> Seen:
    """Run a probe in a child whose working folder is FOLDER/work.

    Args:
        folder: Laid out by `place`.
        probe: Gives the figures.
        starts: Whether it may start programs, such as pip, and connect.
        patience: Seconds by the clock after which it is killed.
    """
    before = _beside(folder)
    child = os.fork()
    if child == 0:
        _child(folder, probe, starts)
    status, used, wall = _waited(child, patience)
    result = {}
    if (folder / "result.json").exists():
        result = json.loads((folder / "result.json").read_text())
    outside = list(result.get("outside", []))
    after = _beside(folder)
    outside += [f"changed {name}" for name in before.keys() ^ after.keys()]
    outside += [f"changed {n}" for n in before.keys() & after.keys() if before[n] != after[n]]
    out, err = (_text(folder / name) for name in ("out", "err"))
    if SECRET in out + err + json.dumps(result.get("figures")):
        outside.append("showed the secret")
    seconds = wall if used is None else used.ru_utime + used.ru_stime
    megabytes = 0.0 if used is None else used.ru_maxrss / 1024
    return Seen(result, out, err, status, seconds, megabytes, outside)


def real(folder: Path, words: Sequence[str], patience: float) -> Seen:
    """The same of a command in a process that begins from nothing, as a user starts it."""
    before, begun = _beside(folder), time.monotonic()
    gone = ("NUMBA_THREADING_LAYER", "PYTHONSTARTUP")
    environment = {k: v for k, v in os.environ.items() if k not in gone}
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "lacewing", *words, "--json"],
            cwd=folder / "work",
            env=environment | {"TMPDIR": str(folder / "tmp")},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=0,
        )
        status, used, _ = _waited(process.pid, patience)
        process.returncode = 0  # waited for already
    out_text, err_text = (_text(folder / name) for name in ("out", "err"))
    result: dict[str, Any] = {"injected": _injected(folder / "work")}
    code = None if status is None else os.waitstatus_to_exitcode(status)
    if code == 0 and out_text.strip().endswith("}"):
        result["figures"] = steady(json.loads(out_text.strip().rpartition("\n")[2]))
    else:
        result["exit"] = code
    outside = [f"changed {n}" for n, was in before.items() if _beside(folder).get(n) != was]
    seconds = time.monotonic() - begun if used is None else used.ru_utime + used.ru_stime
    megabytes = 0.0 if used is None else used.ru_maxrss / 1024
    return Seen(result, out_text, err_text, status, seconds, megabytes, outside)


def sort(seen: Seen, figures: Any, free: bool, longer: bool = False) -> Outcome:
    """Sort what a case left behind.

    Args:
        seen: That.
        figures: What the untouched gives.
        free: Whether other figures are no fault: nothing says what they were.
        longer: Whether a long run is what was asked for.
    """
    kind, detail = _sorted(seen, figures, free)
    if kind in ("hang", "slow") and longer:
        kind = "long"
    if kind == "memory" and longer and "not enough memory" in detail:
        kind = "clean"
    return Outcome(kind, detail[:600], round(seen.seconds, 3), round(seen.megabytes))


def finite(value: Any) -> bool:
    """Whether no number in some figures is infinite or none."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _sorted(seen: Seen, figures: Any, free: bool) -> tuple[str, str]:
    result, last = seen.result, seen.err.strip().rpartition("\n")[2]
    if started := result.get("started"):
        return "code", "; ".join(started)
    if seen.outside:
        return "outside", "; ".join(sorted(set(seen.outside)))
    if seen.status is None:
        return "hang", last
    if os.WIFSIGNALED(seen.status):
        return "crash", f"signal {os.WTERMSIG(seen.status)}: {last}"
    error = result.get("error", "")
    if "MemoryError" in error or "allocate" in error or "alloc" in last:
        return "memory", error or last
    if error or "Traceback (most recent call last)" in seen.err:
        return "traceback", error or last
    if seen.seconds > SECONDS:
        return "slow", f"{seen.seconds:.0f} s"
    if seen.megabytes > BYTES / 2**20:
        return "memory", f"{seen.megabytes:.0f} MB"
    if result.get("injected"):
        return "injection", result["injected"]
    if found := CONTROL.search(seen.out + seen.err):
        return "escape", repr(found[0]) + " in " + repr(last[:200])
    if (code := result.get("exit")) is not None:
        kind, line = _refusal(code, seen.err)
        return kind, line if kind == "clean" else line + result.get("where", "")
    return _figures(result.get("figures"), figures, free)


def _refusal(code: int, err: str) -> tuple[str, str]:
    lines = err.strip().splitlines() or [""]
    if "internal error" in lines[-1]:
        return "traceback", lines[-1]
    if "not enough memory" in lines[-1]:
        return "memory", lines[-1]
    if code == 0:  # help was asked for
        return "clean", "help"
    if code == 3:  # what `watch` ends with where a mechanism has not survived, `audit` likewise
        return "other", "a mechanism has not survived, or an audit differs"
    if code != 2:
        return "unclear", f"exit code {code}: {lines[-1]}"
    if "╭" in err:  # what the parser of flags draws
        return "clean", " ".join(re.sub("[─│╭╮╰╯]", " ", err).split())
    told = [line for line in lines if line.startswith("lacewing")]
    if len(told) != 1 or told[0] != lines[-1]:
        return "unclear", f"{len(told)} lines: {lines[-1]}"
    return "clean", told[0]


def _figures(found: Any, figures: Any, free: bool) -> tuple[str, str]:
    if found == figures:
        return "equal", ""
    if not finite(found):
        return "nonfinite", _difference(figures, found)
    return ("other" if free else "silent"), _difference(figures, found)


def _difference(old: Any, new: Any, at: str = "") -> str:
    """The first figure that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *new]:
            if old.get(key) != new.get(key):
                return _difference(old.get(key), new.get(key), f"{at}.{key}")
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (was, now) in enumerate(zip(old, new, strict=True)):
            if was != now:
                return _difference(was, now, f"{at}[{number}]")
    return f"{at.lstrip('.')}: {old!r:.80} -> {new!r:.80}"


def _beside(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in a case's folder that the child must not change."""
    kept = {folder / name for name in ("work", "tmp", "out", "err", "result.json")}
    found = {}
    for top in folder.iterdir():
        if top not in kept:
            for path in [top, *top.rglob("*")]:
                state = path.lstat()
                found[str(path.relative_to(folder))] = (state.st_size, state.st_mtime_ns)
    return found


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(4_000_000).decode("utf-8", "replace")


def _waited(child: int, patience: float) -> tuple[int | None, Any, float]:
    """A child's status, None where it was killed; what it used; the time by the clock.

    On a busy machine a child that still works gets more time by the clock, not by the processor.
    """
    begun, pause = time.monotonic(), 0.001
    until, used_then = begun + patience, 0.0
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        now = time.monotonic()
        if pid:
            _end(child)
            return status, used, now - begun
        if now > until:
            used_now = _processor(child)
            if used_now > SECONDS or used_now - used_then < patience / 50:
                _end(child)
                _, _, used = os.wait4(child, 0)
                return None, None, max(used_now, now - begun if used_now <= SECONDS else 0)
            until, used_then = now + patience, used_now
        time.sleep(pause)
        pause = min(0.05, pause * 1.3)


def _processor(child: int) -> float:
    """Seconds of the processor that a child has used."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _end(child: int) -> None:
    """Kill what is left of a child's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def cli(*words: object) -> Any:
    """What a verb prints with --json, run in this process."""
    from lacewing.cli.app import main

    sys.stdout.flush()
    begin = Path("../out").stat().st_size
    main([*map(str, words), "--json"])
    sys.stdout.flush()
    with open("../out", encoding="utf-8") as file:
        file.seek(begin)
        return json.loads(file.read().strip().rpartition("\n")[2])


def warm(folder: Path, probe: Probe) -> Any:
    """Run a probe in this process, so that its children need not import what it imports."""
    streams, here = (sys.stdout, sys.stderr), Path.cwd()
    kept = [os.dup(number) for number in range(3)]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.chdir(folder / "work")
        quiet(folder)
        return json.loads(json.dumps(steady(probe(folder / "work"))))
    except (Exception, SystemExit) as error:
        sys.stderr.flush()
        said = (folder / "err").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the untouched fails: {error!r} {said}") from error
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(here)
        sys.stdout, sys.stderr = streams
        for number, handle in enumerate(kept):
            os.dup2(handle, number)
            os.close(handle)


def quiet(folder: Path) -> None:
    """Nothing comes in; what goes out goes into two files beside the working folder."""
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, name in ((1, "out"), (2, "err")):
        with open(folder / name, "wb") as file:
            os.dup2(file.fileno(), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _child(folder: Path, probe: Probe, starts: bool) -> None:
    """Never returns."""
    code = 1
    try:
        os.setpgid(0, 0)  # not a session, whose share of a busy machine would be another
        os.chdir(folder / "work")
        os.environ["TMPDIR"] = str(folder / "tmp")
        tempfile.tempdir = None  # asked for again
        quiet(folder)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        outside: list[str] = []
        started: list[str] = []
        watch(folder, outside, None if starts else started)
        result = _result(probe, folder / "work")
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say at the end
        result |= {"outside": outside[:9], "started": started[:9]}
        result["injected"] = _injected(folder / "work")
        unwatch()
        (folder / "result.json").write_text(json.dumps(result))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _result(probe: Probe, work: Path) -> dict[str, Any]:
    from lacewing.errors import LacewingError

    try:
        return {"figures": json.loads(json.dumps(steady(probe(work))))}
    except LacewingError as error:
        print("lacewing: " + " ".join(str(error).split()), file=sys.stderr)
        return {"exit": 2}
    except SystemExit as stop:
        cause = stop.__cause__
        where = f" ({_where(cause)})" if cause is not None else ""
        return {"exit": stop.code if isinstance(stop.code, int) else 1, "where": where}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {str(error)[:300]} ({_where(error)})"}


def _where(error: BaseException) -> str:
    """The last line of lacewing's that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/lacewing" in f.filename]
    if not ours:
        return ""
    file = ours[-1].filename.rpartition("/src/")[2]
    return f"{file}, line {ours[-1].lineno}, in {ours[-1].name}"


def _injected(work: Path) -> str:
    """The first page below a folder in which hostile markup stands as such."""
    for path in sorted(p for p in work.rglob("*") if p.suffix in (".html", ".svg")):
        if path.is_file() and path.stat().st_size < BYTES // 16:  # larger ones are the case's own
            text = path.read_text(encoding="utf-8", errors="replace")
            if any(markup in text for markup in MARKUP):
                return str(path.relative_to(work))
    return ""

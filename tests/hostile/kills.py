"""Kill -9 at random moments: the same command goes on, and ends with the same bytes.

Processes are forked off one that has imported everything, so that moments fall into the work and
not into imports.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostile import bridged, judge, left, material, strangers
from hostile.judge import cli

AT_MOST = 8
"""Kills of one run, which then may finish."""
LOCKS = (".lock",)
"""Hidden files that stay."""


@dataclass(frozen=True)
class Job:
    """A command that is killed."""

    words: tuple[str, ...]
    needs: tuple[str, ...]
    output: str
    """The folder it writes."""
    kept: Callable[[Path], set[str]]
    """What of the work is done; none of it may be lost by a kill."""
    ignored: tuple[str, ...] = ()
    """Files that tell of times alone."""
    alone: tuple[str, ...] = ()
    """Of a command with processes of its own, of which one alone may be killed, or all: a like one
    without them. It imports what is needed; joblib's threads do not live on in what is forked."""


@dataclass
class Tally:
    """What a campaign of kills came to."""

    job: str
    kills: int = 0
    early: int = 0
    """Of these, before anything was kept."""
    runs: int = 0
    resumed: int = 0
    """Runs that found work of a killed one."""
    failures: list[str] = field(default_factory=list)

    def told(self) -> str:
        """A line, with the failures under it."""
        lines = [f"kill -9 of {self.job}: {self.kills} kills of {self.runs} runs"]
        lines[0] += f", {self.early} before anything was kept, {self.resumed} went on, "
        lines[0] += f"{len(self.failures)} failures"
        return "\n  ".join([*self.failures, *lines][::-1])


def jobs(root: Path) -> dict[str, Job]:
    """The table, over the material in a folder: every verb that goes on where it was killed.

    The others (trace, watch, repair, attack, report, export) write once, at their end.
    """
    training = material.flags(material.TRAINING | {"tokens": 4 * 16 * 60})
    search = ("--task", str(root / "letters.jsonl"), *material.SEARCH)
    task = ("--task", str(root / "letters.jsonl"), "--corpus", str(root / "text"))
    sweep = ("sweep", "--config", str(root / "sweep.json"), "--output", "new", *material.ALONE)
    return {
        "train": Job(
            ("train", "--output", "new", "--corpus", str(root / "text"), *training),
            (),
            "new",
            _trained,
        ),
        "prune": Job(
            ("prune", "--model", "run", *search, "--output", "new"), ("run",), "new", _unfinished
        ),
        "bridge": Job(
            bridged.half(root, Path("new"), root / "dense", tokens=4 * 16 * 20),
            (),
            "new",
            _unfinished,
        ),
        "verify": Job(
            ("verify", "--circuit", "circuit", "--seeds", "2", *task),
            ("run", "circuit"),
            "circuit",
            _parts,
        ),
        "sweep": Job(sweep, (), "new", _manifests),
        "sweep of processes": Job(
            ("sweep", "--config", str(root / "pairs.json"), "--output", "new", *TOGETHER),
            (),
            "new",
            _manifests,
            alone=sweep,
        ),
        "sae": Job(
            ("sae", *strangers.asked_latents(root), *_LATENTS, "--output", "new"),
            ("run",),
            "new",
            _learned,
        ),
        "explain": Job(
            ("explain", *strangers.asked_records(root, *_EVERYWHERE), "--records", "new"),
            ("run",),
            "new",
            _sites,
        ),
        "emerge": Job(
            ("emerge", "--model", "grown", *search, "--output", "new"),
            ("grown",),
            "new",
            _manifests,
        ),
    }


TOGETHER = ("--processes", "2", "--threads", "1")
_EVERYWHERE = (
    "attn_in",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_out",
    "mlp_in",
    "mlp_neuron",
    "mlp_out",
)
_LATENTS = (*strangers.LATENTS, *left.OFTEN, "--tokens", "4096")


def _trained(output: Path) -> set[str]:
    """Whether there is a checkpoint, or all of it."""
    kept = (output / "manifest.json", output / "checkpoint" / "manifest.json")
    return {"checkpoint"} if any(path.is_file() for path in kept) else set()


def _learned(output: Path) -> set[str]:
    """Whether there is a checkpoint, or all of it."""
    kept = output.with_name(f"{output.name}.unfinished") / "checkpoint"
    return {"checkpoint"} if output.is_dir() or kept.is_dir() else set()


def _sites(output: Path) -> set[str]:
    """The sites that are recorded."""
    return {path.relative_to(output).as_posix() for path in output.rglob("0_*.safetensors")}


def _manifests(output: Path) -> set[str]:
    """The whole folders below one; checkpoints, tokens and searches under way come and go."""
    whole = (p.parent.relative_to(output).as_posix() for p in output.rglob("manifest.json"))
    passing = re.compile(r"checkpoint|tokens|\.unfinished|(^|/)\.")
    return {name for name in whole if not passing.search(name)}


def _unfinished(output: Path) -> set[str]:
    """Whether the search has begun to keep something, or is done."""
    begun = output.is_dir() or output.with_name(f"{output.name}.unfinished").is_dir()
    return {"search"} if begun else set()


def _parts(output: Path) -> set[str]:
    return {path.name for path in (output / "verification").glob("[a-z]*.json")}


def campaign(name: str, job: Job, root: Path, kills: int, dice: random.Random) -> Iterator[Tally]:
    """Kill a command so many times, and compare what it ends with; a tally of every run."""
    if kills <= 0:
        return
    _shorten()
    with _laid(job, root) as folder:
        judge.warm(folder, lambda _: cli(*(job.alone or job.words)))
        expected = digests(folder / "work" / job.output, job)
    with _laid(job, root) as folder:
        begun = time.monotonic()
        assert _ran(folder, job, None, dice) == 0
        length = time.monotonic() - begun
        if job.alone:
            expected = digests(folder / "work" / job.output, job)
    while kills > 0:
        tally = Tally(name, runs=1)
        with _laid(job, root) as folder:
            begun = time.monotonic()
            _one(folder, job, tally, length, dice, expected)
        if not tally.kills:  # others left the machine alone: moments are drawn within this time
            length = min(length, time.monotonic() - begun)
        yield tally
        kills -= tally.kills


def _shorten() -> None:
    """Fewer steps of what would be three quarters of a verification, and more often kept.

    A part of the suite is done anew when it was killed, so kills would mostly see these two.
    """
    from lacewing.ablation import worst_subset
    from lacewing.explain import records
    from lacewing.pruning import state
    from lacewing.verification import complement, two_valued

    state.EVERY = 0.05  # of a search of a second
    records.AT_ONCE = 1  # site by site
    two_valued.STEPS = 30
    worst_subset.STEPS = complement.STEPS = 8


def together(name: str, rows: list[dict[str, Any]]) -> Tally:
    """The tally of many runs."""
    keys = ("kills", "early", "runs", "resumed")
    added = [sum(row.get(key, 0) for row in rows) for key in keys]
    return Tally(name, *added, [failure for row in rows for failure in row["failures"]])


def _one(
    folder: Path,
    job: Job,
    tally: Tally,
    length: float,
    dice: random.Random,
    expected: dict[str, str],
) -> None:
    """One run, killed until it ends or has been killed often."""
    output, done = folder / "work" / job.output, set[str]()
    for _ in range(AT_MOST):
        after = dice.uniform(0, length * dice.choice((0.2, 0.6, 1)))
        if (status := _ran(folder, job, after, dice)) != -9:
            break
        tally.kills += 1
        now = job.kept(output)
        tally.early += not now
        if lost := done - now:
            tally.failures.append(f"lost by a kill: {sorted(lost)}")
        done = now
    else:
        status = _ran(folder, job, None, dice)
    tally.resumed += bool(done)
    said = " | ".join((folder / "err").read_text(errors="replace").strip().splitlines()[-4:])
    done_before = status == 2 and f"{job.output} exists already" in said  # killed as it ended
    if status != 0 and not done_before:
        tally.failures.append(f"status {status} after kills: {said}")
        return
    found = digests(output, job)
    if found != expected:
        other = [n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)]
        tally.failures.append(f"other bytes after kills: {sorted(other)}")
    beside = {p.name for p in (folder / "work").iterdir()} - {job.output, *job.needs}
    if beside:
        tally.failures.append(f"left beside the output: {sorted(beside)}")


def digests(output: Path, job: Job) -> dict[str, str]:
    """A hash of every file, times left out of those that tell them."""
    found = {}
    for path in sorted(p for p in output.rglob("*") if p.is_file()):
        name = path.relative_to(output).as_posix()
        if path.name in (*LOCKS, *job.ignored) or path.name == "manifest.json":
            continue  # a manifest has the sums of files that tell times
        content = path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            rows = [
                json.loads(line)
                for line in (
                    content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
                )
            ]
            content = json.dumps(_timeless(rows)).encode()
        elif path.suffix in (".md", ".svg", ".csv"):
            continue  # figures and tables of the JSON beside them, with times
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def _timeless(value: Any) -> Any:
    """A document without what depends on when, where and in which process it was made."""
    if isinstance(value, dict):
        gone = ("seconds", "time", "pid", "host", "began", "ended", "asked", "started", "resumed")
        gone += ("sha256",)  # of files that tell times
        return {k: _timeless(v) for k, v in value.items() if k not in gone and "second" not in k}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _ran(folder: Path, job: Job, after: float | None, dice: random.Random) -> int:
    """Run the command in a child, killed after some seconds; its exit code, or -9.

    Of a command with processes of its own, these are killed with it, or live on without it, or one
    of them is killed alone: then the command has to end, with a line that says so.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            judge.quiet(folder)
            os.chdir(folder / "work")
            cli(*job.words)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    begun, alone = time.monotonic(), False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            # joblib's tracker of what the killed one left may have its say after the line.
            said = (folder / "err").read_text(errors="replace")
            told = alone and "a process of the sweep was killed" in said
            return -9 if told else os.waitstatus_to_exitcode(status)
        if after is not None and not alone and time.monotonic() - begun >= after:
            workers = _workers(child) if job.alone else []
            whom = dice.choice(("one", "all", "it")) if workers else "it"
            if alone := whom == "one":
                with contextlib.suppress(ProcessLookupError):  # it ended
                    os.kill(dice.choice(workers), signal.SIGKILL)
                continue
            (os.killpg if whom == "all" else os.kill)(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -9
        time.sleep(0.001)


def _workers(process: int) -> list[int]:
    """The processes in which joblib works for another one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process and b"popen_loky" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def _laid(job: Job, root: Path) -> Any:
    """A folder with what the command needs."""

    @contextlib.contextmanager
    def made() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="hostile.") as name:
            work = judge.place(Path(name))
            for needed in job.needs:
                shutil.copytree(root / needed, work / needed)
            yield Path(name)

    return made()

"""Many cases over the table, on several processes; the outcomes as a table and as JSON."""

import gc
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hostile import judge
from hostile.judge import FINE, Outcome
from hostile.mutate import CANARY
from hostile.table import Attack


REAL = 20
"""One in so many command lines runs in a process of its own, as a user starts it."""


class Target(Protocol):
    """What is attacked: a format or a verb."""

    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def probe(self) -> judge.Probe: ...
    @property
    def starts(self) -> bool: ...
    @property
    def share(self) -> float: ...
    def attack(self, work: Path, dice: random.Random) -> Attack:
        """Change something."""


@dataclass(frozen=True)
class Case:
    """One mutation of one format."""

    format: str
    number: int
    seed: int

    @property
    def dice(self) -> random.Random:
        """What it draws from."""
        return random.Random(f"{self.seed}:{self.format}:{self.number}")

    @property
    def command(self) -> str:
        """What repeats it."""
        return f"PYTHONPATH=tests python -m hostile --seed {self.seed} --case {self.format}:{self.number}"


def dealt(names: list[str], table: Mapping[str, Target], count: int, seed: int) -> list[Case]:
    """So many cases, in the shares of their formats, well mixed."""
    shares = [table[name].share for name in names]
    given: Counter[str] = Counter()
    cases = []
    for name in random.Random(seed).choices(names, shares, k=count):
        cases.append(Case(name, given[name], seed))
        given[name] += 1
    return cases


def untouched(target: Target, root: Path) -> Any:
    """The figures of what nobody changed, found in this process, which is then warm."""
    with tempfile.TemporaryDirectory(prefix="hostile.") as folder:
        _laid(target, root, Path(folder))
        return judge.warm(Path(folder), target.probe)


def attack(self, work: Path, dice: random.Random) -> Attack:
    """Change something."""


@dataclass(frozen=True)
class Case:
    """One mutation of one format."""

    format: str
    number: int
    seed: int

    @property
    def dice(self) -> random.Random:
        """What it draws from."""
        return random.Random(f"{self.seed}:{self.format}:{self.number}")

    @property
    def command(self) -> str:
        """What repeats it."""
        return f"PYTHONPATH=tests python -m hostile --seed {self.seed} --case {self.format}:{self.number}"


def dealt(names: list[str], table: Mapping[str, Target], count: int, seed: int) -> list[Case]:
    """So many cases, in the shares of their formats, well mixed."""
    shares = [table[name].share for name in names]
    given: Counter[str] = Counter()
    cases = []
    for name in random.Random(seed).choices(names, shares, k=count):
        cases.append(Case(name, given[name], seed))
        given[name] += 1
    return cases


def untouched(format: Target, root: Path) -> Any:
    """The figures of what nobody changed.

    Raises:
        AssertionError: there are none.
    """
    with tempfile.TemporaryDirectory(prefix="hostile.") as folder:
        _laid(format, root, Path(folder))
        judge.warm(Path(folder), format.probe)
    with tempfile.TemporaryDirectory(prefix="hostile.") as folder:
        _laid(format, root, Path(folder))
        seen = judge.watched(Path(folder), format.probe, format.starts)
        assert "figures" in seen.result, seen
        assert not seen.outside, seen
        return seen.result["figures"]


def attack(case: Case, target: Target, root: Path, figures: Any) -> tuple[str, Outcome]:
    """Run one case: what was changed, and what came of it."""
    with tempfile.TemporaryDirectory(prefix="hostile.") as folder:
        made = target.attack(_laid(target, root, Path(folder)), case.dice)
        if made.command is not None and case.number % REAL == REAL - 1:
            seen = judge.real(Path(folder), made.command, 3 * made.patience)
        else:
            seen = judge.watched(Path(folder), made.probe, made.starts, made.patience)
        outcome = judge.sort(seen, figures, made.free, made.longer)
        if any(Path(folder).rglob(CANARY)):
            outcome = Outcome("code", "the canary sang")
        return made.words, outcome


def _laid(format: Target, root: Path, folder: Path) -> Path:
    work = judge.place(folder)
    for name in format.needs:
        if (root / name).is_dir():
            shutil.copytree(root / name, work / name)
        else:
            shutil.copy2(root / name, work / name)
    return work


def rows(
    cases: Iterable[Case], table: Mapping[str, Target], root: Path, figures: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """A row for every case."""
    for case in cases:
        format = table[case.format]
        words, outcome = attack(case, format, root, figures[case.format])
        if outcome.kind not in FINE:
            told = f"{outcome.kind:10} {case.format}:{case.number}  {words}\n           {outcome.detail}"
            print(told, flush=True)
        yield {"case": f"{case.format}:{case.number}", "change": words} | outcome.as_json()


def spread(
    cases: list[Case], table: Mapping[str, Target], root: Path, jobs: int
) -> list[dict[str, Any]]:
    """The rows of all cases, from so many processes."""
    figures = {
        name: untouched(table[name], root) for name in dict.fromkeys(c.format for c in cases)
    }
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        print(f"{threads - 1} threads will not be there in the children", file=sys.stderr)
    gc.collect()
    gc.freeze()  # children would copy every page that a collection touches
    return in_children(
        [lambda j=j: rows(cases[j::jobs], table, root, figures) for j in range(jobs)]
    )


def in_children(parts: Sequence[Callable[[], Iterable[Any]]]) -> list[Any]:
    """What each part yields, every part in a child of its own.

    Raises:
        RuntimeError: a child failed, not what it looked at.
    """
    with tempfile.TemporaryDirectory(prefix="hostile.rows.") as folder:
        files = [Path(folder) / f"{number}.jsonl" for number in range(len(parts))]
        children = [_child(part, file) for part, file in zip(parts, files, strict=True)]
        failed = [child for child in children if os.waitpid(child, 0)[1]]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(parts)} processes of the campaign failed")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _child(part: Callable[[], Iterable[Any]], file: Path) -> int:
    """Start a child that writes what a part yields, a line each."""
    if child := os.fork():
        return child
    code = 1
    try:
        with open(file, "w") as lines:
            for row in part():
                lines.write(json.dumps(row) + "\n")
                lines.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def told(found: list[dict[str, Any]]) -> str:
    """The table of outcomes, and the command of every failure."""
    counts: dict[str, Counter[str]] = {}
    for row in found:
        counts.setdefault(row["case"].rpartition(":")[0], Counter())[row["kind"]] += 1
    kinds = sorted({row["kind"] for row in found}, key=lambda k: (k not in FINE, k))
    lines = [f"{'':16}" + "".join(f"{kind:>10}" for kind in kinds)]
    lines += [
        f"{name:16}" + "".join(f"{of[k] or '-':>10}" for k in kinds) for name, of in counts.items()
    ]
    return "\n".join(lines)

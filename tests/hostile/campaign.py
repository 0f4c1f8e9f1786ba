"""Many cases over the tables, on several processes; the outcomes as a table and as rows."""

import functools
import gc
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
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
    def needs(self) -> tuple[str, ...]:
        """What is copied from the material."""

    @property
    def probe(self) -> judge.Probe:
        """Gives the figures of the untouched."""

    @property
    def share(self) -> float:
        """How many of its cases there are, against the others'."""

    def attack(self, work: Path, dice: random.Random) -> Attack:
        """Change something."""


@dataclass(frozen=True)
class Case:
    """One mutation of one target."""

    target: str
    number: int
    seed: int

    @property
    def dice(self) -> random.Random:
        """What it draws from."""
        return random.Random(f"{self.seed}:{self.target}:{self.number}")

    @property
    def name(self) -> str:
        """Target and number."""
        return f"{self.target}:{self.number}"

    @property
    def command(self) -> str:
        """What repeats it."""
        return f'make campaign CAMPAIGN="--seed {self.seed} --case={self.target}:{self.number}"'


def dealt(names: list[str], table: Mapping[str, Target], count: int, seed: int) -> list[Case]:
    """So many cases, in the shares of their targets, well mixed."""
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


def attack(case: Case, target: Target, root: Path, figures: Any) -> tuple[str, Outcome]:
    """Run one case: what was changed, and what came of it."""
    with tempfile.TemporaryDirectory(prefix="hostile.") as folder:
        place = Path(folder)
        made = target.attack(_laid(target, root, place), case.dice)
        if made.command is not None and case.number % REAL == REAL - 1:
            seen = judge.real(place, made.command, 3 * made.patience)
        else:
            seen = judge.watched(place, made.probe, made.starts, made.patience)
        outcome = judge.sort(seen, figures, made.free, made.longer)
        if any(place.rglob(CANARY)):
            outcome = Outcome("code", "the canary sang")
        return made.words, outcome


def _laid(target: Target, root: Path, folder: Path) -> Path:
    """The case's folder, with what the target needs."""
    work = judge.place(folder)
    for name in target.needs:
        if (root / name).is_dir():
            shutil.copytree(root / name, work / name)
        else:
            shutil.copy2(root / name, work / name)
    return work


def rows(
    cases: Iterable[Case], table: Mapping[str, Target], root: Path, figures: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """A row for every case; failures are printed as they are found."""
    for case in cases:
        words, outcome = attack(case, table[case.target], root, figures[case.target])
        if outcome.kind not in FINE:
            lines = [f"{outcome.kind:10} {case.command}", words, outcome.detail]
            print("\n           ".join(lines), flush=True)
        yield {"case": case.name, "seed": case.seed, "change": words} | outcome.as_json()


def spread(
    cases: list[Case],
    table: Mapping[str, Target],
    root: Path,
    jobs: int,
    kept: Path,
    until: float = math.inf,
) -> list[dict[str, Any]]:
    """The rows of all cases, from so many processes.

    Args:
        cases: What to run.
        table: The targets.
        root: The material.
        jobs: Processes.
        kept: A file of rows: what is in it is not run again, and every new row is added at once.
        until: When to stop, by `time.monotonic`.
    """
    wanted = {case.name for case in cases}
    found = [
        row for row in rows_in(kept) if row.get("case") in wanted and row["seed"] == cases[0].seed
    ]
    done = {row["case"] for row in found}
    left = [case for case in cases if case.name not in done]
    jobs = max(1, min(jobs, len(left)))
    targets = dict.fromkeys(case.target for case in left)
    figures = {name: untouched(table[name], root) for name in targets}
    gc.collect()
    gc.freeze()  # children would copy every page that a collection touches

    def part(number: int) -> Iterator[dict[str, Any]]:
        for row in rows(left[number::jobs], table, root, figures):
            yield row
            if time.monotonic() > until:
                return

    in_children([functools.partial(part, number) for number in range(jobs)], kept)
    return [
        row for row in rows_in(kept) if row.get("case") in wanted and row["seed"] == cases[0].seed
    ]


def rows_in(kept: Path) -> list[dict[str, Any]]:
    """What a file of rows holds; a last line that was cut short does not count."""
    if not kept.exists():
        return []
    whole = kept.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def in_children(
    parts: Sequence[Callable[[], Iterable[Any]]], kept: Path, at_once: int | None = None
) -> None:
    """Add what each part yields to a file, every part in a child of its own.

    Args:
        parts: Each gives rows.
        kept: The file.
        at_once: Children at the same time, at most; by default all.

    Raises:
        RuntimeError: a child failed, not what it looked at.
    """
    failed, children = 0, set[int]()
    for part in parts:
        if len(children) == at_once:
            failed += _ended(children)
        children.add(_child(part, kept))
    while children:
        failed += _ended(children)
    if failed:
        raise RuntimeError(f"{failed} of {len(parts)} processes of the campaign failed")


def _ended(children: set[int]) -> bool:
    """Wait until one of some children ends; whether it failed."""
    child, status = os.waitpid(-1, 0)
    children.discard(child)
    return bool(status)


def _child(part: Callable[[], Iterable[Any]], file: Path) -> int:
    """Start a child that adds what a part yields to a file, a line each."""
    if child := os.fork():
        return child
    code = 1
    try:
        with open(file, "a") as lines:
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
    """The table of outcomes, the fine ones first."""
    counts: dict[str, Counter[str]] = {}
    for row in found:
        counts.setdefault(row["case"].rpartition(":")[0], Counter())[row["kind"]] += 1
    counts["all"] = Counter(row["kind"] for row in found)
    kinds = sorted(counts["all"], key=lambda kind: (kind not in FINE, kind))
    lines = [f"{'':16}" + "".join(f"{kind:>10}" for kind in kinds)]
    for name, of in counts.items():
        lines.append(f"{name:16}" + "".join(f"{of[kind] or '-':>10}" for kind in kinds))
    return "\n".join(lines)

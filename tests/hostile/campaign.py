"""Many cases over the table, on several processes; the outcomes as a table and as JSON."""

import fnmatch
import gc
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import judge
from hostile.judge import FINE, Outcome
from hostile.mutate import CANARY, files_of, mutate
from hostile.table import Format


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


def dealt(names: list[str], table: dict[str, Format], count: int, seed: int) -> list[Case]:
    """So many cases, in the shares of their formats, well mixed."""
    shares = [table[name].share for name in names]
    given: Counter[str] = Counter()
    cases = []
    for name in random.Random(seed).choices(names, shares, k=count):
        cases.append(Case(name, given[name], seed))
        given[name] += 1
    return cases


def untouched(format: Format, root: Path) -> Any:
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


def attack(case: Case, format: Format, root: Path, figures: Any) -> tuple[str, Outcome]:
    """Run one case: what was changed, and what came of it."""
    with tempfile.TemporaryDirectory(prefix="hostile.") as folder:
        work = _laid(format, root, Path(folder))
        files = [
            path
            for path in files_of(work)
            if any(fnmatch.fnmatch(str(path.relative_to(work)), p) for p in format.attacked)
        ]
        mutation = mutate(work, files, case.dice)
        free = mutation.resealed or any(fnmatch.fnmatch(mutation.file, p) for p in format.free)
        seen = judge.watched(Path(folder), format.probe, format.starts)
        outcome = judge.sort(seen, figures, free)
        if any(Path(folder).rglob(CANARY)):
            outcome = Outcome("code", "the canary sang")
        return str(mutation), outcome


def _laid(format: Format, root: Path, folder: Path) -> Path:
    work = judge.place(folder)
    for name in format.needs:
        if (root / name).is_dir():
            shutil.copytree(root / name, work / name)
        else:
            shutil.copy2(root / name, work / name)
    return work


def rows(
    cases: Iterable[Case], table: dict[str, Format], root: Path, figures: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """A row for every case."""
    for case in cases:
        format = table[case.format]
        words, outcome = attack(case, format, root, figures[case.format])
        if outcome.kind not in FINE:
            told = f"{outcome.kind:10} {case.format}:{case.number}  {words}\n           {outcome.detail}"
            print(told, flush=True)
        yield {"case": f"{case.format}:{case.number}", "change": words} | outcome.as_json()


def spread(cases: list[Case], table: dict[str, Format], root: Path, jobs: int) -> list[dict[str, Any]]:
    """The rows of all cases, from so many processes."""
    children = {}
    figures = {name: untouched(table[name], root) for name in dict.fromkeys(c.format for c in cases)}
    gc.collect()
    gc.freeze()  # children would copy every page that a collection touches
    with tempfile.TemporaryDirectory(prefix="hostile.rows.") as folder:
        for job in range(jobs):
            if (child := os.fork()) == 0:
                code = 1
                try:
                    with open(Path(folder) / f"{job}.jsonl", "w") as file:
                        for row in rows(cases[job::jobs], table, root, figures):
                            file.write(json.dumps(row) + "\n")
                            file.flush()
                    code = 0
                except BaseException:
                    import traceback

                    traceback.print_exc()
                finally:
                    os._exit(code)
            children[child] = job
        failed = [job for child, job in children.items() if os.waitpid(child, 0)[1]]
        found = [json.loads(line) for job in range(jobs) for line in open(Path(folder) / f"{job}.jsonl")]
    if failed:
        raise RuntimeError(f"{len(failed)} of {jobs} processes of the campaign itself failed")
    return found


def told(found: list[dict[str, Any]]) -> str:
    """The table of outcomes, and the command of every failure."""
    counts: dict[str, Counter[str]] = {}
    for row in found:
        counts.setdefault(row["case"].partition(":")[0], Counter())[row["kind"]] += 1
    kinds = sorted({row["kind"] for row in found}, key=lambda k: (k not in FINE, k))
    lines = [f"{'':16}" + "".join(f"{kind:>10}" for kind in kinds)]
    lines += [f"{name:16}" + "".join(f"{of[k] or '-':>10}" for k in kinds) for name, of in counts.items()]
    return "\n".join(lines)

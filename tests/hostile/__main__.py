"""`PYTHONPATH=tests python -m hostile`: the campaign, or one case of it again."""

import argparse
import functools
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from hostile import alone, every, kills, material, soak
from hostile.campaign import Case, Target, dealt, in_children, rows_in, spread, told
from hostile.judge import FINE
from hostile.requests import requests
from hostile.table import formats
from hostile.verbs import verbs

SECONDS, CLIENTS, SAVES = 120.0, 1000, 10_000
"""Of the soak: mixed load, slow clients, and saves of notes."""


def asked() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=10**6, help="of every.py, at most")
    parser.add_argument("--kills", type=int, default=100, help="of each long verb")
    parser.add_argument("--killed", default="", help="these alone, joined by commas")
    parser.add_argument("--part", type=float, default=1.0, help="how much of the soak")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--no-soak", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", default="", help="formats and --verbs, joined by commas")
    parser.add_argument("--case", help="FORMAT:NUMBER, one mutation again")
    parser.add_argument("--material", type=Path, help="a folder where the untouched are kept")
    parser.add_argument("--output", type=Path, help="a file for every outcome, as JSON")
    parser.add_argument(
        "--keep", type=Path, help="JSON lines of every outcome so far; the same goes on from there"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    words = sys.argv[1:]
    for at, word in enumerate(words[:-1]):  # verbs begin with two dashes
        if word in ("--case", "--only"):
            words[at : at + 2] = [f"{word}={words[at + 1]}", ""]
    return parser.parse_args([word for word in words if word])


def main() -> None:
    """Run what was asked for; exit code 1 where anything failed."""
    assert alone
    flags, begun = asked(), time.monotonic()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="hostile.material.") as made:
        root = (flags.material or Path(made)).resolve()
        table = {**formats(root), **requests(root), **verbs(root)}
        names = flags.only.split(",") if flags.only else list(table)
        if flags.case:
            names = [flags.case.rpartition(":")[0].rpartition("/")[2]]
        material.make(root, needed(flags, names, table, root))
        flags.keep = flags.keep or Path(made) / "rows.jsonl"
        flags.until = begun + 60 * flags.minutes
        print(f"material: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        report: dict[str, Any] = {"seed": flags.seed}
        named = {name: table[name] for name in names}
        bad = mutations(flags, named, root, report) + in_turns(flags, named, root, report)
        if not flags.case and not flags.no_kills:
            bad += killed(flags, root, report)
        if not flags.case and not flags.no_soak:
            bad += crowded(flags, root, report)
    print(f"{bad} failures, seed {flags.seed}, {time.monotonic() - begun:.0f} s")
    if flags.output:
        flags.output.write_text(json.dumps(report, indent=1))
    sys.stdout.flush()
    os._exit(bool(bad))  # compilers that were loaded would tell of their own leaks


def needed(
    flags: argparse.Namespace, names: list[str], table: dict[str, Target], root: Path
) -> set[str]:
    """The material of what was asked for; nothing where nothing was, and then all is made."""
    asked: list[Target | kills.Job] = []
    if flags.case or flags.mutations or flags.turns:
        asked += [table[name] for name in names]
    if not flags.case and not flags.no_kills:
        asked += chosen(flags, root).values()
    found = set[str]()
    for one in asked:
        words = getattr(one, "words", ())  # which may name what is not copied
        inside = (Path(word) for word in words if word.startswith(f"{root}{os.sep}"))
        found.update(one.needs, (path.relative_to(root).parts[0] for path in inside))
    if not flags.case and not flags.no_soak:
        found.add("site")
    return found


def chosen(flags: argparse.Namespace, root: Path) -> dict[str, kills.Job]:
    """The jobs that are killed."""
    named = set(filter(None, flags.killed.split(",")))
    return {n: job for n, job in kills.jobs(root).items() if not named or n in named}


def mutations(
    flags: argparse.Namespace, table: dict[str, Target], root: Path, report: dict[str, Any]
) -> int:
    """The mutations that are drawn; how many failed."""
    cases = dealt(list(table), table, flags.mutations, flags.seed)
    if flags.case:
        name, _, number = flags.case.rpartition(":")
        cases = [] if "/" in name else [Case(name, int(number), flags.seed)]
    return tried(flags, cases, table, root, report, "mutations")


def in_turns(
    flags: argparse.Namespace, table: dict[str, Target], root: Path, report: dict[str, Any]
) -> int:
    """Those that are made one after the other; how many failed."""
    if not flags.turns or (flags.case and "/" not in flags.case):
        return 0
    targets = every.targets(table, root)
    cases = every.cases(targets, flags.turns, flags.seed)
    if flags.case:
        cases = [case for case in cases if case.name == flags.case]
    return tried(flags, cases, targets, root, report, "turns")


def tried(
    flags: argparse.Namespace,
    cases: list[Case],
    table: Mapping[str, Target],
    root: Path,
    report: dict[str, Any],
    kind: str,
) -> int:
    """Run some cases and print what came of them; how many failed."""
    if not cases:
        return 0
    begun = time.monotonic()
    rows = spread(cases, table, root, flags.jobs, flags.keep, flags.until)
    bad = sum(row["kind"] not in FINE for row in rows)
    print(told(rows))
    slowest = max((row["seconds"] for row in rows if row["kind"] != "long"), default=0)
    largest = max((row["megabytes"] for row in rows), default=0)
    print(f"slowest {slowest:.1f} s, largest {largest:,.0f} MB, {time.monotonic() - begun:.0f} s")
    print(f"{_of(len(rows), len(cases))} {kind}, {bad} failures")
    report[kind] = rows
    return bad


def killed(flags: argparse.Namespace, root: Path, report: dict[str, Any]) -> int:
    """The kills, every verb in a child of its own; how many failures."""

    def rows_of(name: str) -> list[dict[str, Any]]:
        found = rows_in(flags.keep)
        return [r for r in found if r.get("job") == name and r["seed"] == flags.seed]

    def part(name: str, job: kills.Job) -> Iterator[dict[str, Any]]:
        done = rows_of(name)
        left = flags.kills - sum(row["kills"] for row in done)
        dice = random.Random(f"{flags.seed}:{name}:{len(done)}")
        for tally in kills.campaign(name, job, root, left, dice):
            yield vars(tally) | {"seed": flags.seed}
            if time.monotonic() > flags.until:
                return

    jobs = chosen(flags, root)
    in_children([functools.partial(part, *one) for one in jobs.items()], flags.keep, flags.jobs)
    report["kills"] = [row for name in jobs for row in rows_of(name)]
    for name in jobs:
        tally = kills.together(name, rows_of(name))
        whole = "" if tally.kills >= flags.kills else f", UNFINISHED: {flags.kills} were asked for"
        print(tally.told() + whole)
    return sum(len(tally["failures"]) for tally in report["kills"])


def crowded(flags: argparse.Namespace, root: Path, report: dict[str, Any]) -> int:
    """The soak; how many failures."""
    part = flags.part
    kept = [r for r in rows_in(flags.keep) if "viewer" in r and r["seed"] == flags.seed]
    done = {row["viewer"]: row["figures"] for row in kept if row["part"] == part}
    left = [name for name in soak.PARTS if name not in done]
    with open(flags.keep, "a") as lines:
        for name, figures in soak.soak(
            root, left, SECONDS * part, CLIENTS, round(SAVES * part), flags.seed
        ):
            done[name] = figures
            row = {"viewer": name, "part": part, "seed": flags.seed, "figures": figures}
            lines.write(json.dumps(row) + "\n")
            lines.flush()
    for name, figures in done.items():
        print(f"viewer, {name}: {json.dumps(figures)}")
    report["viewer"] = done
    return sum(len(figures["failures"]) for figures in done.values())


def _of(done: int, asked: int) -> str:
    """How much was done of what was asked for."""
    return f"{done:,}" if done == asked else f"UNFINISHED: {done:,} of {asked:,}"


if __name__ == "__main__":
    main()

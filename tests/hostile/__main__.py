"""`PYTHONPATH=tests python -m hostile`: the campaign, or one case of it again."""

import argparse
import functools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hostile import alone, kills, material, soak
from hostile.campaign import Case, Target, dealt, in_children, spread, told
from hostile.judge import FINE
from hostile.table import formats
from hostile.verbs import verbs

SECONDS, CLIENTS, SAVES = 120.0, 1000, 10_000
"""Of the soak: mixed load, slow clients, and saves of notes."""


def asked() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100, help="of each long verb")
    parser.add_argument("--part", type=float, default=1.0, help="how much of the soak")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--no-soak", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", default="", help="formats and --verbs, joined by commas")
    parser.add_argument("--case", help="FORMAT:NUMBER, one mutation again")
    parser.add_argument("--material", type=Path, help="a folder where the untouched are kept")
    parser.add_argument("--output", type=Path, help="a file for every outcome, as JSON")
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
        table = {**formats(root), **verbs(root)}
        names = flags.only.split(",") if flags.only else list(table)
        if flags.case:
            names = [flags.case.rpartition(":")[0]]
        whole = not (flags.no_kills and flags.no_soak) and not flags.case
        needed = () if whole else tuple({n for name in names for n in table[name].needs})
        material.make(root, needed)
        print(f"material: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        report: dict[str, Any] = {"seed": flags.seed}
        bad = mutations(flags, names, table, root, report)
        if not flags.case and not flags.no_kills:
            bad += killed(flags, root, report)
        if not flags.case and not flags.no_soak:
            bad += crowded(flags, root, report)
    print(f"{bad} failures, seed {flags.seed}, {time.monotonic() - begun:.0f} s")
    if flags.output:
        flags.output.write_text(json.dumps(report, indent=1))
    sys.stdout.flush()
    os._exit(bool(bad))  # compilers that were loaded would tell of their own leaks


def mutations(
    flags: argparse.Namespace,
    names: list[str],
    table: dict[str, Target],
    root: Path,
    report: dict[str, Any],
) -> int:
    """The mutations; how many failed."""
    cases = dealt(names, table, flags.mutations, flags.seed)
    if flags.case:
        name, _, number = flags.case.rpartition(":")
        cases = [Case(name, int(number), flags.seed)]
    if not cases:
        return 0
    begun = time.monotonic()
    rows = spread(cases, table, root, min(flags.jobs, len(cases)))
    bad = sum(row["kind"] not in FINE for row in rows)
    print(told(rows))
    print(f"{len(rows)} mutations, {bad} failures, {time.monotonic() - begun:.0f} s")
    report["mutations"] = rows
    return bad


def killed(flags: argparse.Namespace, root: Path, report: dict[str, Any]) -> int:
    """The kills, every verb in a child of its own; how many failures."""

    def part(name: str, job: kills.Job) -> Iterator[dict[str, Any]]:
        begun, dice = time.monotonic(), random.Random(f"{flags.seed}:{name}")
        tally = kills.campaign(name, job, root, flags.kills, dice)
        print(f"{tally.told()}, {time.monotonic() - begun:.0f} s", flush=True)
        yield vars(tally)

    parts = [functools.partial(part, *one) for one in kills.jobs(root).items()]
    report["kills"] = in_children(parts)
    return sum(len(tally["failures"]) for tally in report["kills"])


def crowded(flags: argparse.Namespace, root: Path, report: dict[str, Any]) -> int:
    """The soak; how many failures."""
    part = flags.part
    found = soak.soak(root, SECONDS * part, CLIENTS, round(SAVES * part), flags.seed)
    for name, figures in found.items():
        print(f"viewer, {name}: {json.dumps(figures)}")
    report["viewer"] = found
    return sum(len(figures["failures"]) for figures in found.values())


if __name__ == "__main__":
    main()

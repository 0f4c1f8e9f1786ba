"""`PYTHONPATH=tests python -m hostile`: the campaign."""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")  # OpenMP does not outlive a fork

import torch

from hostile import material
from hostile.campaign import Case, dealt, spread, told
from hostile.judge import FINE
from hostile.table import formats
from hostile.verbs import verbs


def main() -> None:
    """Run what was asked for; exit code 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="formats, joined by commas")
    parser.add_argument("--case", help="FORMAT:NUMBER, one case again")
    parser.add_argument("--material", type=Path)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.monotonic()
    root = material.make((asked.material or Path(tempfile.mkdtemp(prefix="hostile.material."))).resolve())
    print(f"material: {time.monotonic() - begun:.1f} s", file=sys.stderr)
    table = {**formats(root), **verbs(root)}
    names = asked.only.split(",") if asked.only else list(table)
    if asked.case:
        name, _, number = asked.case.rpartition(":")
        cases = [Case(name, int(number), asked.seed)]
    else:
        cases = dealt(names, table, asked.mutations, asked.seed)
    begun = time.monotonic()
    found = spread(cases, table, root, min(asked.jobs, len(cases)))
    bad = [row for row in found if row["kind"] not in FINE]
    print(told(found))
    print(f"{len(found)} mutations, {len(bad)} failures, seed {asked.seed}, {time.monotonic() - begun:.0f} s")
    if asked.output:
        asked.output.write_text(json.dumps({"seed": asked.seed, "rows": found}, indent=1))
    sys.stdout.flush()
    os._exit(bool(bad))  # compilers that were loaded would tell of their own leaks


if __name__ == "__main__":
    main()

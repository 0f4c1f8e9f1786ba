"""Seed faults one at a time, and say which test notices.

    python scripts/faults.py --scratch /tmp/faults --output faults.json
    python scripts/faults.py --tree OLD --old --scratch /tmp/old --output old.json
    python scripts/faults.py --compare old.json faults.json

The faults are in faults.toml. Each is put into a copy of the tree; the tests nearest to it run
first and stop at the first that fails, then, where none does, all others of the short suite. A test
counts where it passes without the fault; the rules of style do not count, and arrays' axes are not
checked at run time. What is done is kept in the output, and the same command goes on from there.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("faults.toml")
LEFT_OUT = ("tests/test_house.py", "blame/tests", "tests/failures")
"""Style, and the tests of the other package: no fault is seeded there."""
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "numba", "pytest", "safetensors.torch", "tokenizers"])
"""What every run needs is imported once; what is tested, in every run anew."""
STOPPED = 124
"""Exit status of a run that took longer than its limit."""


def faults(*, old: bool) -> list[dict[str, Any]]:
    """The table; with `old`, as an older tree has them."""
    found = tomllib.loads(TABLE.read_text("utf-8"))["fault"]
    return [{**fault, **(fault.get("old", {}) if old else {})} for fault in found]


def copied(tree: Path, scratch: Path) -> Path:
    """A copy of the tree's source and tests; compiled loops of an earlier copy are kept."""
    for name in ("src", "tests", "blame", "docs", "examples", "benchmarks", "recipes", "scripts"):
        if (tree / name).exists():
            leave = shutil.ignore_patterns("__pycache__", ".venv")
            shutil.copytree(tree / name, scratch / name, dirs_exist_ok=True, ignore=leave)
    for file in [*tree.glob("*.md"), tree / "pyproject.toml", tree / "Makefile"]:
        shutil.copy2(file, scratch / file.name)
    return scratch


def seed(scratch: Path, fault: dict[str, Any]) -> tuple[Path, str]:
    """Put a fault in; the file and what it held."""
    file = scratch / "src" / "lacewing" / fault["file"]
    text = file.read_text("utf-8")
    if text.count(fault["text"]) != 1:
        sys.exit(f"{fault['name']}: {fault['file']} holds its text {text.count(fault['text'])}x")
    file.write_text(text.replace(fault["text"], fault["fault"]), "utf-8")
    return file, text


def run(scratch: Path, tests: list[str], limit: float, *, whole: bool = False) -> tuple[int, str]:
    """Run tests, up to the first that fails or the `whole` of them.

    Returns:
        The exit status, and what failed, a line each, or else the last words.
    """
    said = scratch / "said.txt"
    arguments = ["-q", "--no-header", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers"]
    arguments += [] if whole else ["-x"]
    if "long:" in (scratch / "pyproject.toml").read_text("utf-8"):
        arguments += ["-m", "not long"]
    child = PROCESSES.Process(target=pytest_in, args=(scratch, [*arguments, *tests], said))
    child.start()
    child.join(limit)
    if child.exitcode is None:
        child.terminate()
        child.join()
        return STOPPED, ""
    text = said.read_text("utf-8")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - |$)", text, re.M)
    return child.exitcode, "\n".join(failed) or text[-300:]


def pytest_in(scratch: Path, arguments: list[str], said: Path) -> None:
    """Run pytest on a copy of the tree, in a process that has torch already."""
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(scratch)
    sys.path[:0] = [str(scratch / "src"), str(scratch / "blame" / "src")]
    import pytest

    sys.exit(int(pytest.main(arguments)))


def noticed(scratch: Path, fault: dict[str, Any], tests: list[str], limit: float) -> dict[str, Any]:
    """Which of some tests notices a fault; None where they did not come to an end."""
    began = time.monotonic()
    file, text = seed(scratch, fault)
    try:
        status, name = run(scratch, [*tests, *(f"--deselect={s}" for s in fault["shaky"])], limit)
    finally:
        file.write_text(text, "utf-8")
    ended = name.count("::") > 0 or name.endswith(".py")
    caught = {0: False, 5: False, 1: True if ended else None, 2: True if ended else None}
    found = {"caught": caught.get(status), "seconds": round(time.monotonic() - began)}
    return found | ({"by": name} if status else {})


def others(scratch: Path, first: list[str]) -> list[str]:
    """The whole suite less what ran already."""
    known = [*first, *LEFT_OUT]
    return ["tests", *(f"--ignore={path}" for path in known if (scratch / path).exists())]


def one(scratch: Path, fault: dict[str, Any], limit: float, *, whole: bool) -> dict[str, Any]:
    """What becomes of one fault: caught or not, None where the tests did not come to an end."""
    first = [f"tests/{name}" for name in fault["tests"] if (scratch / "tests" / name).exists()]
    found = noticed(scratch, fault, first, limit) if first else {"caught": False}
    if found["caught"] is not False:
        return found
    if not whole:
        return found | {"caught": None, "nearest": "passed"}
    return noticed(scratch, fault, others(scratch, first), limit) | {"nearest": "passed"}


def confirmed(scratch: Path, results: dict[str, dict[str, Any]], limit: float) -> None:
    """Run what caught something without any fault; what fails there too caught nothing."""
    new = {r["by"] for r in results.values() if r["caught"] and not r.get("confirmed")}
    if not new:
        return
    failing = run(scratch, sorted(new), limit, whole=True)[1].split("\n")
    for row in results.values():
        if row["caught"] and row["by"] in failing:
            row |= {"caught": None, "shaky": [*row.get("shaky", []), row["by"]]}
        elif row["caught"]:
            row["confirmed"] = True


def report(results: dict[str, dict[str, Any]]) -> str:
    """A line a fault, and how many were caught."""
    words = {True: "caught", False: "MISSED", None: "unfinished"}
    lines = [
        f"{words[row['caught']]:10} {name}  {row.get('by', '') if row['caught'] else ''}".rstrip()
        for name, row in results.items()
    ]
    counts = {
        word: sum(row["caught"] is key for row in results.values()) for key, word in words.items()
    }
    told = ", ".join(f"{count} {word.lower()}" for word, count in counts.items())
    return "\n".join([*lines, f"{told} of {len(results)}"])


def compare(before: Path, after: Path) -> str:
    """Two outputs as a table in Markdown."""
    old, new = (json.loads(path.read_text("utf-8")) for path in (before, after))
    words = {True: "yes", False: "no", None: "unfinished"}
    rows = ["| fault | old | new |", "| --- | --- | --- |"]
    for fault in faults(old=False):
        name = fault["name"]
        told = [words[one.get(name, {}).get("caught")] for one in (old, new)]
        rows.append(f"| {name} | {told[0]} | {told[1]} |")
    return "\n".join(rows)


def main() -> None:
    """Read the command line, and seed what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="what is copied")
    parser.add_argument("--old", action="store_true", help="where an older tree has the faults")
    parser.add_argument("--scratch", type=Path, help="folder of the copy")
    parser.add_argument("--output", type=Path, help="JSON of what was found")
    parser.add_argument("--nearest", action="store_true", help="only the tests nearest to a fault")
    parser.add_argument("--limit", type=float, default=1800, help="seconds a run of tests may take")
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--compare", type=Path, nargs=2, help="print two outputs as a table")
    given = parser.parse_args()
    if given.compare:
        print(compare(*given.compare))
        return
    if not (given.scratch and given.output):
        parser.error("--scratch and --output are needed")
    results = json.loads(given.output.read_text("utf-8")) if given.output.exists() else {}
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    given.scratch.mkdir(parents=True, exist_ok=True)
    scratch = copied(given.tree.resolve(), given.scratch.resolve())
    for fault in faults(old=given.old):
        done = results.get(fault["name"])
        settled = done and (done["caught"] is not None or (given.nearest and "nearest" in done))
        if settled or given.only not in fault["name"]:
            continue
        fault["shaky"] = (done or {}).get("shaky", [])
        found = one(scratch, fault, given.limit, whole=not given.nearest)
        results[fault["name"]] = found | ({"shaky": fault["shaky"]} if fault["shaky"] else {})
        given.output.write_text(json.dumps(results, indent=1), "utf-8")
        print(fault["name"], results[fault["name"]], flush=True)
    confirmed(scratch, results, given.limit)
    given.output.write_text(json.dumps(results, indent=1), "utf-8")
    print(report(results))


if __name__ == "__main__":
    main()

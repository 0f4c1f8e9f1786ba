"""Our models in other libraries, as a stranger has them: `make doors`.

The wheels of lacewing and lacewing-blame are built and installed into an environment for each
library, since some exclude each other; then the tests of that door and the Python of its page run
there, in a copy of the tests without the source. A test that is skipped counts as failed.

    python scripts/doors.py [--folder .doors] [NAME ...]
"""

import argparse
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ALONE = "alone"
"""The environment without lacewing, in which `transformers` loads what was exported."""


class Door(NamedTuple):
    """A library, and what is run where it is installed."""

    installed: tuple[str, ...]
    """What is installed beside lacewing."""
    tests: tuple[str, ...]
    """Arguments of pytest."""


TUTORIAL = "tests/interop/test_tutorials.py"
DOORS = {
    "transformers": Door(
        ("tiktoken>=0.9", "hypothesis"),
        (
            *(f"tests/interop/test_{name}.py" for name in ("openai_tokenizer", "hub", "push")),
            *(TUTORIAL, "-k", "not nnsight- and not transformer_lens-"),
        ),
    ),
    "transformer_lens": Door(
        ("transformer-lens==4.3.0",),
        (
            *("tests/interop/test_transformer_lens.py", TUTORIAL),
            *("-k", "test_transformer_lens or transformer_lens-"),
        ),
    ),
    "saelens": Door(
        ("sae-lens==6.54.12",),
        ("tests/sae/test_sae_formats.py", "-k", "library"),
    ),
    "nnsight": Door(
        ("nnsight==0.8.1",),
        ("tests/interop/test_nnsight.py", TUTORIAL, "-k", "test_nnsight or nnsight-"),
    ),
}


def main() -> int:
    """Open every door that is named; 1 where one does not open."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *DOORS], metavar="NAME")
    parser.add_argument("--folder", type=Path, default=ROOT / ".doors", help="for environments")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    wheels = built(folder / "wheels")
    tree = copied(folder / "tree")
    said = {}
    for name in asked.names or DOORS:
        print(f"== {name}", flush=True)
        said[name] = opened(name, DOORS[name], folder, wheels, tree)
    for name, outcome in said.items():
        print(f"{name:18} {outcome}")
    return int(any(not outcome.endswith(" passed") for outcome in said.values()))


def built(place: Path) -> list[str]:
    """The wheels, with what a door needs of lacewing."""
    shutil.rmtree(place, ignore_errors=True)
    words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(place), ".", "./blame"]
    subprocess.run([sys.executable, "-m", "pip", *words], cwd=ROOT, check=True)
    (ours,) = place.glob("lacewing-*.whl")
    (blame,) = place.glob("lacewing_blame-*.whl")
    return [f"{ours}[hf]", str(blame)]


def copied(place: Path) -> Path:
    """Tests and pages, without the source: what is imported is what was installed."""
    shutil.rmtree(place, ignore_errors=True)
    hidden = shutil.ignore_patterns("__pycache__", "hostile", "viewer")
    for name in ("tests", "docs", "examples"):
        shutil.copytree(ROOT / name, place / name, ignore=hidden)
    for path in (*ROOT.glob("*.md"), ROOT / "pyproject.toml"):
        shutil.copy(path, place)
    return place


def environment(place: Path, installed: list[str], wheels: list[str]) -> Path:
    """A Python of its own with some packages and our wheels.

    What is there stays until what is asked for changes; the wheels, whose version is the same when
    only their content changed, are always new.
    """
    python, said = place / "bin" / "python", place / "installed.txt"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    asked = "\n".join([*installed, (ROOT / "pyproject.toml").read_text("utf-8")])
    if not said.exists() or said.read_text("utf-8") != asked:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([*pip, *wheels, *installed], check=True)
        said.write_text(asked, "utf-8")
    if wheels:
        fresh = [wheel.removesuffix("[hf]") for wheel in wheels]
        subprocess.run([*pip, "--no-deps", "--force-reinstall", *fresh], check=True)
    return python


def opened(name: str, door: Door, folder: Path, wheels: list[str], tree: Path) -> str:
    """Run what belongs to a door; how it went."""
    python = environment(folder / name, [*door.installed, "pytest"], wheels)
    setting = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_TOKEN")}
    setting |= {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    if name == "transformers":
        setting["LACEWING_ALONE"] = str(
            environment(folder / ALONE, ["transformers>=5.4,<6", "torch>=2.6,<2.14"], [])
        )
    report = folder / f"{name}.xml"
    report.unlink(missing_ok=True)
    words = ["-m", "pytest", "-q", "-rs", "-o", "addopts=", "-p", "no:cacheprovider"]
    subprocess.run(
        [str(python), *words, f"--junitxml={report}", *door.tests],
        cwd=tree,
        env=setting,
        check=False,
    )
    if not report.exists():
        return "nothing ran"
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {kind: int(suite.get(kind, 0)) for kind in ("errors", "failures", "skipped")}
    odd = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return odd or f"{suite.get('tests')} passed"


if __name__ == "__main__":
    raise SystemExit(main())

"""Natural text for the viewer: some documents of a corpus, read by a process of their own.

Reading a corpus is seconds of pure Python, which would make a server of threads deaf. Run as
`python -m lacewing.viewer.sample CORPUS COUNT`; prints one JSON document a line.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

from lacewing import artifacts
from lacewing.data.corpus import HUB, NAMED, Corpus, plain
from lacewing.data.paths import parts
from lacewing.errors import DataError, LacewingError

LONGEST = 4000
"""Characters of one document, from a random line on."""
SECONDS = 180


def documents(spec: str, count: int) -> list[tuple[str, str]]:
    """Path and text of some validation documents, each from a random line on (seed 0)."""
    dice = random.Random(0)  # noqa: S311 - no secret is drawn
    found = list(Corpus.parse(spec).documents("validation"))
    dice.shuffle(found)
    cut = []
    for document in found[:count]:
        lines = document.text.splitlines(keepends=True)
        start = dice.randrange(max(1, len(lines) - 20))
        cut.append((document.path, "".join(lines[start:])[:LONGEST]))
    return cut


def read(spec: str, count: int) -> list[tuple[str, str]]:
    """The same, in another process.

    Raises:
        DataError: the corpus cannot be read.
    """
    command = [sys.executable, "-m", "lacewing.viewer.sample", spec, str(count)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"corpus {spec!r} took more than {SECONDS} s to read") from error
    if done.returncode:
        raise DataError(done.stderr.strip().splitlines()[-1] if done.stderr else "no text read")
    return [(row[0], row[1]) for row in map(json.loads, done.stdout.splitlines())]


def check(spec: str, root: Path) -> None:
    """Refuse a corpus named by a file that somebody else may have written.

    Raises:
        DataError: it is on the network, or outside the served folder.
    """
    for part in parts(plain(spec)):
        if part in NAMED:
            continue
        if part.startswith(HUB) or not artifacts.real(part).is_relative_to(root):
            raise DataError(
                f"the model's corpus {spec!r} lies outside the served folder: name it yourself "
                "with --corpus to see natural text"
            )


if __name__ == "__main__":
    try:
        for row in documents(sys.argv[1], int(sys.argv[2])):
            print(json.dumps(row))
    except LacewingError as error:
        sys.exit(" ".join(str(error).split()))

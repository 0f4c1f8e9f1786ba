"""Paths of a corpus: absolute, so that a run finds its text from any folder.

A file's split and its prompts follow from its name inside the corpus, which must not change when
the path is made absolute. Where a relative path itself is part of those names (a glob such as
`src/*.py`, or `.`), the folder it was typed in stands before a `/./`:

    text        /home/me/text             names text/a.py, as before
    src/*.py    /home/me/./src/*.py       names src/a.py, as before
"""

import glob
import os
from pathlib import Path

MARK = "/./"
"""Between the folder a glob was typed in and the glob."""


def absolute(pattern: str) -> str:
    """The absolute form of a folder or a glob; files keep their names inside the corpus.

    Example:
        >>> absolute("/data/text")
        '/data/text'
        >>> absolute("src/*.py") == Path.cwd().as_posix() + "/./src/*.py"
        True
    """
    if Path(pattern).is_absolute():
        return pattern
    here = Path.cwd().as_posix()
    typed = Path(pattern)
    named = not glob.has_magic(pattern) and typed.name not in ("", "..")
    return (Path(here) / typed).as_posix() if named else f"{here.rstrip('/')}{MARK}{pattern}"


def files(pattern: str) -> list[tuple[Path, str]]:
    """The files of a folder or a glob in a fixed order, each with its name inside the corpus."""
    head, mark, tail = pattern.partition(MARK)
    folder, typed = (Path(head or "/"), tail) if mark else (Path(), pattern)
    root = folder / typed
    if root.is_dir():
        base = folder if mark else root.parent
        found = [(path, path.relative_to(base).as_posix()) for path in sorted(root.rglob("*"))]
    else:
        names = glob.glob(typed, root_dir=folder if mark else None, recursive=True)
        found = [(folder / name, Path(name).as_posix()) for name in sorted(names, key=Path)]
    return [(path, name) for path, name in found if path.is_file()]


def root(pattern: str) -> Path:
    """The real folder that all files of a folder or a glob lie in; links out of it are not theirs.

    Example:
        >>> root("/usr/lib/**/*.py") == Path(os.path.realpath("/usr/lib"))
        True
    """
    whole = Path(pattern.replace(MARK, "/", 1))
    steps = whole.parts
    magic = next((i for i, step in enumerate(steps) if glob.has_magic(step)), len(steps))
    place = Path(*steps[:magic]) if not whole.is_dir() else whole
    real = Path(os.path.realpath(place))  # a link that was asked for by name is followed
    return real if real.is_dir() else real.parent


def parts(spec: str) -> list[str]:
    """The corpora that are joined by +; a path that exists may have a + of its own."""
    pieces = spec.split("+")
    found = []
    while pieces:
        count = next((n for n in range(len(pieces), 1, -1) if _exists("+".join(pieces[:n]))), 1)
        found.append("+".join(pieces[:count]))
        pieces = pieces[count:]
    return found


def is_missing(pattern: str) -> bool:
    """Whether a folder is not there; what a glob finds is known when it is read."""
    return not glob.has_magic(pattern) and not os.path.exists(pattern)


def _exists(pattern: str) -> bool:
    """Whether there is something at a path, or in the folder of a glob."""
    folder = pattern.partition(MARK)[0] if glob.has_magic(pattern) else pattern
    if glob.has_magic(folder):
        return bool(glob.glob(folder))
    return os.path.exists(folder)

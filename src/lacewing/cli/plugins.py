"""Verbs of other packages, which they declare as entry points of the group `lacewing.verbs`.

Such a verb is a class like those of the command line: a dataclass of flags with `run` and `show`.
Its `mistakes` are the errors that are a mistake of the user's, shown as one line.
"""

from collections.abc import Container, Sequence
from importlib.metadata import entry_points
from typing import Any

from lacewing.errors import ConfigError
from lacewing.progress import say

GROUP = "lacewing.verbs"
ELSEWHERE = {"blame": "lacewing-blame"}
"""Verbs that are known, and the package to install for each."""


def verbs(own: Container[str]) -> dict[str, Any]:
    """The verbs that installed packages add, by name; none replaces one of lacewing's own.

    A package that cannot be loaded is told on standard error; it must not take the other verbs
    along.
    """
    found: dict[str, Any] = {}
    for point in entry_points(group=GROUP):
        if point.name in own:
            continue
        try:
            found[point.name] = point.load()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            say(f"lacewing: {point.name} cannot be loaded ({why})")
    return found


def refuse_missing(words: Sequence[str], found: Container[str]) -> None:
    """Say how to get a verb whose package is not installed.

    Raises:
        ConfigError: the first word is such a verb.
    """
    if words and words[0] in ELSEWHERE and words[0] not in found:
        package = ELSEWHERE[words[0]]
        raise ConfigError(f"{words[0]} is a package of its own: pip install {package}")

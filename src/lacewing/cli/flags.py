"""Flags that several verbs have, and how the words of a command line are read before tyro does."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

import tyro

from lacewing.errors import ConfigError

Json = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""`--json`: end with one JSON object on standard output."""
Model = Annotated[str, tyro.conf.arg(metavar="MODEL")]
"""A model whose help says what it is for."""
OURS = "A run folder, builtin:sparse, or another model that ships (lacewing models)"
OurModel = Annotated[str, tyro.conf.arg(metavar="MODEL", help=f"{OURS}.")]
"""A model of lacewing's own."""
AnyModel = Annotated[str, tyro.conf.arg(metavar="MODEL", help=f"{OURS}, or hf:FOLDER_OR_NAME.")]
"""Any model that lacewing opens."""
Verb = TypeVar("Verb")
SEVERAL, ONE = ("tasks", "compare", "sweep"), ("prune", "verify")
"""Verbs with `--task` that take several tasks, and those that take one."""


def given(words: Sequence[str], flag: str) -> str | None:
    """The value of a flag among words that nobody has parsed; none where it does not stand.

    Example:
        >>> given(["--twin-of", "run", "--tokens=5"], "--tokens")
        '5'
    """
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, _ = word.replace("_", "-").partition("=")
        if name == flag:
            found = word.partition("=")[2] if equals else following
    return found


def wanting(verb: Verb, name: str) -> Verb:
    """A verb to begin with, of which one flag has still to be given."""
    object.__setattr__(verb, name, tyro.MISSING)
    return verb


def with_one_task_flag(words: list[str]) -> list[str]:
    """`--tasks` as `--task`, and several `--task` as one.

    Raises:
        ConfigError: several tasks for a verb that takes one.

    Example:
        >>> with_one_task_flag(["tasks", "--task", "a", "--json", "--tasks", "b", "c"])
        ['tasks', '--json', '--task', 'a', 'b', 'c']
    """
    if words[:1] == [] or words[0] not in (*SEVERAL, *ONE):
        return words
    rest, names, inside = [], [], False
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("--task", "--tasks"):
            inside = not equals
            names += [value] if equals else []
        elif inside and not word.startswith("--"):
            names.append(word)
        else:
            inside = False
            rest.append(word)
    if words[0] in ONE and len(names) > 1:
        raise ConfigError(f"{words[0]} takes one --task, not {len(names)}: {', '.join(names)}")
    if not names:
        return words
    return [*rest, "--task", *names]

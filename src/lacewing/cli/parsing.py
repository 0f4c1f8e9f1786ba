"""The words of a command line as a verb with its flags: help, and one line for what is wrong."""

import functools
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from lacewing.bounds import BoundsError, check
from lacewing.cli.flags import with_one_task_flag
from lacewing.cli.streams import caught, tell
from lacewing.errors import ConfigError, did_you_mean

ABOUT = "Language models that are readable by construction: train, prune, prove, read."
FRAME = re.compile(r"^[│|]?\s*(.*?)\s*[│|]?$")
HELP = re.compile(r"lacewing.*--help")
RULE = re.compile(r"^[─\-]{8,}$")


def parsed(words: Sequence[str], verbs: Mapping[str, Any]) -> Any:
    """The verb that was asked for, with its flags.

    A verb with `begin` says what its flags change, such as a saved configuration: a flag that was
    given counts, even where it equals the default.

    Raises:
        ConfigError: there is no such verb, or a flag is missing, unknown or cannot have its value.
        SystemExit: help was asked for, and told.
    """
    word = words[0] if words else ""
    if word and not word.startswith("-") and word not in verbs:
        raise ConfigError(
            f"no verb {word[:80]!r}; {did_you_mean(word[:80], verbs)}there are: {', '.join(verbs)}"
        )
    words = with_one_task_flag(_with_model(list(words)))
    choices: list[Any] = []
    try:
        for name, verb in verbs.items():
            begin = getattr(verb, "begin", None) if name == word else None
            default = None if begin is None or _wants_help(words) else begin(words)
            given = {} if default is None else {"default": default}
            choices.append(Annotated[verb, tyro.conf.subcommand(name=name, **given)])
        union: Any = functools.reduce(operator.or_, choices)
        with caught() as said:
            try:
                made = tyro.cli(union, prog="lacewing", description=ABOUT, args=words)
            except SystemExit as stop:
                ended: SystemExit | None = stop
            else:
                ended = None
        if ended is None:
            check(made)
            return made
    except BoundsError as error:
        raise ConfigError(f"{_flag(words, error.field)} {error.rest}") from error
    if ended.code:
        raise ConfigError(in_one_line(said.err or said.out)) from ended
    tell(said.out.rstrip("\n"), ours=True)
    raise ended


def in_one_line(box: str) -> str:
    r"""What tyro's frame around an error says, without the help text under it.

    >>> in_one_line("╭─ Value error ─────╮\n│ Error parsing --n │\n│ ───────── │\n│ x │\n╰──╯")
    'Error parsing --n'
    """
    title = ""
    groups: list[list[str]] = [[]]
    for line in re.sub(r"\033\[[0-9;]*m", "", box).splitlines():
        text = FRAME.sub(r"\1", line)
        if line.startswith("╭"):
            title = line.strip("╭╮─ ")
        elif RULE.match(text):
            groups.append([])
        elif text and not line.startswith("╰"):
            groups[-1].append(text)
    if not title:  # where the terminal has no such signs, the title stands over a rule
        title = " ".join(groups.pop(0))
    title, told, rest = title.lower(), " ".join(groups[0]), [one for g in groups[1:] for one in g]
    if not any(word in told.lower() for word in title.split()):
        told = f"{title}: {told}"
    form = next((f"; it is {more}" for more in rest if more.startswith("--")), "")
    help = next((found[0] for more in rest if (found := HELP.search(more))), "")
    return told + form + (f"; see {help}" if help else "")


def _flag(words: Sequence[str], field: str) -> str:
    """The flag of a field, as it was typed where it stands under another's name."""
    name = field.rstrip("_").replace("_", "-")
    typed = [word.replace("_", "-").partition("=")[0] for word in words]
    nested = (word for word in typed if word.startswith("--") and word.endswith(f".{name}"))
    return next(nested, f"--{name}")


def _wants_help(words: list[str]) -> bool:
    return "-h" in words or "--help" in words


def _with_model(words: list[str]) -> list[str]:
    """Read `tasks --run MODEL` as `tasks --run --model MODEL`."""
    if words[:1] == ["tasks"] and "--run" in words[:-1]:
        at = words.index("--run") + 1
        if not words[at].startswith("-"):
            return [*words[:at], "--model", *words[at:]]
    return words

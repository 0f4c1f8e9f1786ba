"""The verbs: `lacewing train | tasks | prune | verify | compare | report | view | ...`.

Each verb is a frozen dataclass whose fields are its flags and whose docstrings are its help; `run`
does the work and returns what `--json` prints. Progress goes to standard error, results to standard
output. A mistake of the user's is one line and exit code 2. torch is imported only by a verb that
runs.
"""

import functools
import json
import operator
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from lacewing import __version__
from lacewing.cli import plugins
from lacewing.cli.attack import Attack
from lacewing.cli.compare import Compare
from lacewing.cli.corpus import BuildCorpus
from lacewing.cli.demo import Demo
from lacewing.cli.explain import Explain
from lacewing.cli.flags import with_one_task_flag
from lacewing.cli.machine import settle
from lacewing.cli.models import Models
from lacewing.cli.program import Program
from lacewing.cli.prune import Prune
from lacewing.cli.report import Report
from lacewing.cli.sweep import Sweep
from lacewing.cli.tasks import Tasks
from lacewing.cli.train import Train
from lacewing.cli.verify import Verify
from lacewing.cli.view import View
from lacewing.errors import ConfigError, LacewingError, did_you_mean

VERBS: dict[str, Any] = {
    "corpus": BuildCorpus,
    "train": Train,
    "models": Models,
    "tasks": Tasks,
    "prune": Prune,
    "verify": Verify,
    "explain": Explain,
    "program": Program,
    "attack": Attack,
    "compare": Compare,
    "sweep": Sweep,
    "report": Report,
    "demo": Demo,
    "view": View,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; exit code 0, 2 for a mistake of the user's, 130 for an interruption."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"lacewing {__version__}")
        return
    settle()
    others = plugins.verbs(VERBS)
    mistakes = (LacewingError, *(error for verb in others.values() for error in verb.mistakes))
    try:
        plugins.refuse_missing(words, others)
        result = (verb := _parsed(words, VERBS | others)).run()
    except mistakes as error:
        print(f"lacewing: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as stop:
        print("\nlacewing: interrupted; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from stop
    try:
        _tell(verb.show(result), json.dumps(result) if verb.json else "")
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parsed(words: list[str], verbs: dict[str, Any]) -> Any:
    """The verb that was asked for, with its flags.

    A verb with `begin` says what its flags change, such as a saved configuration: a flag that was
    given counts, even where it equals the default.

    Raises:
        ConfigError: there is no such verb.
    """
    word = words[0] if words else ""
    if word and not word.startswith("-") and word not in verbs:
        raise ConfigError(
            f"no verb {word!r}; {did_you_mean(word, verbs)}there are: {', '.join(verbs)}"
        )
    words = with_one_task_flag(_with_model(words))
    choices: list[Any] = []
    for name, verb in verbs.items():
        begin = getattr(verb, "begin", None) if name == word else None
        default = None if begin is None or _wants_help(words) else begin(words)
        given = {} if default is None else {"default": default}
        choices.append(Annotated[verb, tyro.conf.subcommand(name=name, **given)])
    union: Any = functools.reduce(operator.or_, choices)
    return tyro.cli(union, prog="lacewing", description=_about(), args=words)


def _wants_help(words: list[str]) -> bool:
    return "-h" in words or "--help" in words


def _tell(*lines: str) -> None:
    for line in filter(None, lines):
        print(line)
    sys.stdout.flush()


def _about() -> str:
    return "Language models that are readable by construction: train, prune, prove, read."


def _with_model(words: list[str]) -> list[str]:
    """Read `tasks --run MODEL` as `tasks --run --model MODEL`."""
    if words[:1] == ["tasks"] and "--run" in words[:-1]:
        at = words.index("--run") + 1
        if not words[at].startswith("-"):
            return [*words[:at], "--model", *words[at:]]
    return words

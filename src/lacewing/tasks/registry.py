"""Tasks by name: the paper's twenty in its order, those you define, and files of pairs."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from lacewing.errors import DataError, did_you_mean
from lacewing.tasks.catalogue import brackets, everyday, functions, loops, statements, strings
from lacewing.tasks.catalogue import names as naming
from lacewing.tasks.catalogue.english import ENGLISH
from lacewing.tasks.task import Generator, Origin, Task
from lacewing.tasks.userfile import read_pairs

PAPER = (
    strings.single_double_quote,
    functions.final_kwarg,
    naming.set_or_string,
    naming.set_or_string_fixedvarname,
    naming.class_init,
    statements.with_as,
    brackets.bracket_brace,
    strings.with_open,
    brackets.bracket_counting,
    loops.for_while,
    statements.else_elif,
    strings.fstring_brace,
    statements.if_ternary,
    naming.var_swap,
    loops.indent_for,
    functions.lambda_func,
    statements.if_equals,
    loops.enumerate_range,
    statements.var_if,
    statements.while_return_true,
)
EVERYDAY = (
    everyday.from_import,
    everyday.except_return,
    everyday.for_in,
    everyday.is_not,
    everyday.def_return,
    everyday.try_pass,
    everyday.raise_except,
    everyday.not_in,
    everyday.async_await,
    everyday.dict_list,
    everyday.index_call,
    everyday.comprehension_in,
    everyday.def_call,
    everyday.self_none,
    everyday.isinstance_len,
)
CATALOGUES: dict[str, tuple[Task, ...]] = {"paper": PAPER, "everyday": EVERYDAY, "english": ENGLISH}
"""Tasks that come with lacewing: the paper's twenty, fifteen decisions of everyday Python, and
seven of English."""
_defined: dict[str, Task] = {}


def names(catalogue: str = "paper") -> tuple[str, ...]:
    """The tasks of a catalogue; the paper's twenty are in the order of its Table 1.

    Raises:
        DataError: there is no such catalogue.

    Example:
        >>> len(names()), len(names("everyday"))
        (20, 15)
    """
    if catalogue not in CATALOGUES:
        raise DataError(f"no catalogue {catalogue!r}; there are: {', '.join(CATALOGUES)}")
    return tuple(task.name for task in CATALOGUES[catalogue])


def get(name_or_file: str | Path) -> Task:
    """A task by its name, or the pairs of a JSONL file.

    Raises:
        DataError: no such task or file, or the file is no list of pairs.

    Example:
        >>> get("single_double_quote").name
        'single_double_quote'
    """
    text = str(name_or_file)
    if task := named(text):
        return task
    if text.endswith(".jsonl") or Path(text).is_file():
        return read_pairs(Path(text))
    known = (*_named(), *sorted(_defined))
    raise DataError(
        f"unknown task {text!r}; {did_you_mean(text, known)}choose a .jsonl file of pairs, or one "
        f"of: {', '.join(known)}"
    )


def named(name: str) -> Task | None:
    """The task of a name, never a file; none where there is none of it.

    For names out of files: whoever wrote one must not choose what else is read.

    Example:
        >>> named("single_double_quote").name, named("/home/me/notes.jsonl")
        ('single_double_quote', None)
    """
    return _named().get(name) or _defined.get(name)


def define(
    name: str,
    answers: Iterable[tuple[str, str]] = (),
    *,
    origin: Origin = "user",
) -> Callable[[Generator], Task]:
    """Make a task of a generator, and let `get` find it by its name in this process.

    Args:
        name: Name of the task; those of the catalogues are taken.
        answers: Acceptable answers of (clean, corrupted), best first; none where each draft brings
            its own.
        origin: Where its prompts come from.

    Raises:
        DataError: the name is taken.
    """
    if name in _named():
        raise DataError(f"task name {name!r} is taken by a catalogue; choose another")

    def decorate(generate: Generator) -> Task:
        _defined[name] = Task.from_function(generate, name=name, answers=answers, origin=origin)
        return _defined[name]

    return decorate


@cache
def _named() -> dict[str, Task]:
    return {task.name: task for tasks in CATALOGUES.values() for task in tasks}

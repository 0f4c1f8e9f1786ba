"""What several tasks share: a choice of places in a file, and pieces of lines to put there."""

from collections.abc import Callable, Iterable, Iterator
from random import Random

from lacewing.tasks.source import SourceFile, Statement
from lacewing.tasks.task import PER_FILE, Generator, Origin, Task


def builtin(
    answers: Iterable[tuple[str, str]] = (),
    *,
    origin: Origin = "natural",
    partial: bool = False,
    aligned: bool = False,
) -> Callable[[Generator], Task]:
    """Make a task of the paper from its generator."""

    def decorate(generate: Generator) -> Task:
        return Task.from_function(
            generate, answers=answers, origin=origin, partial=partial, aligned=aligned
        )

    return decorate


def some_slots(file: SourceFile, random: Random) -> list[Statement]:
    """A sample of the places inside functions where a line can be composed."""
    return random.sample(file.slots, min(len(file.slots), 2 * PER_FILE))


def of_kind(file: SourceFile, *kinds: str) -> Iterator[tuple[Statement, str]]:
    """Statements of some kinds with their first line, without its newline."""
    for statement in file.statements:
        if statement.kind in kinds:
            yield statement, file.line_of(statement).rstrip("\n")


def known(file: SourceFile, line: int, random: Random, count: int) -> list[str]:
    """`count` different names, of those bound nearest above a line; fewer if there are fewer."""
    near = file.names(line, 3 * count)
    return random.sample(near, min(len(near), count))


def indented(statement: Statement, text: str) -> str:
    """A line at the indent of a statement."""
    return " " * statement.indent + text

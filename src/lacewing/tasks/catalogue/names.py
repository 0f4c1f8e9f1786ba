"""Tasks about what a name stands for, and about copying names."""

from collections.abc import Iterator
from itertools import permutations
from random import Random

from lacewing.tasks.catalogue.lines import builtin, indented, known, some_slots
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile, Statement

FIXED_NAME = "current"
COMMON = ("name", "value", "key", "data", "path", "size", "start", "end", "text", "index")
SHORT = ("a", "b", "c", "d", "f", "i", "j", "k", "m", "n", "p", "q", "s", "t", "x", "y")
STEPS = ("Assign", "AugAssign", "Expr", "For", "If", "While", "With")
ADD = (".add", " +=")


@builtin([ADD], origin="composed")
def set_or_string(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Whether a name is a set or a string: `x = set()` ... `x` -> `.add`, `x = ""` ... -> ` +=`.

    Composed: the assignment and its use stand around a real statement of the file, with a name that
    the file binds near by; the name differs between pairs.
    """
    for slot in some_slots(file, random):
        for name in known(file, slot.line, random, 1):
            yield from _set_or_string(file, slot, name)


@builtin([ADD], origin="composed")
def set_or_string_fixedvarname(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Set or string, as set_or_string, with a variable that is always called `current`.

    Composed: the assignment and its use stand around a real statement of the file.
    """
    for slot in some_slots(file, random):
        yield from _set_or_string(file, slot, FIXED_NAME)


@builtin(origin="composed")
def class_init(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Copying the attribute's name: `self.size = size`, `self.name =` -> ` name`.

    Composed: an `__init__` at the place of a real method of the file, with parameter names of the
    file; the partner assigns another parameter. The answers are the two names.
    """
    for statement in file.statements:
        if statement.kind != "FunctionDef" or statement.owner != "ClassDef":
            continue
        near = list(dict.fromkeys((*file.parameters(statement.line, 12), *COMMON)))
        names = random.sample(near, min(len(near), 6))
        for first, second in permutations(random.sample(names, 4), 2):
            rest = [n for n in names if n not in (first, second)][:2]
            order = random.sample([first, second, *rest], 4)
            lines = [f"def __init__(self, {', '.join(order)}):"]
            lines += [f"    self.{name} = {name}" for name in order if name in rest]
            head = "".join(indented(statement, line) + "\n" for line in lines)
            clean, corrupted = (
                head + indented(statement, f"    self.{name} =") for name in (first, second)
            )
            answers = (f" {first}", f" {second}")
            yield Draft(clean, corrupted, statement.line, answers, natural=False)


@builtin(origin="composed")
def var_swap(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Completing a swap: `x, y = y,` -> ` x`, `z, y = y,` -> ` z`.

    Composed: a line in a function of the file, with names of one letter or names that the file
    binds near by; the partner swaps another name. The answers are the two names.
    """
    for slot in some_slots(file, random):
        near = known(file, slot.line, random, 6)
        names = random.sample(near if len(near) > 2 and random.random() < 0.7 else SHORT, 3)
        first, second, kept = names
        clean, corrupted = (indented(slot, f"{n}, {kept} = {kept},") for n in (first, second))
        yield Draft(clean, corrupted, slot.line, (f" {first}", f" {second}"), natural=False)


def _set_or_string(file: SourceFile, slot: Statement, name: str) -> Iterator[Draft]:
    """The assignment above a statement of one line, and the name below it."""
    step = file.line_of(slot)
    body = step.endswith(":\n")
    if slot.kind not in STEPS or len(step) > 80 or name in step:
        return
    if body != (slot.kind in ("For", "If", "While", "With")) or (not body and slot.end > slot.line):
        return
    use = "\n" * (not step.endswith("\n")) + indented(slot, "    " * body + name)
    clean, corrupted = (
        indented(slot, f"{name} = {empty}\n") + step + use for empty in ("set()", '""')
    )
    yield Draft(clean, corrupted, slot.line, natural=False)

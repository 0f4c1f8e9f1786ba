"""Tasks about loops."""

import re
from collections.abc import Iterator
from random import Random

from lacewing.tasks.catalogue.lines import builtin, indented, known, of_kind, some_slots
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile, Statement

FOR = re.compile(r" *for ([A-Za-z_]\w*) in ")
WHILE = re.compile(r" *while ([A-Za-z_]\w*)\b(?!\()")
FOR_WHOLE = re.compile(r" *for ([A-Za-z_][\w, ]*) in ([A-Za-z_][^:#]{0,32}):")
ASSIGN_WHOLE = re.compile(
    r" *([a-z_]\w*) = ((?!None|True|False)[A-Za-z_][\w.]{0,20}(?:\([^#]{0,20}\))?)"
)
INDENTS = (8, 4)
COUNTERS = ("i", "j", "k", "n")


@builtin([(" in", ":\n"), (" in", ":"), (" in", " <")], origin="mixed")
def for_while(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""For or while: `for x` -> ` in`, `while x` -> `:\n`.

    Natural: loops of the file over, or while, one name, either made into the other. Filled up with
    such lines composed in its functions, on names that the file binds near by.
    """
    for statement, line in of_kind(file, "For", "While"):
        found = (FOR if statement.kind == "For" else WHILE).match(line)
        if found and found[1] not in ("True", "not"):
            yield _for_while(" " * statement.indent, found[1], statement.line, natural=True)
    for slot in some_slots(file, random):
        for name in known(file, slot.line, random, 1):
            yield _for_while(" " * slot.indent, name, slot.line, natural=False)


@builtin([(" " * (i + 3), " " * (i - 1)) for i in INDENTS], origin="mixed")
def indent_for(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Indentation after a loop's head: `for x in xs:` -> deeper, `x = xs` -> the same.

    Natural: for lines and assignments in functions of the file at an indent of 8 spaces, either
    made into the other; at 4 where a tokenizer lacks those answers. The last space belongs to the
    next word. Filled up, if need be, with such lines on names that the file binds near by.
    """
    for statement, line in of_kind(file, "For", "Assign"):
        pattern = FOR_WHOLE if statement.kind == "For" else ASSIGN_WHOLE
        if statement.owner != "ClassDef" and (found := pattern.fullmatch(line)):
            yield from _indent_for(statement, found[1], found[2], natural=True)
    for slot in some_slots(file, random):
        names = known(file, slot.line, random, 2)
        if len(names) == 2:
            yield from _indent_for(slot, names[0], names[1], natural=False)


@builtin([(" enumerate", " range")], origin="composed", partial=True)
def enumerate_range(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Two loop variables or one: `for i, x in` -> ` enumerate`, `for i in` -> ` range`.

    Composed: a for line in a function of the file, with a counter and a name that the file binds
    near by. Where ` enumerate` is more than one token, its first token is the answer.
    """
    for slot in some_slots(file, random):
        for name in known(file, slot.line, random, 1):
            counter = random.choice([c for c in COUNTERS if c != name])
            clean, corrupted = (
                indented(slot, f"for {variables} in")
                for variables in (f"{counter}, {name}", counter)
            )
            yield Draft(clean, corrupted, slot.line, natural=False)


def _indent_for(slot: Statement, target: str, values: str, *, natural: bool) -> Iterator[Draft]:
    if slot.indent in INDENTS:
        clean = indented(slot, f"for {target} in {values}:\n")
        corrupted = indented(slot, f"{target} = {values}\n")
        answers = " " * (slot.indent + 3), " " * (slot.indent - 1)
        yield Draft(clean, corrupted, slot.line, answers, natural=natural)


def _for_while(indent: str, name: str, line: int, *, natural: bool) -> Draft:
    return Draft(f"{indent}for {name}", f"{indent}while {name}", line, natural=natural)

"""Tasks about what kind of statement a line is: condition, assignment, loop, return."""

import re
from collections.abc import Iterator
from random import Random

from lacewing.tasks.catalogue.lines import builtin, indented, known, of_kind, some_slots
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile

COMPARED = re.compile(r" *if ([A-Za-z_]\w*) == ")
ASSIGNED = re.compile(r" *([A-Za-z_]\w*) = ")
COMPARED_VALUE = re.compile(r" *if ([\w.]{1,24}) == ([A-Za-z_][\w.]{0,24}|\d+):")
ASSIGNED_VALUE = re.compile(r" *([\w.]{1,24}) = ([A-Za-z_][\w.]{0,24}|\d+)")
CONDITION = re.compile(r" *if ([A-Za-z_][\w. ]*(?:==|!=|<|>|<=|>=)?[\w. ]*\w):")


@builtin([(" ==", " =")])
def if_equals(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Comparison or assignment: `if x` -> ` ==`, `x` -> ` =`.

    Natural: comparisons of the file, and assignments to names that the file binds above.
    """
    for statement, line in of_kind(file, "If", "Assign"):
        found = (COMPARED if statement.kind == "If" else ASSIGNED).match(line)
        if not found:
            continue
        if statement.kind == "If" or found[1] in file.names(statement.line, 20):
            clean, corrupted = (indented(statement, f"{start}{found[1]}") for start in ("if ", ""))
            yield Draft(clean, corrupted, statement.line)


@builtin([(":\n", "\n")])
def var_if(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Condition or assignment: `if x == True` -> `:\n`, `x = True` -> newline.

    Natural: lines of the file that compare with, or assign, a constant or a name.
    """
    for statement, line in of_kind(file, "If", "Assign"):
        pattern = COMPARED_VALUE if statement.kind == "If" else ASSIGNED_VALUE
        if found := pattern.fullmatch(line):
            name, value = found.groups()
            clean = indented(statement, f"if {name} == {value}")
            yield Draft(clean, indented(statement, f"{name} = {value}"), statement.line)


@builtin([(":\n", "\n")], origin="mixed")
def while_return_true(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Colon or newline: `while True` -> `:\n`, `return True` -> newline.

    Natural: such lines of the file. Filled up with other return and while lines of the file, whose
    value becomes True.
    """
    for statement, line in of_kind(file, "While", "Return"):
        natural = line.strip() in ("while True:", "return True")
        clean, corrupted = (indented(statement, f"{word} True") for word in ("while", "return"))
        yield Draft(clean, corrupted, statement.line, natural=natural)


@builtin([(":\n", " else")])
def if_ternary(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Statement or expression: `if ready` -> `:\n`, `x = y if ready` -> ` else`.

    Natural: if lines of the file with a plain condition; the partner puts an assignment of names
    that the file binds near by in front of the `if`.
    """
    for statement, line in of_kind(file, "If"):
        found = CONDITION.fullmatch(line)
        names = known(file, statement.line, random, 2) if found else []
        if found and len(names) == 2:
            target, value = names
            clean = indented(statement, f"if {found[1]}")
            corrupted = indented(statement, f"{target} = {value} if {found[1]}")
            yield Draft(clean, corrupted, statement.line)


@builtin([(":\n", " not"), (":\n", " self"), (":", " not")], origin="mixed")
def else_elif(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Else or elif: `else` -> `:\n`, `elif` -> ` not`, the start of a condition.

    Natural: else and elif lines of if statements of the file, either made into the other. Filled
    up, if need be, with such lines under if statements that have none.
    """
    for statement, line in of_kind(file, "Else", "If", "AfterIf"):
        if statement.kind != "If" or line.lstrip().startswith("elif "):
            clean, corrupted = (indented(statement, word) for word in ("else", "elif"))
            natural = statement.kind != "AfterIf"
            yield Draft(clean, corrupted, statement.line, natural=natural)


@builtin([(" as", " if"), (" as", " or"), (" as", " #")], origin="composed")
def with_as(file: SourceFile, random: Random) -> Iterator[Draft]:
    """With statement or assignment: `with open(path)` -> ` as`, `f = open(path)` -> ` if`.

    Composed: a call of open in a function of the file, on a name that the file binds near by.
    After a closing bracket that ends no line, ` if` is what a plain assignment can go on with.
    """
    for slot in some_slots(file, random):
        names = known(file, slot.line, random, 2)
        if len(names) == 2:
            target, path = names
            clean = indented(slot, f"with open({path})")
            yield Draft(clean, indented(slot, f"{target} = open({path})"), slot.line, natural=False)

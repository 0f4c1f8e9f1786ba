"""Fifteen decisions that any reader of Python gets right; natural, and none of them the paper's.

They ask whether a model has learned the language, not whether it has learned a task: their prompts
come from packages that no model here read (recipes/unseen.txt).
"""

import re
from collections.abc import Iterator
from random import Random

from lacewing.tasks.catalogue.lines import builtin, indented, of_kind
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile, Statement

NAME = r"[A-Za-z_]\w{0,23}"
FROM = re.compile(r" *from ([A-Za-z_][\w.]{0,40}) import ")
CAUGHT = re.compile(rf" *except ({NAME}(?:\.{NAME})*):\n")
LOOP = re.compile(rf" *for ({NAME}) in ")
IS_NOT = re.compile(rf" *((?:el)?if) ({NAME}(?:\.{NAME})*) is not ")
OPENED = re.compile(rf" *def ({NAME})\(")
RAISED = re.compile(rf" *raise ({NAME})\(")
NOT_IN = re.compile(rf" *((?:el)?if) ({NAME}(?:\.{NAME})*) not in ")
FIRST_KEY = re.compile(rf" *({NAME} = |return )\{{(['\"])(\w{{1,24}})\2:")
INDEXED = re.compile(rf" *((?:{NAME} = |return ){NAME}(?:\.{NAME})*)\[(\w{{1,12}})\]\n")
LISTED = re.compile(rf" *((?:{NAME} = |return )\[[^\[\]\n]{{1,40}}) for ({NAME}) in ")
DEFINED = re.compile(rf" *def ({NAME}\([\w, ]{{1,40}})\):\n")
FROM_SELF = re.compile(rf" *((?:{NAME} = |return ))self\.")
INSTANCE = re.compile(rf" *if isinstance\(({NAME}(?:\.{NAME})*), ")


def _lines(
    file: SourceFile, pattern: re.Pattern[str], *kinds: str
) -> Iterator[tuple[Statement, re.Match[str]]]:
    """Statements of some kinds whose first line the pattern matches."""
    for statement, line in of_kind(file, *kinds):
        if found := pattern.match(line + "\n"):
            yield statement, found


def _pair(statement: Statement, clean: str, corrupted: str) -> Draft:
    return Draft(indented(statement, clean), indented(statement, corrupted), statement.line)


@builtin([(" import", "\n")])
def from_import(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Which import: `from x` -> ` import`, `import x` -> newline."""
    for statement, found in _lines(file, FROM, "ImportFrom"):
        yield _pair(statement, f"from {found[1]}", f"import {found[1]}")


@builtin([(":\n", "\n")])
def except_return(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Block or statement: `except Error` -> `:\n`, `return Error` -> newline."""
    for line, text in enumerate(file.lines):
        if found := CAUGHT.match(text):
            space = text[: len(text) - len(text.lstrip())]
            clean, corrupted = (f"{space}{word} {found[1]}" for word in ("except", "return"))
            yield Draft(clean, corrupted, line)


@builtin([(" in", ":\n")])
def for_in(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Which loop: `for x` -> ` in`, `while x` -> `:\n`."""
    for statement, found in _lines(file, LOOP, "For"):
        yield _pair(statement, f"for {found[1]}", f"while {found[1]}")


@builtin([(" not", ":\n")])
def is_not(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Half of a comparison or a whole condition: `if x is` -> ` not`, `if x` -> `:\n`."""
    for statement, found in _lines(file, IS_NOT, "If"):
        yield _pair(statement, f"{found[1]} {found[2]} is", f"{found[1]} {found[2]}")


@builtin([("(", "\n")])
def def_return(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Definition or expression: `def f` -> `(`, `return f` -> newline."""
    for statement, found in _lines(file, OPENED, "FunctionDef"):
        yield _pair(statement, f"def {found[1]}", f"return {found[1]}")


@builtin([(":\n", "\n")])
def try_pass(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Block or statement: `try` -> `:\n`, `pass` -> newline."""
    for statement, line in of_kind(file, "Try", "Pass"):
        if line.strip() in ("try:", "pass"):
            yield _pair(statement, "try", "pass")


@builtin([("(", ":\n")])
def raise_except(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Call or block: `raise Error` -> `(`, `except Error` -> `:\n`."""
    for statement, found in _lines(file, RAISED, "Raise"):
        yield _pair(statement, f"raise {found[1]}", f"except {found[1]}")


@builtin([(" in", ":\n")])
def not_in(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Where the `not` stands: `if x not` -> ` in`, `if not x` -> `:\n`."""
    for statement, found in _lines(file, NOT_IN, "If"):
        yield _pair(statement, f"{found[1]} {found[2]} not", f"{found[1]} not {found[2]}")


@builtin([(" def", " self")])
def async_await(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Definition or expression: `async` -> ` def`, `await` -> ` self`."""
    for statement, line in of_kind(file, "AsyncFunctionDef"):
        if line.lstrip().startswith("async def"):
            yield _pair(statement, "async", "await")


@builtin()
def dict_list(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Dictionary or list: `x = {'a` -> `':`, `x = ['a` -> `',`."""
    for statement, found in _lines(file, FIRST_KEY, "Assign", "Return"):
        start, quote, key = found.groups()
        yield Draft(
            indented(statement, f"{start}{{{quote}{key}"),
            indented(statement, f"{start}[{quote}{key}"),
            statement.line,
            answers=(f"{quote}:", f"{quote},"),
        )


@builtin([("]\n", ")\n")])
def index_call(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Index or call: `x = y[0` -> `]\n`, `x = y(0` -> `)\n`."""
    for statement, found in _lines(file, INDEXED, "Assign", "Return"):
        yield _pair(statement, f"{found[1]}[{found[2]}", f"{found[1]}({found[2]}")


@builtin([(" in", " else")])
def comprehension_in(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Loop or condition in a list: `[x for y` -> ` in`, `[x if y` -> ` else`."""
    for statement, found in _lines(file, LISTED, "Assign", "Return"):
        yield _pair(statement, f"{found[1]} for {found[2]}", f"{found[1]} if {found[2]}")


@builtin([("):\n", ")\n")])
def def_call(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Definition or call: `def f(x` -> `):\n`, `f(x` -> `)\n`."""
    for statement, found in _lines(file, DEFINED, "FunctionDef"):
        yield _pair(statement, f"def {found[1]}", found[1])


@builtin([(".", "\n")])
def self_none(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Object or constant: `x = self` -> `.`, `x = None` -> newline."""
    for statement, found in _lines(file, FROM_SELF, "Assign", "Return"):
        yield _pair(statement, f"{found[1]}self", f"{found[1]}None")


@builtin([(",", ")")])
def isinstance_len(file: SourceFile, random: Random) -> Iterator[Draft]:
    """How many arguments: `if isinstance(x` -> `,`, `if len(x` -> `)`."""
    for statement, found in _lines(file, INSTANCE, "If"):
        yield _pair(statement, f"if isinstance({found[1]}", f"if len({found[1]}")

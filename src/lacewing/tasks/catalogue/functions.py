"""Tasks about functions and their parameters."""

import re
from collections.abc import Iterator
from random import Random

from lacewing.tasks.catalogue.lines import builtin, indented, known, of_kind
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile

DEFINITION = re.compile(r" *def (\w+)\(([A-Za-z_][\w=, ]*)\):")


@builtin([("=None", "):\n"), ("=", "):\n"), ("=", ")"), ("=", "):")], origin="mixed")
def final_kwarg(file: SourceFile, random: Random) -> Iterator[Draft]:
    r"""Default like the one before: `def f(a, b=None, c` -> `=None`, `def f(a, b, c` -> `):\n`.

    Natural: definitions of the file, with the default taken from, or given to, the last parameter
    but one. Filled up with definitions that get more parameters, of names that the file binds near
    by.
    """
    for statement, line in of_kind(file, "FunctionDef"):
        found = DEFINITION.fullmatch(line)
        if not found:
            continue
        names = [part.partition("=")[0].strip() for part in found[2].split(",") if part.strip()]
        natural = _own(names) > 1
        if not natural:
            names += [n for n in known(file, statement.line, random, 2) if n not in names]
        if _own(names) > 1:
            *start, other, last = names
            clean, corrupted = (
                indented(statement, f"def {found[1]}({', '.join([*start, other + default, last])}")
                for default in ("=None", "")
            )
            yield Draft(clean, corrupted, statement.line, natural=natural)


@builtin([(":", "(self"), (":", "(")], origin="mixed")
def lambda_func(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Lambda or def: `x = lambda func` -> `:`, `def func` -> `(self`.

    Natural: methods of the file; the partner assigns a lambda whose parameter is called like the
    method, to a name that the file binds. Filled up with other names for the method.
    The answer is `(` where a tokenizer has no `(self`.
    """
    for statement, line in of_kind(file, "FunctionDef"):
        found = re.match(r" *def ([a-z]\w*)\(self\b", line)
        if found and statement.owner == "ClassDef" and file.all_names:
            others = random.choices(file.all_names, k=6)
            for name, natural in ((found[1], True), *((other, False) for other in others)):
                target = random.choice(file.all_names)
                clean = indented(statement, f"{target} = lambda {name}")
                corrupted = indented(statement, f"def {name}")
                yield Draft(clean, corrupted, statement.line, natural=natural)


def _own(names: list[str]) -> int:
    """Parameters that are not the object or class itself."""
    return len([name for name in names if name not in ("self", "cls")])

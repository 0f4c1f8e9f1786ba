"""Tasks about quotes and what stands inside them."""

import re
from collections.abc import Iterator
from random import Random

from lacewing.tasks.catalogue.lines import builtin, indented, known, some_slots
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile

QUOTED_CALL = re.compile(r"""([^'"#\n]*\w\()(["'])([A-Za-z][^'"\\{}%\n]{0,24}[A-Za-z0-9])\2\)""")
BEFORE_VALUE = re.compile(
    r"""([^'"#\n]*[(=,] ?)(?P<f>f)?(?P<quote>["'])(?P<text>[A-Za-z][^'"\\{}%\n]*[A-Za-z0-9:=,]) """
    r"""(?(f)\{|%[srd])"""
)
MESSAGE_CALL = re.compile(
    r" *(raise \w+\(|print\(|[A-Za-z_][\w.]*(?:[._]|\b)"
    r"(?:debug|error|exit|fail|info|log|message|msg|warn|warning|write)\()"
)
KINDS_OF_FILE = (("input", "output"), ("in", "out"))
REMARKS = (
    "Invalid",
    "Unknown",
    "Missing",
    "Bad",
    "No",
    "Cannot read",
    "Expected",
    "Found",
    "Reading",
)
ENDINGS = ("txt", "csv", "json", "log", "dat")


@builtin([('")', "')"), ('")\n', "')\n"), ('"', "'")], aligned=True, origin="mixed")
def single_double_quote(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Which quote closes the string: `print("No reviews` -> `")`, `print('No reviews` -> `')`.

    Natural: calls in the file whose argument is one plain string, with the other quote as partner.
    Filled up with calls that take a message in this file, composed in its functions with a phrase
    of its prose or a remark on a name it binds.
    """
    for statement in file.statements:
        if found := QUOTED_CALL.match(file.line_of(statement)):
            opening, _, text = found.groups()
            yield Draft(f'{opening}"{text}', f"{opening}'{text}", statement.line)
    for line, opening, phrase in _messages(file, random):
        yield Draft(f'{opening}"{phrase}', f"{opening}'{phrase}", line, natural=False)


@builtin([(" {", " %")], origin="mixed")
def fstring_brace(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Whether the string is an f-string: `print(f"Total:` -> ` {`, `print("Total:` -> ` %`.

    Natural: strings of the file in which a value follows, written either way. Filled up with
    calls that take a message in this file, composed in its functions with a phrase of its prose or
    a remark on a name it binds.
    """
    for statement in file.statements:
        if found := BEFORE_VALUE.match(file.line_of(statement)):
            opening, rest = found[1], found["quote"] + found["text"]
            yield Draft(f"{opening}f{rest}", f"{opening}{rest}", statement.line)
    for line, opening, phrase in _messages(file, random):
        rest = random.choice("\"'") + phrase + random.choice(("", ":", ":"))
        yield Draft(f"{opening}f{rest}", f"{opening}{rest}", line, natural=False)


@builtin([("r", "w")], origin="composed")
def with_open(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Read or write mode, from the file's name: `open("input.txt", "` -> `r`, `output` -> `w`.

    Composed: a with line in a function of the file, with names of the file in the file name.
    """
    for slot in some_slots(file, random):
        stem = "".join(f"{name}_" for name in known(file, slot.line, random, 1))
        ending, quote = random.choice(ENDINGS), random.choice("\"'")
        clean, corrupted = (
            indented(slot, f"with open({quote}{stem}{kind}.{ending}{quote}, {quote}")
            for kind in random.choice(KINDS_OF_FILE)
        )
        yield Draft(clean, corrupted, slot.line, natural=False)


def _messages(file: SourceFile, random: Random) -> Iterator[tuple[int, str, str]]:
    """Lines that call, up to the bracket, something in the file that takes a message, or print.

    Each comes with the place to put it and a message: a phrase of the file, or a remark on a name
    that it binds near by.
    """
    heads = {found[1] for s in file.slots if (found := MESSAGE_CALL.match(file.line_of(s)))}
    choices = sorted(heads | {"print(", "raise ValueError("})
    for slot in some_slots(file, random):
        said = [
            f"{random.choice(REMARKS)} {name.replace('_', ' ')}"
            for name in known(file, slot.line, random, 1)
        ]
        said += random.sample(file.phrases, min(len(file.phrases), 1))
        if said:
            yield slot.line, indented(slot, random.choice(choices)), random.choice(said)

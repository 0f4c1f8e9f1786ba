"""Taught text: lines of the kinds that tasks ask about, written into training files.

A model that reads tens of millions of tokens meets a nested list or a swap of two names too seldom
to learn from them; the published models read thousands of times as much. So a training file can get
such lines in between its own: whole statements in varied forms, with names that stand near by. The
files of the validation and task splits stay as they are, so that losses are those of real text and
prompts are cut from files without such lines.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from keyword import iskeyword, issoftkeyword
from random import Random

SHARE = 0.2
"""Chance that a statement of a file gets a taught line in front."""
REACH = 30
"""Lines above a place whose names are used there."""
WORDS = re.compile(r"[A-Za-z_]\w*")
LONGEST = 20  # characters of a name
ENDINGS = ("txt", "csv", "json", "log", "dat")
SHORT = tuple("abcdfgijkmnpqstuvxyz")
OPENINGS = ("Invalid", "Unknown", "Missing", "No", "Cannot read", "Found", "Reading", "Set", "Bad")
TAKERS = ("print", "log", "self.fail", "logger.info", "raise ValueError", "write", "self.error")


@dataclass(frozen=True)
class Place:
    """Where a line can go: its choices and the names near by."""

    random: Random
    names: list[str]

    def name(self) -> str:
        """A name of the file, or now and then a single letter."""
        return self.some(1)[0]

    def some(self, count: int) -> list[str]:
        """`count` different names."""
        pool = self.names if len(self.names) >= count and self.random.random() < 0.8 else SHORT
        return self.random.sample(pool, count)

    def either(self, *choices: str) -> str:
        """One of several texts."""
        return self.random.choice(choices)

    def value(self) -> str:
        """A name, a number or a string."""
        quote = self.either("'", '"')
        return self.either(self.name(), str(self.random.randrange(20)), quote + self.name() + quote)


def with_taught_lines(text: str, seed: str) -> str:
    """The file with taught lines in between; what cannot be parsed stays as it is.

    Args:
        text: Python source.
        seed: Decides all choices, together with the text's own length; the file's path, say.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    random = Random(f"{seed} {len(text)}")  # noqa: S311  no secret hangs on it
    lines = text.split("\n")
    added: dict[int, list[str]] = {}
    for body, owner in _bodies(tree):
        for k, statement in enumerate(body):
            if random.random() < SHARE and (line := _start(statement, lines)) is not None:
                place = Place(random, _names(lines, line))
                write = random.choice(METHODS if owner == "ClassDef" else STATEMENTS)
                before, after = write(place)
                later = _later(body, k, lines) if after else line
                if later is not None:
                    added.setdefault(line, []).extend(_at(line, before, lines))
                    added.setdefault(later, [])[:0] = _at(later, after, lines)
    out = []
    for number, kept in enumerate(lines):
        out += [*added.get(number, ()), kept]
    return "\n".join(out)


Written = tuple[list[str], list[str]]
"""Lines in front of a statement, and lines after it (or at the start of its body)."""


def call(p: Place) -> Written:
    """A call on a string, in either quote."""
    quote = p.either("'", '"')
    words = f"{p.either(*OPENINGS, p.name())} {p.name().replace('_', ' ')}"
    text = p.either(words, p.name(), p.name().title())
    taker = p.either(*TAKERS, p.name(), f"{p.name()}.{p.name()}")
    more = p.either("", "", f"{p.name()}, ")
    more = "" if taker.startswith(("raise", "print")) else more
    return [f"{taker}({more}{quote}{text}{quote})"], []


def message(p: Place) -> Written:
    """A message with a value: an f-string, or a format with %."""
    quote, value = p.either("'", '"'), p.name()
    words = f"{p.either(*OPENINGS)} {p.name().replace('_', ' ')}{p.either('', ':', ' of')}"
    text = p.either(words, p.name() + p.either("", ":"))
    formatted = f"f{quote}{text} {{{value}}}{quote}"
    if p.random.random() < 0.5:
        formatted = f"{quote}{text} %{p.either('s', 'r', 'd')}{quote} % {value}"
    return [f"{p.either(*TAKERS, p.name())}({formatted})"], []


def definition(p: Place) -> Written:
    """A function whose last parameters have defaults, or none has."""
    own = p.either("", "self, ")
    names = p.some(p.random.randint(2, 4))
    plain = p.random.randint(0, len(names) - 1) if p.random.random() < 0.6 else len(names)
    parameters = ", ".join(names[:plain] + [f"{n}=None" for n in names[plain:]])
    return [
        f"def {p.name()}({own}{parameters}):",
        f"    return {p.either(*names)}",
    ], []


def collected(p: Place) -> Written:
    """A set or a string that something is added to, a statement later."""
    name = p.either(p.name(), p.name(), "current")
    if p.random.random() < 0.5:
        return [f"{name} = set()"], [f"{name}.add({p.value()})"]
    return [f'{name} = ""'], [f"{name} += {p.value()}"]


def opened(p: Place) -> Written:
    """A file opened in a with statement, or assigned."""
    path, target = p.some(2)
    if p.random.random() < 0.6:
        alias = p.either("f", "fp", "file", target)
        return [f"with open({path}) as {alias}:", f"    {p.name()} = {alias}.read()"], []
    rest = p.either("", f" if {path} else None", f" if {p.name()} else {p.name()}")
    return [f"{target} = open({path}){rest}"], []


def named_file(p: Place) -> Written:
    """A file whose name tells whether it is read or written."""
    quote, reads = p.either("'", '"'), p.random.random() < 0.5
    kind = p.either("in", "input") if reads else p.either("out", "output")
    file = f"{p.either('', p.name() + '_')}{kind}.{p.either(*ENDINGS)}"
    mode, use = ("r", f"{p.name()} = f.read()") if reads else ("w", f"f.write({p.name()})")
    return [f"with open({quote}{file}{quote}, {quote}{mode}{quote}) as f:", f"    {use}"], []


def mapping(p: Place) -> Written:
    """A dict or a list of strings."""
    quote, number = p.either('"', '"', "'"), str(p.random.randrange(10))
    keys = [quote + p.name() + quote for _ in range(p.random.randint(2, 5))]
    value = p.either(number, p.name())
    if p.random.random() < 0.5:
        return [f"{p.name()} = {{{', '.join(f'{k}: {value}' for k in keys)}}}"], []
    return [f"{p.name()} = [{', '.join(f'{k}, {value}' for k in keys[:-1])}, {keys[-1]}]"], []


def numbers(p: Place) -> Written:
    """A list of numbers, or a list of such lists."""

    def row() -> str:
        count = p.random.randint(2, 6)
        return f"[{', '.join(str(p.random.randrange(1, 20)) for _ in range(count))}]"

    nested = f"[{', '.join(row() for _ in range(p.random.choice((1, 1, 2))))}]"
    return [f"{p.name()} = {p.either(row(), nested)}"], []


def loop(p: Place) -> Written:
    """A for or a while loop."""
    name, other = p.some(2)
    use = f"    {p.name()}({name})"
    if p.random.random() < 0.5:
        return [f"for {name} in {other}:", use], []
    return [f"while {name}:", f"    {name} = {p.either(other, f'{name}.{other}')}"], []


def counted(p: Place) -> Written:
    """A loop over numbered items, or over numbers."""
    counter, (name, other) = p.either("i", "j", "k", "n"), p.some(2)
    if p.random.random() < 0.5:
        return [f"for {counter}, {name} in enumerate({other}):", f"    {name}[{counter}] = 0"], []
    return [f"for {counter} in range({p.either(name, f'len({name})')}):", f"    {other}()"], []


def condition(p: Place) -> Written:
    """An if, as a statement or inside an assignment; or a plain comparison or assignment."""
    target, value, tested = p.some(3)
    test = p.either(tested, f"{tested} is None", f"{tested} == {p.value()}", f"not {tested}")
    return [
        *p.random.choice(
            (
                [f"if {test}:", f"    {target} = {value}"],
                [f"{target} = {value} if {test} else {p.value()}"],
                [f"if {tested} == {p.value()}:", f"    return {p.either(value, 'True')}"],
                [f"{tested} = {p.value()}"],
            )
        )
    ], []


def swap(p: Place) -> Written:
    """Two names that change places."""
    a, b = p.some(2) if p.random.random() < 0.7 else p.random.sample(SHORT, 2)
    return [f"{a}, {b} = {b}, {a}"], []


def function(p: Place) -> Written:
    """A lambda, or a small function."""
    name, other = p.some(2)
    if p.random.random() < 0.6:
        return [f"{other} = lambda {name}: {name}.{p.name()}"], []
    return [f"def {name}(self):", f"    return self.{other}"], []


def attributes(p: Place) -> Written:
    """An __init__ that keeps its parameters."""
    names = list(dict.fromkeys(p.some(3) + p.some(2)))[: p.random.randint(2, 5)]
    p.random.shuffle(names)
    kept = p.random.sample(names, len(names))
    return [
        f"def __init__(self, {', '.join(names)}):",
        *(f"    self.{name} = {name}" for name in kept),
        "",
    ], []


def method(p: Place) -> Written:
    """A method, or a lambda beside it."""
    written, _ = p.random.choice((function, definition))(p)
    return [*written, ""], []


STATEMENTS: tuple[Callable[[Place], Written], ...] = (
    *(call, message, message, definition, collected, collected, opened, named_file, mapping),
    *(numbers, numbers, loop, counted, condition, condition, swap, swap, function),
)
METHODS: tuple[Callable[[Place], Written], ...] = (attributes, attributes, method)


def _bodies(tree: ast.AST) -> Iterator[tuple[list[ast.stmt], str]]:
    """Every list of statements, with the kind of what holds it."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body, type(node).__name__


def _start(statement: ast.stmt, lines: list[str]) -> int | None:
    """The line, from 0, a statement begins on; None where nothing can go in front of it."""
    decorators = getattr(statement, "decorator_list", [])
    line = min([statement.lineno, *(d.lineno for d in decorators)]) - 1
    text = lines[line]
    alone = text[: len(text) - len(text.lstrip())].encode()
    fits = len(alone) == statement.col_offset and not text.lstrip().startswith("elif")
    future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
    return line if fits and not future else None


def _later(body: list[ast.stmt], k: int, lines: list[str]) -> int | None:
    """Where the end of what was begun before statement `k` goes: after it, or into its body."""
    inner = getattr(body[k], "body", None)
    if isinstance(body[k], ast.For | ast.If | ast.While | ast.With) and inner:
        return _start(inner[0], lines)
    return _start(body[k + 1], lines) if k + 1 < len(body) else None


def _at(line: int, written: list[str], lines: list[str]) -> list[str]:
    """Lines at the indent of another."""
    indent = lines[line][: len(lines[line]) - len(lines[line].lstrip())]
    return [indent + text if text else "" for text in written]


def _names(lines: list[str], line: int) -> list[str]:
    """The names that stand in the lines above, nearest first."""
    found: dict[str, None] = {}
    for text in reversed(lines[max(0, line - REACH) : line]):
        found.update(dict.fromkeys(WORDS.findall(text)))
        if len(found) > REACH:
            break
    return [n for n in found if 1 < len(n) <= LONGEST and not (iskeyword(n) or issoftkeyword(n))]

"""One Python file as tasks see it: its lines, where its statements start, the names it binds.

    text -> ast.parse -> statement starts (line, indent, kind) and names bound, in line order

Only statement starts are offered as places to cut or to insert a line, because a place inside a
string or a comment only looks like code. The syntax tree itself is not kept.
"""

import ast
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

PHRASE = re.compile(
    r"(?<![\w'`./-])(?!(?:None|True|False|Exception) )[A-Z][a-z]+(?: [a-z]+){1,5}(?![\w'`/(=-])"
)
DANGLING = re.compile(
    r"a|all|an|and|any|are|as|at|be|been|but|by|can|do|does|each|for|from|had|has|have|if|in|into|is"
    r"|it|its|may|must|no|not|of|on|only|or|our|so|some|than|that|the|their|then|there|these|they|this"
    r"|those|to|until|van|via|was|we|were|when|whether|which|while|who|will|with|you|your"
)
PLAIN_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
NO_SLOT = ("Else", "AfterIf", "FunctionDef", "AsyncFunctionDef", "ClassDef", "Nonlocal", "Global")
IMPLICIT = frozenset({"self", "cls", "mcs", "mcls", "print", "open", "range", "enumerate"})


@dataclass(frozen=True)
class Statement:
    """A statement that starts its line."""

    line: int
    """Index of its first line, from 0."""
    end: int
    """Index of its last line."""
    indent: int
    """Spaces before it."""
    kind: str
    """Class of its syntax node (`If`, `Assign`), or `Else` for the else line of an if, or `AfterIf`
    for the line under an if that has none."""
    owner: str
    """Class of the node whose body it stands in (`Module`, `ClassDef`, `FunctionDef`, `If`)."""


class SourceFile:
    """A parsed file of the task text.

    Args:
        path: Name of the file, as the corpus gives it.
        text: Its content.
        tree: Its syntax tree.
    """

    def __init__(self, path: str, text: str, tree: ast.Module) -> None:
        self.path = path
        # Not splitlines: form feeds and the like end no line for Python's parser.
        self.lines = [line + "\n" for line in text.split("\n")]
        self.statements: list[Statement] = []
        self._names: list[tuple[int, str]] = []
        self._parameters: list[tuple[int, str]] = []
        self._visit(tree.body, "Module")
        self.statements.sort(key=lambda s: s.line)
        self._names.sort()
        self._parameters.sort()

    @classmethod
    def parse(cls, path: str, text: str) -> "SourceFile | None":
        """Read a file, or None if it is not Python this interpreter can parse."""
        text = text.replace("\r\n", "\n")
        if "\r" in text:  # the parser would count a bare carriage return as the end of a line
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return cls(path, text, ast.parse(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    def line_of(self, statement: Statement) -> str:
        """The first line of a statement, with its newline."""
        return self.lines[statement.line]

    def before(self, line: int, limit: int) -> list[str]:
        """The lines above `line`, nearest last, as many as hold about `limit` characters."""
        start = line
        while start > 0 and limit > 0:
            start -= 1
            limit -= len(self.lines[start])
        return self.lines[start:line]

    def names(self, line: int, count: int) -> list[str]:
        """Up to `count` names that the code above `line` binds, nearest first, each once."""
        return _nearest(self._names, line, count)

    def parameters(self, line: int, count: int) -> list[str]:
        """Up to `count` parameter names of functions above `line`, nearest first, each once."""
        return _nearest(self._parameters, line, count)

    @cached_property
    def all_names(self) -> list[str]:
        """Every plain name the file binds, sorted."""
        return sorted({name for _, name in self._names if PLAIN_NAME.fullmatch(name)} - IMPLICIT)

    @cached_property
    def phrases(self) -> list[str]:
        """Two to five plain words in a row that open a sentence in prose or a message, sorted."""
        found = {m.group() for line in self.lines for m in PHRASE.finditer(line)}
        whole = {_without_dangling(phrase) for phrase in found}
        return sorted(phrase for phrase in whole if " " in phrase and len(phrase) <= 28)

    def contexts(self) -> list[tuple[str, ...]]:
        """For every statement the last three lines above it that are not blank."""
        full = [i for i, line in enumerate(self.lines) if line.strip()]
        ends = [bisect_left(full, s.line) for s in self.statements]
        return [tuple(self.lines[i] for i in full[max(0, end - 3) : end]) for end in ends]

    def keep(self, kept: Sequence[bool]) -> None:
        """Forget the statements that are not to be kept; call it before anything else is asked."""
        self.statements = [s for s, keep in zip(self.statements, kept, strict=True) if keep]

    @cached_property
    def slots(self) -> list[Statement]:
        """Statements inside functions above which a line can be inserted."""
        return [s for s in self.statements if s.indent >= 4 and self._insertable(s)]

    def _insertable(self, statement: Statement) -> bool:
        line = self.line_of(statement)
        return (
            statement.owner != "ClassDef"
            and statement.kind not in NO_SLOT
            and not re.match(r"\s*(elif\b|[rRuU]?['\"]|@)", line)
        )

    def _visit(self, body: list[ast.stmt], owner: str) -> None:
        for node in body:
            kind = type(node).__name__
            decorators = getattr(node, "decorator_list", [])
            start = (decorators[0].lineno if decorators else node.lineno) - 1
            indent = node.col_offset
            if not self.lines[node.lineno - 1][:indent].strip(" "):
                end = (node.end_lineno or node.lineno) - 1
                self.statements.append(Statement(start, end, indent, kind, owner))
            self._bind(node)
            inside = kind if kind != "AsyncFunctionDef" else "FunctionDef"
            for block in _blocks(node):
                self._visit(block, inside)
            if isinstance(node, ast.If):
                self._note_else(node)

    def _note_else(self, node: ast.If) -> None:
        """Note the else line of an if statement, or where one could stand; not if elif follows."""
        if not node.orelse:
            after = node.end_lineno or node.lineno
            self.statements.append(Statement(after, after, node.col_offset, "AfterIf", "If"))
            return
        wanted = " " * node.col_offset + "else:\n"
        last = node.body[-1].end_lineno or node.lineno
        for line in range(last, node.orelse[0].lineno):
            if line < len(self.lines) and self.lines[line] == wanted:
                self.statements.append(Statement(line, line, node.col_offset, "Else", "If"))
                return

    def _bind(self, node: ast.stmt) -> None:
        """Note the names that a statement binds."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            kept = [(node.lineno - 1, a.arg) for a in given if a.arg not in IMPLICIT]
            self._parameters += kept
            self._names += kept
            return
        for target in _targets(node):
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    self._names.append((node.lineno - 1, name.id))


def _without_dangling(phrase: str) -> str:
    """A phrase without the small words at its end, which only lead on to the next."""
    words = phrase.split(" ")
    while len(words) > 1 and DANGLING.fullmatch(words[-1]):
        words.pop()
    return " ".join(words)


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The statement lists inside a compound statement."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list) and block:
            yield block
    for field in ("handlers", "cases"):
        for part in getattr(node, field, []):
            yield part.body


def _targets(node: ast.stmt) -> list[ast.expr]:
    """The expressions that a statement assigns to."""
    if isinstance(node, ast.Assign):
        return list(node.targets)
    if isinstance(node, ast.For | ast.AsyncFor | ast.AnnAssign):
        return [node.target]
    if isinstance(node, ast.With | ast.AsyncWith):
        return [item.optional_vars for item in node.items if item.optional_vars]
    return []


def _nearest(bound: list[tuple[int, str]], line: int, count: int) -> list[str]:
    """The last `count` different plain names bound above a line, nearest first."""
    found: list[str] = []
    for index in range(bisect_left(bound, (line, "")) - 1, -1, -1):
        name = bound[index][1]
        if name not in found and name not in IMPLICIT and PLAIN_NAME.fullmatch(name):
            found.append(name)
            if len(found) == count:
                break
    return found

"""Python source without its prose: comments and docstrings go, everything else stays as it stands.

A small model that reads a few million tokens learns more of the language when no token is spent on
English. What is removed is found by Python's own parser and tokenizer, so strings that merely look
like comments stay. Lines that are left empty go; a body that held only a docstring becomes `pass`.
"""

import ast
import io
import tokenize

Span = tuple[int, int, int, int]
"""Start line, start column, end line, end column; lines from 1, columns in characters."""


def without_prose(text: str) -> str | None:
    """The source without comments and docstrings; None where it is not valid Python."""
    try:
        docstrings = [(span, only) for span, only in _docstrings(text)]
        comments = _comments(text)
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError):
        return None
    lines = text.split("\n")
    removals = [(span, "pass" if only else "") for span, only in docstrings]
    removals += [(span, "") for span in comments]
    touched: set[int] = set()
    for (top, left, bottom, right), filling in sorted(removals, reverse=True):
        first, last = lines[top - 1], lines[bottom - 1]
        rest = (first[:left] + filling + last[right:]).rstrip()
        lines[top - 1 : bottom] = [rest] + [""] * (bottom - top)
        touched.update(range(top - 1, bottom))
    kept = [line for number, line in enumerate(lines) if line.strip() or number not in touched]
    return _fewer_blanks(kept)


def _docstrings(text: str) -> list[tuple[Span, bool]]:
    """Where docstrings stand, and whether each is its whole body."""
    lines = text.split("\n")
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
            continue
        if isinstance(first.value.value, str) and first.end_lineno and first.end_col_offset:
            # ast counts columns in bytes
            left = len(lines[first.lineno - 1].encode()[: first.col_offset].decode())
            right = len(lines[first.end_lineno - 1].encode()[: first.end_col_offset].decode())
            only = len(node.body) == 1 and not isinstance(node, ast.Module)
            found.append(((first.lineno, left, first.end_lineno, right), only))
    return found


def _comments(text: str) -> list[Span]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(*t.start, *t.end) for t in tokens if t.type == tokenize.COMMENT]


def _fewer_blanks(lines: list[str]) -> str:
    """At most one empty line in a row."""
    kept: list[str] = []
    for line in lines:
        if line.strip() or (kept and kept[-1].strip()):
            kept.append(line)
    return "\n".join(kept).strip("\n") + "\n"

"""Source without its prose still means the same."""

import ast
import sys
import sysconfig
from pathlib import Path

import pytest

from lacewing.data.code import _scanned, _tokenized, without_prose


class _Undocumented(ast.NodeTransformer):
    """Takes docstrings out of a tree, slowly and by the book."""

    def _body(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        assert isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        if not node.body and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _body  # noqa: N815


LIBRARY = Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize("name", ["ast.py", "argparse.py", "enum.py", "json/encoder.py"])
def test_library_files_keep_their_program(name: str) -> None:
    """On real files the syntax tree is that of the original with its docstrings deleted."""
    text = (LIBRARY / name).read_text(encoding="utf-8")
    bare = without_prose(text)
    assert bare is not None
    assert len(bare) < len(text)
    assert ast.dump(ast.parse(bare)) == ast.dump(_Undocumented().visit(ast.parse(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1  # one\n", "x = 1\n"),
        ("# alone\nx = 1\n", "x = 1\n"),
        ('x = "# text"\n', 'x = "# text"\n'),
        ('def f():\n    """Doc."""\n', "def f():\n    pass\n"),
        ('def f():\n    """Doc\n    more."""\n    return 1\n', "def f():\n    return 1\n"),
    ],
)
def test_small_cases(text: str, expected: str) -> None:
    """Comments and docstrings go with their lines; strings stay; a bare body becomes pass."""
    assert without_prose(text) == expected


def test_strings_keep_their_empty_lines() -> None:
    """A string of several lines keeps every one of them."""
    text = 'x = """one\n\n\ntwo"""\n'
    assert without_prose(text) == text


def test_no_python_is_none() -> None:
    """Text that does not parse gives None."""
    assert without_prose("this is no Python") is None


PEP_701 = sys.version_info >= (3, 12)
STRINGS = [
    "a = 'it\"s # no' # yes 'quote",
    "b = '''two",
    "lines # no\" '' \\''' ' end'''  # yes '''",
    'c = r"\\\\" # yes, for a raw string may end in two backslashes',
    'd = "over \\',
    'the line" \'\' "" """"a""" # yes',
    'e = rb\'#\' + b"\\"#" \\',
    "    + b'#'#yes",
]


@pytest.mark.skipif(PEP_701, reason="strings nest in f-strings: the tokenizer is used")
@pytest.mark.parametrize("name", ["", "tokenize.py", "textwrap.py", "turtle.py"])
def test_comments_are_those_of_the_tokenizer(name: str) -> None:
    """One regular expression finds what Python's tokenizer does: comments, and lines in strings."""
    text = (LIBRARY / name).read_text(encoding="utf-8") if name else "\n".join(STRINGS)
    ast.parse(text)
    comments, inside = _tokenized(text)
    assert len(comments) >= (5 if not name else 1)
    assert inside
    assert _scanned(text) == (comments, inside)


@pytest.mark.parametrize(
    "newer",
    [
        "class Box[T]:\n    pass\n",
        "type Row = list[int]\n",
        "def first[T](rows: list[T]) -> T:\n    return rows[0]\n",
        "print(f'{row['name']}')\n",
        "print(f'{chr(10).join(rows) + '\\n'}')\n",
        "print(f'{\n    row\n}')\n",
    ],
)
def test_newer_syntax_is_refused_by_every_python(newer: str) -> None:
    """What Python 3.11 cannot read is left out, so that a corpus is the same under all."""
    assert without_prose("x = 1\n" + newer) is None


def test_nested_f_strings_of_old_stay() -> None:
    """f-strings that every Python reads are no reason to leave a file out."""
    nested = r"""print(f"{row['a']:>{width}} {f'{x}'}", f"{{}}\n")""" + "\n"
    source = nested + "print(f'''{\n  y[0]\n}''')\n"
    assert without_prose(source) == source

"""Every flag that a message, a docstring or a page names is one that the command line knows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lacewing.cli import app

PACKAGE = Path(app.__file__).parents[1]
FLAG = re.compile(r"(?<![\w({;,:/-])--([a-z][a-z-]*)\b")
ELSEWHERE = {"wheels": "pip", "packages": "pip"}
"""Modules whose flags are those of another program."""
ALWAYS = {"help", "version", "debug"}
NO_FLAGS = {"head", "no", "n"}
"""`ray start --head`, which a docstring names; `--no-` before a name is put behind it; and an
example's."""


def texts(path: Path) -> Iterator[str]:
    """All texts of a module, docstrings too; formatted ones with gaps."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def known(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The flags of all verbs, by their help."""
    found = set(ALWAYS)
    for verb in app.VERBS:
        with pytest.raises(SystemExit):
            app.main([verb, "--help"])
        found |= set(re.findall(r"--([a-z][\w.-]*)", capsys.readouterr().out))
    return found | {"tasks"}  # the older spelling of --task


def test_every_flag_named_exists(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who follows a message is not told that there is no such flag."""
    monkeypatch.setenv("COLUMNS", "200")
    flags, unknown = known(capsys), []
    assert {"twin-of", "target-loss", "no-calibrate"} <= flags
    for path in sorted(PACKAGE.rglob("*.py")):
        named = [n for text in texts(path) for n in FLAG.findall(text)]
        if path.stem not in ELSEWHERE:
            where = path.relative_to(PACKAGE)
            unknown += [f"{where}: --{n}" for n in named if n.strip("-") not in flags | NO_FLAGS]
    assert unknown == []

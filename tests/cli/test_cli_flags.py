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
ALWAYS = {"help", "version"}


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
        if path.stem not in ELSEWHERE:
            for text in texts(path):
                named = set(FLAG.findall(text.replace("ray start --head", "")))
                unknown += [f"{path.relative_to(PACKAGE)}: --{name}" for name in named - flags]
    assert unknown == []

"""What the documentation tells people to type is what the program takes."""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import tyro

from lacewing.cli import plugins
from lacewing.cli.app import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md"])
KINDS = {"console", "python", "json", "bibtex", "text"}
"""What a code block may be; `text` is output, or an excerpt of it."""
INLINE = re.compile(r"(?<!`)`(lacewing [a-z][^`]*)`(?!`)")


class Block(NamedTuple):
    """One fenced block."""

    page: str
    kind: str
    text: str


def blocks() -> Iterator[Block]:
    """Every fenced block of the pages."""
    for page in PAGES:
        fenced = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", page.read_text("utf-8"), re.M)
        for kind, text in fenced:
            yield Block(str(page.relative_to(ROOT)), kind, text)


def commands() -> Iterator[tuple[str, str]]:
    """Every command of lacewing in a block or in a sentence, with its page."""
    for block in blocks():
        if block.kind == "console":
            whole = block.text.replace("\\\n", " ")
            typed = re.findall(r"^\$ (.*)$", whole, re.M)
            yield from ((block.page, line) for line in typed if line.startswith("lacewing "))
    for page in PAGES:
        if page.name != "log.md":  # it tells what was typed then
            text = re.sub(r"^```.*\n(?:.*\n)*?```$", "", page.read_text("utf-8"), flags=re.M)
            found = INLINE.findall(text.replace("\n", " "))
            yield from ((str(page.relative_to(ROOT)), line) for line in found if "..." not in line)


def refused(line: str) -> str | None:
    """What the command line says against a command, or None; nothing is run.

    A sentence may name a verb with some of its flags, so that what is missing is no mistake.
    """
    words = shlex.split(line, comments=True)[1:]
    if len(words) < 2 or " | " in line:
        return None
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            tyro.extras.subcommand_cli_from_dict(VERBS | plugins.verbs(VERBS), args=words)
    except SystemExit as stop:
        return None if stop.code == 0 or "Required options" in said.getvalue() else said.getvalue()
    return None


def test_blocks_say_what_they_are() -> None:
    """Each is something to type, to run, to read in, or output."""
    assert [(b.page, b.kind) for b in blocks() if b.kind not in KINDS] == []
    assert len(list(blocks())) > 20


def test_every_block_has_a_fence() -> None:
    """An indented block would be code that says nothing of what it is."""
    for page in PAGES:
        text = re.sub(r"^```.*\n(?:.*\n)*?```$", "", page.read_text("utf-8"), flags=re.M)
        assert re.findall(r"\n\n {4}\S.*", text) == [], page.name


def test_commands_are_taken() -> None:
    """Every verb, flag and value that a page names is one of the command line's."""
    found = list(commands())
    assert len(found) > 40
    assert [(page, line) for page, line in found if refused(line)] == []


def test_a_wrong_command_would_be_found() -> None:
    """The check above refuses flags and verbs that there are not."""
    assert refused("lacewing prune --model M --task T --output O") is None
    assert refused("lacewing prune --model M --task T --output O --stresss all")
    assert refused("lacewing prone --model M")


def test_python_of_the_pages_compiles() -> None:
    """Each Python block is whole."""
    for block in blocks():
        if block.kind == "python":
            compile(block.text, block.page, "exec")


def test_modules_of_the_pages_exist() -> None:
    """`python -m benchmarks.NAME`, `python recipes/NAME.py` and the like are there."""
    for page in PAGES:
        if page.name == "log.md":
            continue
        text = page.read_text("utf-8")
        for name in re.findall(r"python -m benchmarks\.(\w+)", text):
            assert (ROOT / "benchmarks" / f"{name}.py").exists(), (page.name, name)
        for path in re.findall(r"(?:python |\()((?:recipes|scripts|examples)/[\w/]+\.py)", text):
            assert (ROOT / path).exists(), (page.name, path)


def test_links_of_the_pages_lead_somewhere() -> None:
    """Relative links and pictures name files that are there."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), (page.name, target)

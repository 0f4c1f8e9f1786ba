"""What the pages and the docstrings show runs as it stands, in a folder of its own.

Examples build on each other as in a session: what `prune` and `train` save, the others load. Blocks
of output are marked `text` (see test_docs). What is not run here is listed with its reason.
"""

import ast
import contextlib
import doctest
import importlib
import importlib.util
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lacewing
from lacewing.cli.app import main
from lacewing.tasks.batch import encode
from test_docs import ROOT, blocks

PACKAGE = ROOT / "src" / "lacewing"
NAMES: dict[str, Any] = {"lacewing": lacewing, "torch": torch, "Path": Path, "encode": encode}
NAMES |= {name: getattr(lacewing, name) for name in ("Circuit", "Corpus", "PruneConfig", "load")}
"""What an example may use beside its own module."""
FIRST = ("lacewing.pruning.prune.prune", "lacewing.training.loop.train")
"""The examples whose results others load, in `runs`."""
SLOW = ("lacewing.comparison.compare", "lacewing.training.twin.train_twin")
SLOW += ("lacewing.watch.fit.fit", "lacewing.watch.monitor.Monitor")
"""Examples of half a minute and more: they run with the long tests."""
WITHOUT = {"tasks", "__version__"}
"""Public names that are no functions or classes."""
NOT_RUN = {
    r"pip |cp |ray ": "changes the machine, or needs others",
    r"lacewing corpus": "fetches packages; tests/data builds a corpus of made ones",
    r"lacewing train": "trains for hours; tests/training trains for seconds",
    r"lacewing (import|export)": "needs models of others; tests/interop makes such files",
    r"lacewing explain": "minutes; tests/explain runs it on a small model",
    r"lacewing .* hf:|lacewing tasks .*english": "needs a model of others, as test_open_models has",
    r"hf |python -m recipes": "fetches models",
    r"lacewing models .*\|": "a pipe; without it the line runs",
    r"lacewing verify --circuit (brackets|runs)": "needs a circuit of minutes; another runs",
    r"lacewing emerge": "needs a training with snapshots; tests/sweep has one of seconds",
    r"lacewing (bridge|steer)": "minutes; tests/bridges trains and steers small models",
    r"lacewing audit": "needs circuits of minutes; the page's Python runs, tests/watch the verb",
    r"openssl": "makes a key, for which a test of tests/watch has its own",
    r"tail": "a pipe that does not end",
    r"lacewing repair": "minutes; tests/trace repairs a small model",
    r"lacewing watch": "needs another version of a model; tests/watch makes some",
    r"lacewing compare .*--sae": "needs bridges; tests/partners has small ones",
    r"lacewing sae .*builtin:dense": "minutes; tests/sae trains small ones",
    r"nice |python recipes": "hours; their tests have small models",
    r"curl": "asks a server; tests/viewer asks one",
    r"lacewing sweep": "hours; tests/sweep has one of seconds",
    r"lacewing blame .*--endpoint": "asks a language model; blame/tests has a scripted one",
    r"lacewing prune": "half a minute and more; the README's runs with the long tests",
    r"lacewing attack": "20,000 edits; the docstring's example has 64",
    r"python -c|lacewing trace .*cat": "reads an attack of minutes; tests/trace has a small one",
    r"lacewing verify (?!.*--quick)": "the whole suite, minutes; tests/verification runs it",
    r"lacewing view(?!.*(--no-browser|--export))": "opens a browser; the line without one runs",
    r"lacewing program .*--pairs 0": "needs circuits of minutes; another runs",
    r"python (-m benchmarks|blame/benchmarks)": "minutes, or data that is not here",
}
"""Commands of the pages that no test runs as they stand, and why; their flags are all checked."""
NEEDS = {"lacewing.interop.transformer_lens": "transformer_lens"}
"""Modules whose examples need a library that excludes others here."""
DOCTESTS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples() -> Iterator[doctest.DocTest]:
    """Every docstring of the package with an example.

    They are read from the source: run-time type checks hide functions from doctest's own finder.
    """
    parser = doctest.DocTestParser()
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text("utf-8")
        if ">>> " not in source:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        if module in NEEDS and importlib.util.find_spec(NEEDS[module]) is None:
            continue
        for name, text in docstrings(ast.parse(source), module):
            names = vars(importlib.import_module(module)) | NAMES
            test = parser.get_doctest(text, names, name, str(path), 0)
            if test.examples:
                yield test


def docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Those of a module, its classes and functions, with their full names."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        yield name, ast.get_docstring(node) or ""
        for inner in node.body:
            yield from docstrings(inner, f"{name}.{getattr(inner, 'name', '')}")


EXAMPLES = {test.name: test for test in examples()}


def tried(name: str) -> str:
    """Run an example; what went wrong."""
    said = io.StringIO()
    runner = doctest.DocTestRunner(verbose=False, optionflags=DOCTESTS)
    runner.run(EXAMPLES[name], out=said.write, clear_globs=False)
    return said.getvalue()


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """Where examples work: some text, a log, a small circuit and a small run."""
    work = tmp_path_factory.mktemp("work")
    (work / "text").symlink_to(text)
    (work / "examples").symlink_to(ROOT / "examples")
    said = [("Ann", "I assume that it is 4."), ("Bob", "I counted 5."), ("Ann", "TERMINATE")]
    events = [{"agent": agent, "text": words} for agent, words in said]
    (work / "log.json").write_text(json.dumps(events), encoding="utf-8")
    with inside(work):
        wrong = "".join(tried(name) for name in FIRST)
        assert not wrong, wrong
    (work / "runs" / "quote").symlink_to("indent")
    return work


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in SLOW else [])
        for name in EXAMPLES
        if name not in FIRST
    ],
)
def test_docstring(name: str, folder: Path) -> None:
    """It gives what it says."""
    with inside(folder):
        assert tried(name) == ""


def test_public_functions_have_an_example() -> None:
    """Every function that `import lacewing` offers shows how it is called."""
    public = {name: getattr(lacewing, name) for name in lacewing.__all__ if name not in WITHOUT}
    functions = {name: value for name, value in public.items() if not isinstance(value, type)}
    assert {"load", "prune", "verify", "train"} <= functions.keys()
    shown = {f"{value.__module__}.{value.__qualname__}" for value in functions.values()}
    assert shown - EXAMPLES.keys() == set()


def test_a_wrong_example_would_be_found() -> None:
    """The check above does not take anything."""
    parser = doctest.DocTestParser()
    EXAMPLES["wrong"] = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    try:
        assert "Expected:\n    3\nGot:\n    2" in tried("wrong")
    finally:
        del EXAMPLES["wrong"]


def typed() -> dict[str, list[tuple[str, str]]]:
    """Per page, every command of its blocks with what the page shows as its output."""
    found: dict[str, list[tuple[str, str]]] = {}
    for block in blocks():
        if block.kind == "console":
            for part in re.split(r"^\$ ", block.text.replace("\\\n", " "), flags=re.M)[1:]:
                line, _, output = part.partition("\n")
                found.setdefault(block.page, []).append((line, output))
    return found


def why_not(line: str) -> str | None:
    """Why a command is not run."""
    return next((why for start, why in NOT_RUN.items() if re.match(start, line)), None)


def execute(line: str) -> str:
    """Type a command; its standard output."""
    words = shlex.split(line, comments=True)
    if words[0] == "lacewing":
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            main(words[1:])
        return said.getvalue()
    done = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout


RUN = {
    shlex.join(shlex.split(line, comments=True)): (page, line, output)
    for page, lines in typed().items()
    for line, output in lines
    if why_not(line) is None
}
"""What is run, each line once."""


def test_every_reason_is_needed() -> None:
    """What is not run is still there, and enough is run."""
    every = [line for lines in typed().values() for line, _ in lines]
    for start in NOT_RUN:
        assert any(re.match(start, line) for line in every), start
    assert len(RUN) >= 5


@pytest.mark.parametrize("words", RUN)
def test_command(words: str, folder: Path) -> None:
    """It ends well; a script that is the same on every machine prints what the page says."""
    _, line, output = RUN[words]
    with inside(folder):
        if "--no-browser" in line:
            served(line)
            return
        said = execute(line)
    if line.startswith("python examples/"):
        assert output.strip() == said.strip()
    else:
        assert said.strip()


def served(line: str) -> None:
    """Start the viewer, look at its page, and stop it."""
    words = [sys.executable, "-m", *shlex.split(line, comments=True)]
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    setting = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=setting
    ) as server:
        assert server.stdout is not None
        try:
            lines = iter(server.stdout.readline, "")
            address = next(found[0] for text in lines if (found := re.search(r"http://\S+", text)))
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert b"<title>lacewing" in answer.read()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def test_pairs_of_the_readme(tmp_path: Path) -> None:
    """The line of JSON is a file of pairs."""
    (text,) = [b.text for b in blocks() if b.kind == "json" and b.page == "README.md"]
    (tmp_path / "mine.jsonl").write_text(text, "utf-8")
    task = lacewing.tasks.get(str(tmp_path / "mine.jsonl"))
    assert task.name == "mine"


def test_version_of_the_citation() -> None:
    """It is the package's."""
    (text,) = [block.text for block in blocks() if block.kind == "bibtex"]
    assert f"version = {{{lacewing.__version__}}}" in text


@pytest.mark.long
def test_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its commands and its lines of Python, one after the other."""
    lines = [line for line, _ in typed()["README.md"] if not line.startswith("pip")]
    assert [line.split()[1] for line in lines] == ["view", "prune", "verify", "view"]
    with inside(tmp_path):
        served(f"{lines[0]} --port 0 --no-browser")
        execute(lines[1])
        assert "necessary" in execute(lines[2])
        served(f"{lines[3]} --port 0 --no-browser")
        (tmp_path / "runs").rename(tmp_path / "typed")
        (python,) = [b.text for b in blocks() if (b.page, b.kind) == ("README.md", "python")]
        names: dict[str, Any] = {}
        exec(compile(python, "README.md", "exec"), names)  # the block itself
        assert lacewing.Circuit.load("typed/quote") == names["circuit"]


def test_the_page_of_audits(folder: Path) -> None:
    """Its Python runs as it stands, and finds no difference."""
    (python,) = [b.text for b in blocks() if (b.page, b.kind) == ("docs/audit.md", "python")]
    said = io.StringIO()
    with inside(folder), contextlib.redirect_stdout(said):
        exec(compile(python, "audit.md", "exec"), {})  # the block itself
    assert "None" == said.getvalue().strip()


def test_other_pages_have_no_python() -> None:
    """A page that gets a block of Python needs a test that runs it.

    tests/interop/test_tutorials.py runs those of huggingface.md and lenses.md as they are; that of
    open_models.md is one call, which the tests of tests/model make; tests/trace runs trace.md and
    repair.md, tests/sae sae.md, tests/watch watch.md, tests/bridges bridges.md.
    """
    pages = {block.page for block in blocks() if block.kind == "python"}
    names = ("audit", "bridges", "huggingface", "lenses", "open_models")
    names += ("repair", "sae", "trace", "watch")
    others = {f"docs/{name}.md" for name in names}
    assert pages == {"README.md", *others}

"""Whatever lacewing reads, and every verb, is in the tables of the attacker."""

import argparse
import ast
import inspect
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from hostile import material, pages
from hostile.__main__ import needed
from hostile.files import READ, WRITTEN
from hostile.requests import requests, routes, watching
from hostile.table import formats
from hostile.verbs import verbs
from lacewing.cli import plugins
from lacewing.cli.app import VERBS
from lacewing.viewer import server
from lacewing.viewer.state import Viewer
from lacewing.viewer.watched import app as watched
from lacewing.watch.serving.service import Service

ROOT = Path(__file__).resolve().parents[2]
SAVED = re.compile(r"[a-z][\w.]*\.(json|jsonl|safetensors)")


def constants(folder: Path) -> Iterator[str]:
    """Every text in the code below a folder."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_saved_file_is_attacked(tmp_path: Path) -> None:
    """A file name in the code is one that a format attacks, or one that nothing reads."""
    named = {
        text
        for source in (ROOT / "src", ROOT / "blame" / "src")
        for text in constants(source)
        if SAVED.fullmatch(text)
    }
    assert set() == named - READ.keys() - WRITTEN.keys()
    assert set() == READ.keys() & WRITTEN.keys()


def test_every_format_is_in_the_table(tmp_path: Path) -> None:
    """What attacks a file exists."""
    assert set() == set(READ.values()) - formats(tmp_path).keys()


def test_every_log_format_is_attacked(tmp_path: Path) -> None:
    """Those of blame, each by its name."""
    from lacewing_blame.formats import FORMATS

    assert set() == FORMATS.keys() - formats(tmp_path).keys()


def test_every_verb_is_attacked(tmp_path: Path) -> None:
    """Those of lacewing and those of installed packages."""
    every = {f"--{name}" for name in (*VERBS, *plugins.verbs(VERBS))}
    assert set() == every - verbs(tmp_path).keys()


def unasked(app: FastAPI, requests: dict[str, pages.Asked]) -> set[str]:
    """The routes of an application that no request is for."""
    made = {(one.method, one.target.decode().partition("?")[0]) for one in requests.values()}
    return {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods
        if not any(how == method and route.path_regex.match(path) for how, path in made)
    }


def test_every_route_is_attacked(tmp_path: Path) -> None:
    """Those of the viewer, and those of a model that is served with its monitor."""
    viewer, service = Viewer(tmp_path), Service.__new__(Service)  # which no request reaches here
    assert set() == unasked(server.application(viewer, tmp_path), routes())
    served = watched.application(service, tmp_path)
    assert {"POST /v1/completions"} == unasked(served, {**watching(), "page": routes()["page"]})
    viewer.close()


@pytest.mark.parametrize("number", range(20))
def test_a_case_is_the_same_again(tmp_path: Path, number: int) -> None:
    """A request is changed, and by the same dice in the same way."""
    table = requests(tmp_path)
    for name in ("requests", "names"):
        one, two = (table[name].attack(tmp_path, random.Random(number)) for _ in range(2))
        assert (one.words, one.probe.keywords) == (two.words, two.probe.keywords)  # type: ignore[attr-defined]
        assert one.probe.keywords != table[name].probe.keywords  # type: ignore[attr-defined]


def test_what_is_made_of_other_material_says_so() -> None:
    """Whatever a maker reads of the material's folder is made before it, whoever asks for it."""
    found = 0
    for name, maker in material.MAKERS.items():
        code = ast.parse(inspect.getsource(inspect.unwrap(maker)).strip())
        read = {
            node.right.value
            for node in ast.walk(code)
            if isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Div)
            and isinstance(node.left, ast.Name)
            and node.left.id == "root"
            and isinstance(node.right, ast.Constant)
        }
        assert read <= {*material.made_of(name), *material.BASE}, name
        found += len(read)
    assert found > 20
    order = {name: at for at, name in enumerate(material.MAKERS)}
    late = {(one, of) for one, every in material.OF.items() for of in every}
    assert set() == {(one, of) for one, of in late if order[of] > order[one]}


def test_whatever_is_asked_for_is_made(tmp_path: Path) -> None:
    """What is copied, and what a command names without a copy; alone, by each way of asking."""
    table = {**formats(tmp_path), **requests(tmp_path), **verbs(tmp_path)}

    def made(name: str = "", killed: str = "", *, soak: bool = False) -> set[str]:
        flags = {"case": None, "turns": 0, "mutations": int(bool(name)), "killed": killed}
        flags |= {"no_kills": not killed, "no_soak": not soak}
        return needed(argparse.Namespace(**flags), [name] if name else [], table, tmp_path)

    assert {"run", "circuit", "letters.jsonl", "corpus"} == made("--attack")
    assert {"site"} == made("viewer") == made("served") == made(soak=True)
    assert {"site", "gpt2", "gpt2.circuit", "bridges"} == made("requests")
    assert {"run", "circuit", "letters.jsonl", "text"} == made(killed="verify")
    assert {"pairs.json"} == made(killed="sweep of processes")

"""The Python of the pages about other libraries, as it stands; what it finds is what lacewing says.

A library that is not installed here skips its blocks: `make doors` makes an environment for each.
"""

import ast
import importlib.util
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lacewing
from lacewing.cli.app import main
from lacewing.model.hooks import record
from lacewing.model.store import Model
from test_docs import Block, blocks

PAGES = ("docs/huggingface.md", "docs/lenses.md")
LIBRARIES = ("transformer_lens", "nnsight", "transformers")
"""What blocks use; the first that one names is what its test is called by."""
PROMPT = "print('hi"
"""The text of the pages."""
BLOCKS = [block for block in blocks() if block.page in PAGES and block.kind == "python"]


def used(block: Block) -> list[str]:
    """The libraries a block imports; lacewing's doors import transformers."""
    names = set()
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    said = " ".join(names | {"transformers"})
    return [library for library in LIBRARIES if library in said]


def name_of(block: Block) -> str:
    """What its test is called."""
    same = [b for b in BLOCKS if used(b)[0] == used(block)[0]]
    return f"{used(block)[0]}-{same.index(block) + 1}"


@pytest.fixture(scope="module")
def model() -> Model:
    """The model of the pages."""
    return lacewing.load("builtin:sparse")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the blocks run: beside the export that the pages make."""
    pytest.importorskip("transformers", reason="transformers is not installed: make doors")
    place, before = tmp_path_factory.mktemp("tutorial"), Path.cwd()
    os.chdir(place)
    try:
        main(["export", "huggingface", "builtin:sparse", "--output", "sparse-hf"])
        yield place
    finally:
        os.chdir(before)


@pytest.mark.parametrize("block", BLOCKS, ids=name_of)
def test_block(block: Block, request: pytest.FixtureRequest) -> None:
    for library in used(block):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed here: make doors has it")
    script = request.getfixturevalue("folder") / f"{name_of(block).replace('-', '_')}.py"
    script.write_text(block.text, "utf-8")  # nnsight reads the source of what it traces
    model: Model = request.getfixturevalue("model")
    names = runpy.run_path(str(script))
    checked = [check(names, model) for name, check in CHECKS.items() if name in names]
    assert checked, "a block that leaves nothing to look at"


def same_values(names: dict[str, Any], model: Model) -> None:
    """Logits and neurons are lacewing's."""
    tokens = torch.tensor([model.tokenizer.encode(PROMPT)])
    with torch.no_grad(), record(model.ours) as seen:
        expected = model.ours(tokens)
    torch.testing.assert_close(names["logits"], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(names["neurons"], seen["0.mlp_neuron"], atol=1e-5, rtol=1e-5)


def same_text(names: dict[str, Any], model: Model) -> None:
    """The text goes on as lacewing's does."""
    start = len(model.tokenizer.encode("import "))
    new = names["made"][0].tolist()[start:]
    assert names["tokenizer"].decode(new) == model.generate("import ", 20, temperature=0)


def same_model(names: dict[str, Any], model: Model) -> None:
    """What came back is the model itself."""
    assert names["again"].id == model.id


CHECKS = {"neurons": same_values, "made": same_text, "again": same_model}
"""By the name that a block gives to what it found."""


def test_every_library_has_a_block() -> None:
    assert {used(block)[0] for block in BLOCKS} == set(LIBRARIES)

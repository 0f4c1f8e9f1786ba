"""What loading a model costs, and what it leaves alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import micro
from lacewing.data.corpus import Corpus, Named, renamed
from lacewing.errors import DataError
from lacewing.model.store import Model, load

PROGRAM = """
import sys, torch
from lacewing.model.store import load
load("builtin:taught-tiny")
print([name for name in ("torch._dynamo", "sympy", "transformers") if name in sys.modules])
"""


def test_loading_draws_nothing(program: Callable[[Sequence[str]], str]) -> None:
    """Weights on the meta device are not drawn: torch would load a compiler for that."""
    assert program(["-c", PROGRAM]).strip() == "[]"


@pytest.mark.parametrize(
    "spec", ["hub:a/b", "code:hub:a/b", "practice:code:hub:a/b", "standard_library+hub:a/b"]
)
def test_a_corpus_that_a_file_names_is_not_fetched(spec: str) -> None:
    """Nothing is fetched unless the user says so; the same words from the user are one."""
    with pytest.raises(DataError, match="give it yourself with --corpus"):
        Corpus.parse(Named(spec))
    with pytest.raises(DataError):
        Corpus.parse(Named(spec).removeprefix("practice:"))
    assert Corpus.parse(spec).spec == renamed(spec)


def test_a_run_names_its_corpus(model: Model, tmp_path: Path) -> None:
    """The corpus of a run that was loaded is one that a file names."""
    assert isinstance(load(micro.write_run(model, tmp_path / "run")).corpus, Named)

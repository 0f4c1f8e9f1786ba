"""Taught lines: whole statements in training files, and nowhere else."""

import ast
import asyncio
from pathlib import Path
from random import Random

import pytest

from lacewing.data.corpus import Corpus, plain, split_of
from lacewing.data.taught import METHODS, STATEMENTS, Place, Written, with_taught_lines

SOURCE = """\
from __future__ import annotations
import os

class Reader:
    size = 3

    @property
    def path(self):
        if self.size == 3:
            return os.curdir
        elif self.size:
            return "a"
        text = '''
no place = here
'''
        return text
"""


@pytest.mark.parametrize(
    "write", dict.fromkeys((*STATEMENTS, *METHODS)), ids=lambda write: write.__name__
)
def test_every_kind_is_python(write: object) -> None:
    """Whatever its choices, what is written parses, before a statement and after it."""
    for seed in range(40):
        place = Place(Random(seed), ["path", "size", "text", "reader"])
        before, after = written(write, place)
        ast.parse("\n".join([*before, "pass", *after]))


def written(write: object, place: Place) -> Written:
    """What a kind writes at a place."""
    assert callable(write)
    found: Written = write(place)
    return found


def test_the_file_keeps_its_own_lines() -> None:
    """A file with taught lines parses, is longer, and still has all its lines in order."""
    for seed in range(40):
        text = with_taught_lines(SOURCE, str(seed))
        ast.parse(text)
        lines = iter(text.split("\n"))
        assert all(any(line == other for other in lines) for line in SOURCE.split("\n"))
    assert len({with_taught_lines(SOURCE, str(seed)) for seed in range(40)}) > 20


def test_the_same_seed_writes_the_same() -> None:
    """All choices follow from the text and the seed."""
    assert with_taught_lines(SOURCE, "a/b.py") == with_taught_lines(SOURCE, "a/b.py")


def test_what_is_no_python_stays() -> None:
    """A text that cannot be parsed comes back as it is."""
    assert "def (" == with_taught_lines("def (", "a")


@pytest.mark.parametrize("spec", ["a/b+c", "code:a/b+c", "taught:code:a/b+c", "code:a/b+code:c"])
def test_the_sources_of_a_corpus(spec: str) -> None:
    """Whatever is done to the text, the sources are the same."""
    assert "a/b+c" == plain(spec)


def test_only_training_files_are_taught() -> None:
    """Files of the other splits are those of the corpus without taught lines."""
    spec = "code:" + str(Path(asyncio.__file__).parent)
    plain = {d.path: d.text for d in Corpus.parse(spec).documents()}
    taught = Corpus.parse(f"taught:{spec}")
    assert f"taught:{spec}" == taught.spec
    assert taught.spec == Corpus.parse(f"practice:{spec}").spec, "as runs of old say it"
    changed = {d.path for d in taught.documents() if d.text != plain[d.path]}
    assert {"train"} == {split_of(path) for path in changed}
    of_train = [path for path in plain if split_of(path) == "train"]
    assert 0.8 * len(of_train) < len(changed)
    assert len(of_train) < len(plain)

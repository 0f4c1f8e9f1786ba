"""A text of made-up Python files, cut by a tokenizer of bytes or of small pieces."""

import random

import pytest

import conftest as shared
import micro
from lacewing.data.corpus import Document
from lacewing.data.tokenizer import Tokenizer
from lacewing.explain.library import Library
from lacewing.explain.text import Text, text_of

CONTEXT = 32


def documents(count: int, first: int = 0) -> list[Document]:
    """Short Python files, another one for every number."""
    return [Document(f"m{n}.py", shared.module(n)) for n in range(first, first + count)]


@pytest.fixture(scope="session")
def pieces() -> Tokenizer:
    """A tokenizer of 400 tokens, trained on such files."""
    return Tokenizer.train([document.text for document in documents(100)], 400)


@pytest.fixture(scope="session")
def python(pieces: Tokenizer) -> Text:
    """Some 25,000 tokens of such files."""
    return text_of(documents(400), pieces, CONTEXT, 25_000)


@pytest.fixture(scope="session")
def library(python: Text) -> Library:
    """The atoms of this text."""
    return Library(python)


@pytest.fixture(scope="session")
def letters() -> Text:
    """Lines as the micro model reads them: X or Y or neither first, most with an equals sign."""
    dice = random.Random(1)

    def line() -> str:
        first = dice.choice("XY") if dice.random() < 0.75 else dice.choice(micro.LETTERS)
        middle = "".join(dice.choices(micro.LETTERS, k=dice.randint(7, 12)))
        start = first + middle + ("=" if dice.random() < 0.8 else "")
        return (start + "".join(dice.choices(micro.LETTERS, k=15)))[:15] + "\n"

    made = [Document(f"d{i}", "".join(line() for _ in range(60))) for i in range(120)]
    return text_of(made, micro.tokenizer(), 16, 60_000)

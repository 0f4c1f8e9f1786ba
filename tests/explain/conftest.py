"""A text of made-up Python files, cut by a tokenizer of small pieces; lines of the micro model."""

import random
from pathlib import Path

import pytest

import micro
from lacewing.data.corpus import Document
from lacewing.data.tokenizer import Tokenizer
from lacewing.explain.library import Library
from lacewing.explain.text import Text, text_of

CONTEXT = 32


@pytest.fixture(scope="session")
def documents(text: Path) -> list[Document]:
    """The made-up Python files that all tests share."""
    files = sorted(text.rglob("*.py"))
    return [Document(file.name, file.read_text(encoding="utf-8")) for file in files]


@pytest.fixture(scope="session")
def pieces(documents: list[Document]) -> Tokenizer:
    """A tokenizer of 400 tokens, trained on such files."""
    return Tokenizer.train([document.text for document in documents[:100]], 400)


@pytest.fixture(scope="session")
def python(documents: list[Document], pieces: Tokenizer) -> Text:
    """Some 25,000 tokens of such files."""
    return text_of(documents, pieces, CONTEXT, 25_000)


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

    made = [Document(f"d{i}", "".join(line() for _ in range(40))) for i in range(60)]
    return text_of(made, micro.tokenizer(), 16, 60_000)

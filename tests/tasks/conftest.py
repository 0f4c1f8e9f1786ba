"""One corpus and one tokenizer for all tests of tasks: training it takes a few seconds."""

import pytest

from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """The standard library."""
    return Corpus.standard_library()


@pytest.fixture(scope="session")
def tokenizer(corpus: Corpus) -> Tokenizer:
    """2,048 tokens, trained on half of the standard library's training files."""
    texts = [document.text for document in corpus.documents("train")]
    return Tokenizer.train(texts[::2])


@pytest.fixture(scope="session")
def letters() -> Tokenizer:
    """A tokenizer with a token for every byte and next to nothing else."""
    return Tokenizer.train(["a b"], vocab_size=258)

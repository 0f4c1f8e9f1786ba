"""The decisions of everyday Python: what stands in the file is the right answer."""

import functools

import pytest

from lacewing import tasks
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.tasks.registry import names

FEW = {"async_await": 1, "comprehension_in": 4, "dict_list": 1, "index_call": 12, "not_in": 8}
"""Pairs at least, for decisions that the standard library's task files rarely ask."""


@functools.cache
def files(corpus: Corpus) -> dict[str, str]:
    return {document.path: document.text for document in corpus.documents("task")}


@pytest.mark.parametrize("name", names("everyday"))
def test_the_file_itself_goes_on_with_the_answer(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """The last line of one prompt and its answer stand in the file that the pair was cut from."""
    found = tasks.pairs(tasks.get(name), corpus, "test", 64, tokenizer, 64)
    assert len(found) >= FEW.get(name, 16)
    for pair in found:
        sides = (pair.clean, pair.clean_answer), (pair.corrupted, pair.corrupted_answer)
        whole = [prompt.rsplit("\n", 1)[-1] + answer for prompt, answer in sides]
        assert any(line in files(corpus)[pair.source] for line in whole), pair
        assert pair.clean_answer != pair.corrupted_answer
        assert tokenizer.single(pair.clean_answer) is not None


def test_an_unknown_catalogue_is_named() -> None:
    """The error lists what there is."""
    with pytest.raises(DataError, match="no catalogue 'evening'; there are: paper, everyday"):
        names("evening")

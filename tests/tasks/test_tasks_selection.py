"""Choosing pairs: answers, cuts, tasks from functions, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from lacewing import tasks
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.tasks.pair import Draft
from lacewing.tasks.source import SourceFile
from lacewing.tasks.task import PER_FILE, Task

MAX_TOKENS = 64


def numbers(file: SourceFile, random: Random) -> Iterator[Draft]:
    """Which bracket closes a list of numbers."""
    for statement in file.slots:
        digits = ", ".join(str(random.randrange(10)) for _ in range(3))
        yield Draft(f"x = [{digits}", f"x = ({digits}", statement.line)


def small_corpus(folder: Path, line: str) -> Corpus:
    """Sixty files of a function each, with a line of choice."""
    for i in range(60):
        (folder / f"m{i}.py").write_text(f"def f{i}(a):\n    b{i} = {i}\n    {line}\n")
    return Corpus.files(str(folder))


def test_a_function_is_a_task_with_its_name_and_docstring(
    corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """A generator alone makes a task."""
    task = Task.from_function(numbers, answers=[("]", ")")])
    assert (task.name, task.description) == ("numbers", "Which bracket closes a list of numbers.")
    pairs = tasks.pairs(task, corpus, "train", 40, tokenizer, MAX_TOKENS)
    assert len(pairs) == 40
    assert {(p.clean_answer, p.corrupted_answer) for p in pairs} == {("]", ")")}


def test_a_function_may_give_plain_tuples_of_whole_prompts(
    corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """Tuples of four texts will do, and nothing is put in front of them."""

    def whole(file: SourceFile, random: Random) -> Iterator[tuple[str, str, str, str]]:
        yield f"# {file.path}\nx = [1", f"# {file.path}\nx = (1", "]", ")"

    task = Task.from_function(whole)
    pair = tasks.pairs(task, corpus, "test", 1, tokenizer, MAX_TOKENS)[0]
    assert pair.clean == f"# {pair.source}\nx = [1"


def test_a_defined_task_is_found_by_name() -> None:
    """`define` makes a task known to `get`, but not one of the paper's."""
    made = tasks.define("numbers_here", answers=[("]", ")")])(numbers)
    assert tasks.get("numbers_here") is made
    assert "numbers_here" not in tasks.names()


def test_the_papers_names_are_taken() -> None:
    """A task of one's own cannot be called like one of the paper's."""
    with pytest.raises(DataError, match="'if_equals' is taken"):
        tasks.define("if_equals")


def test_an_unknown_task_lists_the_known() -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(DataError, match=r"unknown task 'quotes'.*single_double_quote.*var_if"):
        tasks.get("quotes")


@pytest.mark.parametrize("made", [("a", "b"), Draft("a", "b"), "text"])
def test_a_function_that_gives_something_else_is_refused(
    made: object, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """What is neither a draft with answers nor four texts is an error naming the task."""
    task = Task.from_function(lambda file, random: [made], name="odd")  # type: ignore[list-item]
    with pytest.raises(DataError, match="task 'odd': its function gave"):
        tasks.pairs(task, corpus, "train", 5, tokenizer, MAX_TOKENS)


def test_a_tokenizer_without_the_answers_is_named(corpus: Corpus, letters: Tokenizer) -> None:
    """The error names the task, the answers it tried and the tokenizer."""
    message = r"task 'if_equals': its answers \(' ==' and ' ='\) are not single.* of 258 tokens"
    with pytest.raises(DataError, match=message):
        tasks.pairs(tasks.get("if_equals"), corpus, "train", 5, letters, 500)


def test_a_tokenizer_of_single_letters_still_closes_quotes(
    corpus: Corpus, letters: Tokenizer
) -> None:
    """Where `")` is no token, the bare quotes are the answers."""
    pairs = tasks.pairs(tasks.get("single_double_quote"), corpus, "train", 5, letters, 500)
    assert {(p.clean_answer, p.corrupted_answer) for p in pairs} == {('"', "'")}


def test_a_task_whose_names_are_never_single_tokens_says_so(
    corpus: Corpus, letters: Tokenizer
) -> None:
    """Where every draft's own answers are several tokens, the error says that."""
    with pytest.raises(DataError, match=r"'class_init': no pair is left.*not one token"):
        tasks.pairs(tasks.get("class_init"), corpus, "train", 5, letters, 500)


def test_the_first_answers_that_are_single_tokens_are_taken(tokenizer: Tokenizer) -> None:
    """Answers are tried in order, and both must be single tokens."""
    task = Task.from_function(numbers, answers=[("nosuchword", ")"), ("]", ")"), ("],", ")")])
    assert task.settle(tokenizer) == ("]", ")")


def test_the_start_of_a_long_answer_stands_in_only_where_allowed(tokenizer: Tokenizer) -> None:
    """A task may say that the first token of an answer will do; others refuse."""
    answers = [(" nosuchword", " range")]
    partial = Task.from_function(numbers, answers=answers, partial=True).settle(tokenizer)
    assert partial is not None
    assert tokenizer.encode(" nosuchword")[0] == tokenizer.single(partial[0])
    with pytest.raises(DataError, match="nosuchword"):
        Task.from_function(numbers, answers=answers).settle(tokenizer)


def test_too_few_tokens_for_any_prompt_says_so(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """The error counts what was dropped for its length."""
    message = r"no pair is left of \d+ in the test part: dropped \d+ for longer than max_tokens"
    with pytest.raises(DataError, match=message):
        tasks.pairs(tasks.get("final_kwarg"), corpus, "test", 5, tokenizer, 2)


def test_a_text_without_a_place_for_the_task_says_so(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """A corpus without classes has no place for `class_init`."""
    corpus = small_corpus(tmp_path, "return a")
    with pytest.raises(DataError, match="has no place for it; use a larger corpus"):
        tasks.pairs(tasks.get("class_init"), corpus, "train", 5, tokenizer, MAX_TOKENS)


def test_a_small_corpus_gives_what_it_has(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Fewer pairs than asked for are no error."""
    corpus = small_corpus(tmp_path, "if a:\n        pass\n    else:\n        pass")
    pairs = tasks.pairs(tasks.get("else_elif"), corpus, "train", 50, tokenizer, MAX_TOKENS)
    assert 1 <= len(pairs) < 50


def test_no_pairs_at_all_cannot_be_asked_for(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """A count of zero is an error."""
    with pytest.raises(DataError, match="0 pairs of task 'var_if' wanted; ask for at least 1"):
        tasks.pairs(tasks.get("var_if"), corpus, "train", 0, tokenizer, MAX_TOKENS)


def test_one_file_gives_so_many_pairs_and_no_more(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """The number of pairs from one file stops at the limit."""
    pairs = tasks.pairs(tasks.get("with_as"), corpus, "validation", 5000, tokenizer, 32)
    sources = [p.source for p in pairs]
    assert max(map(sources.count, sources)) == PER_FILE


def test_natural_pairs_come_before_composed(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """Composed drafts are drawn only after every natural one."""
    task = tasks.get("while_return_true")
    naturals = [c.draft.natural for c in task.draw(corpus, "train", 0)]
    assert naturals == sorted(naturals, reverse=True)


def test_a_cut_keeps_the_edit_and_shortens_both_alike(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """The line of the edit survives every cut, and the members differ in nothing else."""
    task = tasks.get("set_or_string")
    for pair in tasks.pairs(task, corpus, "train", 50, tokenizer, 30):
        assert "= set()" in pair.clean
        assert pair.corrupted == pair.clean.replace("= set()", '= ""')

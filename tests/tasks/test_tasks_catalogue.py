"""Facts about the prompts of the paper's twenty tasks, checked on the real standard library."""

import ast
import functools
import re

import pytest

from lacewing import tasks
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.tasks.pair import Pair
from lacewing.tasks.text import PARTS

COUNT = 60
MAX_TOKENS = 64
OWN_ANSWERS = ("class_init", "var_swap")  # whose answers are names, different from pair to pair

# What turns the lines from the edit on into whole statements: (text before them, text after the
# clean answer, text after the corrupted answer). Tasks without an entry have a test of their own.
WHOLE = {
    "final_kwarg": ("", "): pass", "    pass"),
    "set_or_string": ("", "(1)", " '1'"),
    "set_or_string_fixedvarname": ("", "(1)", " '1'"),
    "class_init": ("", "", ""),
    "with_as": ("", " f: pass", " x else y"),
    "bracket_brace": ("", " 1}", " 1]"),
    "bracket_counting": ("", " [1]]", ""),
    "for_while": ("", " x: pass", "    pass"),
    "else_elif": ("if x:\n    pass\n", "    pass", " x: pass"),
    "if_ternary": ("", "    pass", " None"),
    "var_swap": ("", "", ""),
    "lambda_func": ("", " 0", "): pass"),
    "if_equals": ("", " 1: pass", " 1"),
    "var_if": ("", "    pass", ""),
    "while_return_true": ("", "    pass", ""),
}


@pytest.fixture(scope="module", params=tasks.names())
def name(request: pytest.FixtureRequest) -> str:
    """Each of the twenty tasks in turn."""
    return str(request.param)


@functools.cache
def made(name: str, corpus: Corpus, tokenizer: Tokenizer, part: str) -> tuple[Pair, ...]:
    """The pairs of one part, made once."""
    task = tasks.get(name)
    return tuple(tasks.pairs(task, corpus, part, COUNT, tokenizer, MAX_TOKENS))


def changed_lines(pair: Pair) -> tuple[str, str]:
    """Both members from the first line that differs on."""
    clean, corrupted = pair.clean.split("\n"), pair.corrupted.split("\n")
    first = next(i for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b)
    return "\n".join(clean[first:]), "\n".join(corrupted[first:])


def shifted(lines: str) -> str:
    """Lines moved to the left until the first is not indented."""
    indent = len(lines) - len(lines.lstrip(" "))
    return "\n".join(line[indent:] for line in lines.split("\n"))


def test_the_names_are_the_papers_in_its_order() -> None:
    """There are twenty names, from the quotes to `return True`."""
    assert len(tasks.names()) == len(set(tasks.names())) == 20
    assert tasks.names()[0] == "single_double_quote"
    assert tasks.names()[-1] == "while_return_true"
    assert set(WHOLE) <= set(tasks.names())


def test_every_part_has_pairs(name: str, corpus: Corpus, tokenizer: Tokenizer) -> None:
    """Train, validation and test all give as many pairs as are asked for."""
    for part in PARTS:
        assert len(made(name, corpus, tokenizer, part)) == COUNT


def test_answers_are_single_tokens_right_after_the_prompt(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """An answer adds exactly its own token to the tokens of its prompt, which fits."""
    for part in PARTS:
        for pair in made(name, corpus, tokenizer, part):
            for prompt, answer in (
                (pair.clean, pair.clean_answer),
                (pair.corrupted, pair.corrupted_answer),
            ):
                ids = tokenizer.encode(prompt)
                assert 1 < len(ids) <= MAX_TOKENS
                assert tokenizer.encode(prompt + answer) == [*ids, tokenizer.single(answer)]
            assert pair.clean_answer != pair.corrupted_answer


def test_one_pair_of_answers_serves_the_whole_task(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """All pairs share their two answers, but for the tasks that copy a name."""
    answers = {
        (p.clean_answer, p.corrupted_answer)
        for part in PARTS
        for p in made(name, corpus, tokenizer, part)
    }
    assert len(answers) > 1 if name in OWN_ANSWERS else len(answers) == 1


def test_the_members_differ_in_one_line_by_a_small_edit(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """Two members differ in one line, by no more than a few tokens."""
    for pair in made(name, corpus, tokenizer, "test"):
        clean, corrupted = pair.clean.split("\n"), pair.corrupted.split("\n")
        assert len(clean) == len(corrupted)
        assert sum(a != b for a, b in zip(clean, corrupted, strict=True)) == 1
        a, b = tokenizer.encode(pair.clean), tokenizer.encode(pair.corrupted)
        same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
        while a[same:] and b[same:] and a[-1] == b[-1]:
            a.pop(), b.pop()
        assert max(len(a), len(b)) - same <= 32


def test_the_parts_share_no_file_and_no_prompt(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """No source file and no prompt stands in two of train, validation and test."""
    for kind in ("source", "clean", "corrupted"):
        seen = [{getattr(p, kind) for p in made(name, corpus, tokenizer, part)} for part in PARTS]
        assert len(set().union(*seen)) == sum(map(len, seen))


def test_the_prompts_of_a_part_are_all_different(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """No prompt comes twice."""
    chosen = made(name, corpus, tokenizer, "train")
    assert len({p.clean for p in chosen}) == len(chosen)


def test_the_same_call_gives_the_same_pairs_and_fewer_are_the_first_of_more(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """The seed decides which pairs come, and the count only how many of them."""
    task = tasks.get(name)
    again = tasks.pairs(task, corpus, "test", COUNT, tokenizer, MAX_TOKENS)
    fewer = tasks.pairs(task, Corpus.standard_library(), "test", 7, tokenizer, MAX_TOKENS)
    other = tasks.pairs(task, corpus, "test", COUNT, tokenizer, MAX_TOKENS, seed=1)
    assert tuple(again) == made(name, corpus, tokenizer, "test")
    assert fewer == again[:7]
    assert other != again


def test_no_file_dominates(name: str, corpus: Corpus, tokenizer: Tokenizer) -> None:
    """No file gives more than a quarter of the pairs."""
    sources = [p.source for p in made(name, corpus, tokenizer, "train")]
    assert max(map(sources.count, sources)) <= COUNT // 4


@pytest.mark.parametrize("name", WHOLE)
def test_the_right_answer_completes_a_statement(
    name: str, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """With the right answer, the lines from the edit on go on to valid Python."""
    before, *after = WHOLE[name]
    for pair in made(name, corpus, tokenizer, "test"):
        answers = pair.clean_answer, pair.corrupted_answer
        for lines, answer, end in zip(changed_lines(pair), answers, after, strict=True):
            ast.parse(before + shifted(lines) + answer + end)


def test_a_loop_head_asks_for_a_deeper_indent(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """The two answers indent the next line by four more spaces, and by as many as before."""
    for pair in made("indent_for", corpus, tokenizer, "test"):
        clean, corrupted = changed_lines(pair)
        indent = len(clean) - len(clean.lstrip())
        assert pair.clean_answer + " " == " " * (indent + 4)
        assert pair.corrupted_answer + " " == " " * indent
        ast.parse(shifted(clean + pair.clean_answer + " pass"))
        ast.parse(shifted(corrupted + pair.corrupted_answer + " pass"))


def test_a_quote_prompt_is_a_call_with_one_short_open_string(
    corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """The members differ in the opening token alone, which is `("` or `('`."""
    for pair in made("single_double_quote", corpus, tokenizer, "train"):
        found = re.search(r"""\w\((["'])([^"'\\]+)$""", pair.clean)
        assert found
        assert found[1] == '"'
        assert 1 <= len(tokenizer.encode(found[2])) <= 16
        clean, corrupted = tokenizer.encode(pair.clean), tokenizer.encode(pair.corrupted)
        different = [(a, b) for a, b in zip(clean, corrupted, strict=True) if a != b]
        assert different == [(tokenizer.single('("'), tokenizer.single("('"))]


def test_natural_prompts_are_the_files_own_text(corpus: Corpus, tokenizer: Tokenizer) -> None:
    """One member of every natural pair stands in its file word for word."""
    texts = {d.path: d.text for d in corpus.documents("task")}
    for name in ("if_equals", "var_if", "else_elif", "if_ternary", "lambda_func"):
        for pair in made(name, corpus, tokenizer, "train"):
            text = texts[pair.source]
            assert pair.clean in text or pair.corrupted in text


def test_prompts_are_cut_at_a_line_start_and_use_the_room(
    corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """A prompt starts with a whole line of its file; half fill three quarters of the room."""
    chosen = made("while_return_true", corpus, tokenizer, "train")
    starts = {d.path: {"", *d.text.split("\n")} for d in corpus.documents("task")}
    assert all(p.clean.partition("\n")[0] in starts[p.source] for p in chosen)
    lengths = sorted(len(tokenizer.encode(p.clean)) for p in chosen)
    assert lengths[len(lengths) // 2] > 0.75 * MAX_TOKENS

"""Prompts cut to length: how much of the lines above stays, where pairs differ, what is refused."""

from collections import Counter

import pytest

from lacewing.data.tokenizer import Tokenizer
from lacewing.tasks.fit import (
    LONG,
    MERGED,
    NOT_SINGLE,
    SAME,
    UNALIGNED,
    _common,
    _last_lines,
    fit,
    problems,
)
from lacewing.tasks.pair import Draft, Pair
from lacewing.tasks.source import SourceFile
from lacewing.tasks.task import Candidate

TEXT = "a = 1\nb = 2\n\nc = 3\nd = 4\n"


@pytest.fixture(scope="module")
def letters() -> Tokenizer:
    """A token for every byte, and one for `==`."""
    return Tokenizer.train(["== == == =="] * 50, vocab_size=258)


def candidate(clean: str, corrupted: str, line: int = 0) -> Candidate:
    """A draft below the first lines of a file."""
    file = SourceFile.parse("file.py", TEXT)
    assert file is not None
    return Candidate(Draft(clean, corrupted, line), file, "file.py")


@pytest.mark.parametrize(
    ("a", "b"), [("", ""), ("x", "y"), ("same", "same"), ("for x", "for y"), ("ab", "abc")]
)
def test_the_common_start(a: str, b: str) -> None:
    """As counted letter by letter."""
    expected = 0
    while expected < min(len(a), len(b)) and a[expected] == b[expected]:
        expected += 1
    assert expected == _common(a, b)


def test_the_last_lines_that_fit() -> None:
    """Whole lines from the end, as many as the budget pays for, and no blank one in front."""
    lines = ["one\n", "\n", "two\n", "three\n"]
    cost = Counter({"one\n": 4, "\n": 1, "two\n": 4, "three\n": 6})
    found = {budget: _last_lines(lines, budget, cost) for budget in (0, 5, 6, 9, 10, 11, 14, 15)}
    assert found == {
        0: "",
        5: "",
        6: "three\n",
        9: "three\n",
        10: "two\nthree\n",
        11: "two\nthree\n",
        14: "two\nthree\n",
        15: "one\n\ntwo\nthree\n",
    }


def test_both_members_are_cut_at_the_same_line(letters: Tokenizer) -> None:
    """The longer one decides; with room for all, all lines above stay."""
    draft = candidate("if x", "if long_name", 5)
    for longest, above in ((200, TEXT), (24, "c = 3\nd = 4\n"), (18, "d = 4\n"), (17, "")):
        (pair,) = fit([draft], ("1", "2"), letters, longest)
        assert isinstance(pair, Pair)
        assert (above + "if x", above + "if long_name") == (pair.clean, pair.corrupted)
        assert ("1", "2") == (pair.clean_answer, pair.corrupted_answer)


def test_shared_lines_of_a_draft_may_go_as_well(letters: Tokenizer) -> None:
    """Only what differs is kept whatever it costs; where that is too long there is no pair."""
    draft = candidate("first = 1\nx[", "first = 1\nx(")
    (whole,) = fit([draft], ("1", "2"), letters, 12)
    (cut,) = fit([draft], ("1", "2"), letters, 11)
    assert isinstance(whole, Pair)
    assert isinstance(cut, Pair)
    assert ("first = 1\nx[", "x[") == (whole.clean, cut.clean)
    assert [LONG] == fit([draft], ("1", "2"), letters, 1)


def test_what_is_refused_and_why(letters: Tokenizer) -> None:
    """One reason a pair, the first that applies."""
    assert letters.single("==") is not None
    pairs = {
        SAME: Pair("x", "x", "1", "2", ""),
        NOT_SINGLE: Pair("x", "y", "12", "2", ""),
        LONG: Pair("x" * 9, "y", "1", "2", ""),
        MERGED: Pair("x=", "y", "=", "2", ""),
    }
    for reason, pair in pairs.items():
        assert [reason] == problems([pair], letters, 8)
    assert [SAME] == problems([Pair("x", "y", "1", "1", "")], letters, 8)
    assert [LONG] == problems([Pair("", "y", "1", "2", "")], letters, 8)
    good = Pair("x=", "y!", "1", "2", "")
    assert [*pairs, None] == problems([*pairs.values(), good], letters, 8)


def test_aligned_pairs_differ_in_one_token(letters: Tokenizer) -> None:
    """Asked for, others are refused; else they are taken."""
    one, two, longer = (Pair(f"a{x}c", "axc", "1", "2", "") for x in ("b", "b!", "bb"))
    two = Pair("abd", "axc", "1", "2", "")
    assert [None, UNALIGNED, UNALIGNED] == problems([one, two, longer], letters, 8, aligned=True)
    assert [None] * 3 == problems([one, two, longer], letters, 8)


def test_a_prompt_that_is_read_otherwise_before_its_answer() -> None:
    """The answer stays one token, and the last; but the spaces before it are no longer one."""
    spaces = Tokenizer.train(["  "] * 50, vocab_size=258)
    prompt, whole = spaces.encode("a  "), spaces.encode("a  b")
    assert (2, 4) == (len(prompt), len(whole))
    assert spaces.single("b") == whole[-1]
    pair = Pair("a  ", "c  ", "b", "d", "file.py")
    assert [MERGED] == problems([pair], spaces, 10)

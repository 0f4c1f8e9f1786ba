"""The release's tokenizer gives the ids that tiktoken gives."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from release import write_tokenizer
from tokenizers import Regex, pre_tokenizers

from lacewing.data.tokenizer import PATTERN as OURS
from lacewing.errors import ArtifactError
from lacewing.interop.openai.tokenizer import PATTERN, converted, read_tokenizer

RELEASED = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The pattern of `tiktoken_ext/tinypython.py`, as it stands there."""
MERGES = (
    ("Ġ", "Ġ"),
    ("ĠĠ", "ĠĠ"),
    ("i", "n"),
    ("b", "c"),
    ("a", "b"),
    ("ab", "c"),
    ("]", "]"),
    ("]]", "Ċ"),
    ("]", "Ċ"),
    ("/", "/"),
    (")", ":"),
    ("):", "Ċ"),
    ("Ġ", "="),
    ("(", '"'),
    ("1", "2"),
    ("12", "3"),
    ("Ã", "©"),
    ("Ġ", "in"),
    ("_", "in"),
    ("_in", "i"),
    ("a", "a"),
    ("aa", "a"),
)
TEXTS = (
    *(
        "",
        " ",
        "\n",
        "x = [[1, 2]]\n",
        "values =[[5]\n",
        'f("a"):\n    return 1',
        "def _init(abc):",
    ),
    *("12345 123 1", "é café ï 漢字 🙂", "a//b // c\n//\n", "\t\tif x:\r\n  y", "aaaaaaa abcabc"),
    *("<|endoftext|>", " in  in   in", "]]\n]\n]", "   \n\n  x"),
)


def test_the_text_of_a_converted_tokenizer_comes_back(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(write_tokenizer(tmp_path, MERGES))
    assert tokenizer.vocab_size == 256 + len(MERGES) + 1
    assert tokenizer.end_of_text == tokenizer.vocab_size - 1
    assert tokenizer.single("]]\n") == 256 + 7
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    tokenizer.save(tmp_path / "tokenizer.json")
    again = read_tokenizer(tmp_path)
    assert [again.encode(t) for t in TEXTS] == [tokenizer.encode(t) for t in TEXTS]


def test_a_slash_after_punctuation_belongs_to_it(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(write_tokenizer(tmp_path, (("(", "/"), ("(/", "/"))))
    assert tokenizer.single("(//") is not None


ODD = (
    " \n\r\t\x0b\x0c\x00\x1c\x1f\x85\xa0\u2028\u200b\u3000\ufeff"
    "/\\]}()[:='\"_#ain0129é\u0301ß漢²½٣🙂"
)
"""Signs at which two engines of regular expressions may differ, and those of merges."""
PIECES = (*'ab c]/("_é=:🙂\n', "in", "12", "3")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Callable[[str], list[int]], Any]:
    """Ids by our file, and by tiktoken out of the same two files with the release's pattern."""
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed: make doors")
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    folder = write_tokenizer(tmp_path_factory.mktemp("words"), MERGES)
    files = (str(folder / "vocab.bpe"), str(folder / "encoder.json"))
    ranks = data_gym_to_mergeable_bpe_ranks(*files)
    end = {"<|endoftext|>": len(ranks)}
    theirs = tiktoken.Encoding("test", pat_str=RELEASED, mergeable_ranks=ranks, special_tokens=end)
    return read_tokenizer(folder).encode, theirs.encode_ordinary


def test_ids_are_those_of_tiktoken(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    dice = random.Random(0)
    drawn = ["".join(dice.choices(PIECES, k=dice.randint(1, 40))) for _ in range(3000)]
    source = Path(__file__).read_text(encoding="utf-8")
    for text in (*TEXTS, *drawn, source):
        assert ours(text) == theirs(text), text


@given(text=st.one_of(st.text(st.sampled_from(ODD), max_size=30), st.text(max_size=30)))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_ids_are_those_of_tiktoken_for_any_text(both: tuple[Any, Any], text: str) -> None:
    ours, theirs = both
    assert ours(text) == theirs(text)


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        ("(/\n", ["(/\n"], ["(/\n"]),
        ("://x", ["://", "x"], ["://", "x"]),
        ("]\n/", ["]\n", "/"], ["]\n/"]),
    ],
)
def test_the_two_patterns_differ_at_a_slash_after_a_newline(
    text: str, ours: list[str], theirs: list[str]
) -> None:
    def pieces(pattern: str) -> list[str]:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        return [piece for piece, _ in split.pre_tokenize_str(text)]

    assert pieces(OURS) == ours
    assert pieces(PATTERN) == theirs


@given(text=st.text(st.sampled_from(ODD.replace("/", "")), max_size=30))
@settings(max_examples=300, deadline=None)
def test_without_a_slash_the_two_patterns_are_one(text: str) -> None:
    first, second = (pre_tokenizers.Split(Regex(p), "isolated") for p in (OURS, PATTERN))
    assert first.pre_tokenize_str(text) == second.pre_tokenize_str(text)


def test_a_vocabulary_without_the_end_gets_it_last(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, MERGES)
    words = json.loads((tmp_path / "encoder.json").read_text())
    del words["<|endoftext|>"]
    (tmp_path / "encoder.json").write_text(json.dumps(words))
    assert read_tokenizer(tmp_path).end_of_text == 256 + len(MERGES)


@pytest.mark.parametrize(
    ("bpe", "words", "said"),
    [
        ("#version\na b c\n", None, "line 2: 'a b c' is no pair"),
        ("#version\na b\n", None, "of two tokenizers"),
        ("\xff", None, "encoder.json|no list of merges|two tokenizers"),
        (None, "[]", "maps no tokens to numbers"),
        (None, '{"a": "b"}', "maps no tokens to numbers"),
        (None, '{"a": 5}', "with gaps or twice"),
        (None, "{", "is not JSON"),
    ],
)
def test_files_that_are_no_tokenizer(
    bpe: str | None, words: str | None, said: str, tmp_path: Path
) -> None:
    write_tokenizer(tmp_path, MERGES)
    if bpe is not None:
        (tmp_path / "vocab.bpe").write_bytes(bpe.encode("latin-1"))
    if words is not None:
        (tmp_path / "encoder.json").write_text(words)
    with pytest.raises(ArtifactError, match=said):
        converted(tmp_path / "vocab.bpe", tmp_path / "encoder.json")

"""The release's tokenizer gives the ids that tiktoken gives."""

import json
import random
from pathlib import Path

import pytest
from release import write_tokenizer

from lacewing.errors import ArtifactError
from lacewing.interop.openai.tokenizer import PATTERN, converted, read_tokenizer

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


def test_ids_are_those_of_tiktoken(tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    write_tokenizer(tmp_path, MERGES)
    ranks = data_gym_to_mergeable_bpe_ranks(
        str(tmp_path / "vocab.bpe"), str(tmp_path / "encoder.json")
    )
    end = {"<|endoftext|>": len(ranks)}
    theirs = tiktoken.Encoding("test", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=end)
    ours = read_tokenizer(tmp_path)
    dice = random.Random(0)
    pieces = [
        " ",
        "\n",
        "in",
        "a",
        "b",
        "c",
        "]",
        "/",
        "(",
        '"',
        "12",
        "3",
        "_",
        "é",
        "=",
        ":",
        "🙂",
    ]
    drawn = ["".join(dice.choices(pieces, k=dice.randint(1, 40))) for _ in range(3000)]
    source = Path(__file__).read_text(encoding="utf-8")
    for text in (*TEXTS, *drawn, source):
        assert ours.encode(text) == theirs.encode_ordinary(text), text


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

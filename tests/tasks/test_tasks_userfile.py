"""Tasks from files of pairs, and every way such a file can be wrong."""

import json
from pathlib import Path

import pytest

from lacewing import tasks
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.tasks.text import PARTS


def record(i: int = 0, **changes: object) -> dict[str, object]:
    """The pair of a line, with changes; None leaves a key out."""
    pair = {
        "clean": f"import os\nx = [{i}",
        "corrupted": f"import os\nx = ({i}",
        "clean_answer": "]",
        "corrupted_answer": ")",
    }
    return {key: value for key, value in (pair | changes).items() if value is not None}


def written(folder: Path, *lines: object) -> Path:
    """A file of pairs."""
    path = folder / "brackets.jsonl"
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return path


def made(path: Path, corpus: Corpus, tokenizer: Tokenizer, part: str) -> list[tasks.Pair]:
    """The pairs of one part of a file."""
    return tasks.pairs(tasks.get(path), corpus, part, 100, tokenizer, 32)  # type: ignore[arg-type]


def test_every_pair_is_in_one_part(tmp_path: Path, corpus: Corpus, tokenizer: Tokenizer) -> None:
    """Every line of a file is in exactly one part, about half of them in train."""
    path = written(tmp_path, *map(record, range(60)))
    parts = [made(path, corpus, tokenizer, part) for part in PARTS]
    clean = [p.clean for part in parts for p in part]
    assert sorted(clean) == sorted(str(record(i)["clean"]) for i in range(60))
    assert 20 <= len(parts[0]) <= 40


def test_a_pair_names_its_file_and_line(
    tmp_path: Path, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """The source of a pair is file:line; blank lines count."""
    path = written(tmp_path, record(0), "", *map(record, range(1, 9)))
    sources = {p.clean: p.source for part in PARTS for p in made(path, corpus, tokenizer, part)}
    assert sources[str(record(0)["clean"])] == f"{path}:1"
    assert sources[str(record(1)["clean"])] == f"{path}:3"


def test_repeated_lines_count_once_and_extra_keys_do_no_harm(tmp_path: Path) -> None:
    """A line written twice is one pair; a key of the user's own is ignored."""
    path = written(tmp_path, record(1), record(1), record(2, note="mine"))
    assert tasks.get(str(path)).description == "2 pairs of brackets.jsonl."


def test_the_id_follows_the_lines(tmp_path: Path) -> None:
    """Files of the same pairs have one id, other pairs another."""
    first = tasks.get(written(tmp_path, record(1))).id
    assert tasks.get(written(tmp_path, record(1), "")).id == first
    assert tasks.get(written(tmp_path, record(2))).id != first


def test_long_prompts_are_cut_at_a_line_start(
    tmp_path: Path, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """A prompt that is too long loses whole lines from its start."""
    head = "import os\n" * 50
    lines = [record(i, clean=f"{head}x = [{i}", corrupted=f"{head}x = ({i}") for i in range(9)]
    for pair in made(written(tmp_path, *lines), corpus, tokenizer, "train"):
        assert pair.clean.startswith("import os\nimport os\n")
        assert len(tokenizer.encode(pair.clean)) <= 32


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", r"brackets.jsonl:2: not JSON: .* at column 2"),
        ("[1, 2]", r"brackets.jsonl:2: a JSON object is wanted"),
        (record(clean=None, clean_answer=None), r"brackets.jsonl:2: missing clean, clean_answer"),
        (record(clean=3), r"brackets.jsonl:2: clean must be text"),
        (record(clean_answer=""), r"brackets.jsonl:2: clean_answer must be text"),
        (record(clean_answer=")"), r":2: clean_answer and corrupted_answer are the same"),
        (record(clean="import os\nx = (0"), r":2: clean and corrupted are the same"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: object, message: str) -> None:
    """Bad JSON, missing keys, empty or equal texts are errors with file and line."""
    with pytest.raises(DataError, match=message):
        tasks.get(written(tmp_path, record(9), line))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean_answer": " nosuchword"}, r":2: answer ' nosuchword' is \d+ tokens .*must be one"),
        ({"corrupted": "x = f(", "corrupted_answer": ")"}, r":2: an answer merges with the end"),
        ({"clean": "y = [" + "1, " * 40}, r":2: the prompt is longer than 32 tokens"),
    ],
)
def test_a_pair_that_does_not_suit_the_tokenizer_is_named(
    tmp_path: Path,
    changes: dict[str, object],
    message: str,
    corpus: Corpus,
    tokenizer: Tokenizer,
) -> None:
    """Answers of several tokens, merged answers and long prompts are errors with file and line."""
    path = written(tmp_path, record(9), record(1, **changes))
    with pytest.raises(DataError, match=message):
        made(path, corpus, tokenizer, "train")


def test_a_file_without_pairs_is_refused(tmp_path: Path) -> None:
    """An empty file is an error that says what to write."""
    with pytest.raises(DataError, match=r"brackets.jsonl holds no pairs; write one JSON object"):
        tasks.get(written(tmp_path, "", "  "))


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A missing file and one that is not UTF-8 are errors with the reason."""
    with pytest.raises(DataError, match=r"cannot read the pairs in .*No such file"):
        tasks.get(tmp_path / "absent.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"clean": "\xe9"}')
    with pytest.raises(DataError, match="not UTF-8"):
        tasks.get(tmp_path / "latin.jsonl")


def test_a_part_without_pairs_says_so(tmp_path: Path, corpus: Corpus, tokenizer: Tokenizer) -> None:
    """One line makes one part; asking for the others is an error."""
    path = written(tmp_path, record(1))
    parts = []
    for part in PARTS:
        try:
            parts += made(path, corpus, tokenizer, part)
        except DataError as error:
            assert "none of its 1 pairs falls in the" in str(error)  # noqa: PT017  two of three do
    assert len(parts) == 1

"""The task text: what a file offers, and how files are dealt to the three parts."""

from pathlib import Path

import pytest

from lacewing.data.corpus import Corpus, Document
from lacewing.errors import DataError
from lacewing.tasks.source import SourceFile
from lacewing.tasks.text import PARTS, TaskText, check_part, divide

SOURCE = '''"""Doc of the module. The second sentence is here."""


class Walker:
    """Walks."""

    size = 1

    def step(self, left, right=None):
        """Take one step."""
        # Look at it here if the sum is
        total = left
        if total == "if x:\\n else:":
            for item in right:
                total += item
        elif left:
            return 1
        else:
            pass
        if total:
            last_one = total
        return last_one
'''


def parsed(text: str = SOURCE) -> SourceFile:
    """A file from its text."""
    file = SourceFile.parse("walker.py", text)
    assert file
    return file


def kinds(file: SourceFile, kind: str) -> list[str]:
    """The first lines of the statements of a kind."""
    return [file.line_of(s).strip() for s in file.statements if s.kind == kind]


def test_statements_carry_their_line_and_indent() -> None:
    """Statements are found by the syntax tree, not by what a string looks like."""
    file = parsed()
    assert kinds(file, "If") == ['if total == "if x:\\n else:":', "elif left:", "if total:"]
    assert kinds(file, "For") == ["for item in right:"]
    assert [s.indent for s in file.statements if s.kind == "For"] == [12]
    assert all(file.line_of(s)[: s.indent].strip() == "" for s in file.statements)


def test_else_lines_belong_to_an_if_and_free_places_to_one_without() -> None:
    """The else of a loop is not taken for that of an if."""
    file = parsed()
    assert kinds(file, "Else") == ["else:"]
    assert kinds(file, "AfterIf") == ["return last_one"]
    loop = parsed("for x in y:\n    pass\nelse:\n    pass\ntry:\n    pass\nfinally:\n    pass\n")
    assert kinds(loop, "Else") == []


def test_lines_can_be_put_above_statements_in_functions_only() -> None:
    """No line is put before an elif, an else, a docstring or a class attribute."""
    slots = [parsed().line_of(s).strip() for s in parsed().slots]
    assert "total = left" in slots
    assert not {"elif left:", "else:", "size = 1", '"""Take one step."""'} & set(slots)


def test_names_are_those_bound_above_nearest_first() -> None:
    """Names bound below a line are not known there."""
    file = parsed()
    assert file.names(len(file.lines), 3) == ["last_one", "item", "total"]
    assert set(file.parameters(len(file.lines), 9)) == {"left", "right"}
    assert file.names(0, 3) == []


def test_phrases_open_a_sentence_and_do_not_dangle() -> None:
    """Phrases start with a capital and end with a word that can end one."""
    assert parsed().phrases == [
        "Doc of the module",
        "Look at it here",
        "Take one step",
        "The second sentence is here",
    ]


def test_form_feeds_do_not_shift_lines() -> None:
    """Lines are counted as Python's parser counts them."""
    file = parsed("x = 1\n\f\ny = 2  # \x1c odd\nif y:\n    pass\n")
    assert kinds(file, "If") == ["if y:"]


@pytest.mark.parametrize("text", ["def f(:\n", "x = 1\ry = 2\n", "print 1\n", "x = (" * 300])
def test_what_is_no_python_is_passed_over(text: str) -> None:
    """A file that does not parse, or that nests too deeply, is none."""
    assert SourceFile.parse("bad.py", text) is None


def test_files_are_dealt_by_hash_half_to_training() -> None:
    """The parts are 50, 20 and 30 %, and each file's part depends on its path alone."""
    dealt = divide(f"folder/file{i}.py" for i in range(4000))
    shares = [list(dealt.values()).count(part) / 4000 for part in PARTS]
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.03)
    assert divide(["folder/file7.py"])["folder/file7.py"] == dealt["folder/file7.py"]


@pytest.mark.parametrize("count", range(3, 12))
def test_no_part_of_a_small_corpus_is_empty(count: int) -> None:
    """Three files are enough for three parts."""
    for salt in range(20):
        assert set(divide(f"{salt}/{i}" for i in range(count)).values()) == set(PARTS)


def test_copies_of_a_module_stay_in_one_part() -> None:
    """The same module in two folders is never in two parts."""
    names = [f"m{i}/core.py" for i in range(30)]
    copies = [Document(f"{top}/{n}", SOURCE) for n in names for top in ("a", "b/vendored")]
    text = TaskText.from_documents(copies, "copies")
    tails = [{f.path.split("/", 1)[1][-11:] for f in text.parts[p]} for p in PARTS]
    assert not tails[0] & tails[1]
    assert not tails[0] & tails[2]


def test_places_that_repeat_in_an_earlier_part_are_left_out() -> None:
    """Copied code gives prompts to one part only."""
    text = TaskText.from_documents([Document(f"m{i}/a.py", SOURCE) for i in range(30)], "clones")
    assert text.parts["train"][0].statements
    assert not any(f.statements for p in PARTS[1:] for f in text.parts[p])


def test_a_large_corpus_is_thinned_by_hash_not_by_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which files of a large corpus are read does not depend on their order."""
    monkeypatch.setattr("lacewing.tasks.text.LIMIT", 10 * len(SOURCE))
    documents = [Document(f"m{i}/a.py", SOURCE + f"z{i} = 1\n") for i in range(100)]
    kept = TaskText.from_documents(documents, "large")
    paths = {f.path for part in PARTS for f in kept.parts[part]}
    assert 5 <= len(paths) <= 10
    again = TaskText.from_documents(reversed(documents), "large")
    assert {f.path for part in PARTS for f in again.parts[part]} == paths


def test_a_corpus_without_python_says_so() -> None:
    """The error counts the files that do not parse."""
    with pytest.raises(DataError, match="none of the 2 task files of corpus 'prose' parses"):
        TaskText.from_documents([Document("a", "no code"), Document("b", "def (")], "prose")


def test_a_corpus_without_task_files_says_so(tmp_path: Path) -> None:
    """The error says that tasks need files of their own."""
    with pytest.raises(DataError, match="corpus 'none' has no task files"):
        TaskText.from_documents([], "none")
    folder = tmp_path / "corpus"  # its name is part of what the split follows from
    folder.mkdir()
    (folder / "only.py").write_text("x = 1\n")
    corpus = Corpus.files(str(folder))
    if corpus.summary().per_split.get("task"):
        pytest.fail("choose a file name that falls into another split")
    with pytest.raises(DataError, match="no files in its task split"):
        TaskText.of(corpus)


def test_an_unknown_part_is_refused() -> None:
    """The error lists train, validation and test."""
    with pytest.raises(DataError, match=r"unknown split 'dev'.*train, validation, test"):
        check_part("dev")

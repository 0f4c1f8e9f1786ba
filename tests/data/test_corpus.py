"""What a corpus reads, leaves out, counts, and into which split each file falls."""

import json
import sys
from pathlib import Path

import pytest

from lacewing.data.corpus import LARGEST, Corpus, Document, split_of
from lacewing.errors import DataError


def texts(corpus: Corpus) -> list[str]:
    """All texts of a corpus, in its order."""
    return [document.text for document in corpus.documents()]


def test_files_are_read_in_a_fixed_order(folder: Path) -> None:
    """Two readings give the same documents, under relative paths with forward slashes."""
    first, second = (list(Corpus.files(str(folder)).documents()) for _ in range(2))
    assert first == second
    assert len(first) == 200
    assert first[0] == Document(
        "text/package0/module0.py", (folder / "package0" / "module0.py").read_text()
    )


def test_duplicates_are_dropped_and_counted(folder: Path) -> None:
    """A file with the content of another one is left out, wherever it is."""
    (folder / "copy.py").write_text((folder / "package3" / "module33.py").read_text())
    corpus = Corpus.files(str(folder))
    assert len(texts(corpus)) == len(set(texts(corpus))) == 200
    assert corpus.summary().duplicates == 1


def test_bad_files_are_skipped_and_counted(folder: Path) -> None:
    """Text that is not UTF-8, NUL bytes and huge files are left out, each under its count."""
    (folder / "latin.py").write_bytes("café".encode("latin-1"))
    (folder / "nul.py").write_bytes(b"a\0b")
    (folder / "huge.py").write_bytes(b"x" * (LARGEST + 1))
    (folder / "largest.py").write_bytes(b"x" * LARGEST)
    summary = Corpus.files(str(folder)).summary()
    assert (summary.files, summary.not_utf8, summary.too_large) == (201, 2, 1)


def test_broken_links_do_not_stop_a_reading(folder: Path) -> None:
    """A link to nothing is no file; the others are read."""
    (folder / "broken.py").symlink_to(folder / "nowhere")
    assert len(texts(Corpus.files(str(folder)))) == 200


def test_summary_adds_up(folder: Path) -> None:
    """Files and bytes of the summary are those of the documents, split by split."""
    corpus = Corpus.files(str(folder))
    summary = corpus.summary()
    assert summary.files == sum(summary.per_split.values()) == 200
    assert summary.bytes == sum(len(text.encode()) for text in texts(corpus))
    for split in ("train", "validation", "task"):
        assert len(list(corpus.documents(split))) == summary.per_split[split]


def test_line_ends_are_one_sign(tmp_path: Path) -> None:
    """Windows line ends become newlines, so one tokenizer serves all."""
    (tmp_path / "a.py").write_bytes(b"a\r\nb\r\n")
    assert texts(Corpus.files(str(tmp_path))) == ["a\nb\n"]


@pytest.mark.parametrize("name", ["nowhere", "empty", "nowhere/**/*.py"])
def test_empty_corpus_is_one_line(tmp_path: Path, name: str) -> None:
    """Nothing to read is an error of one line that says what to name instead."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as error:
        Corpus.files(str(tmp_path / name)).summary()
    assert "is empty" in str(error.value) or "is not there" in str(error.value)
    assert "standard_library" in str(error.value)
    assert "\n" not in str(error.value)


def test_empty_split_is_one_line(tmp_path: Path) -> None:
    """A corpus too small for a split says which split lacks files."""
    (tmp_path / "only.py").write_text("x = 1\n")
    corpus = Corpus.files(str(tmp_path))
    missing = next(s for s in ("train", "task") if s not in corpus.summary().per_split)
    with pytest.raises(DataError, match=f"no files in its {missing} split"):
        list(corpus.documents(missing))


def test_a_failed_reading_is_not_counted_twice(tmp_path: Path) -> None:
    """After an error, reading again starts its counts from zero."""
    (tmp_path / "latin.py").write_bytes(b"\xe9")
    corpus = Corpus.files(str(tmp_path))
    for _ in range(2):
        with pytest.raises(DataError, match="1 skipped"):
            corpus.summary()
    (tmp_path / "good.py").write_text("x = 1\n")
    assert (corpus.summary().files, corpus.summary().not_utf8) == (1, 1)


def test_splits_are_disjoint_and_near_their_shares() -> None:
    """Of many files about 80, 5 and 15 percent fall into train, validation and task."""
    found = [split_of(f"package/module{index}.py") for index in range(20_000)]
    shares = {split: found.count(split) / len(found) for split in set(found)}
    assert shares == pytest.approx({"train": 0.80, "validation": 0.05, "task": 0.15}, abs=0.01)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("python3.11/ast.py", "python3.13/ast.py"),
        ("python3.11/ast.py", "python3.14t/ast.py"),
        ("python3.11/ast.py", "Lib/ast.py"),
        ("python3.11/json/decoder.py", "python3.12/json/decoder.py"),
        ("site-packages/six/six.py", "site-packages/other/_vendor/six/six.py"),
        ("a/Module.py", "a/module.py"),
    ],
)
def test_split_follows_a_module(one: str, other: str) -> None:
    """A module falls into one split in every Python version and wherever it is vendored.

    Twenty thousand siblings show that this is no luck of one name.
    """
    assert split_of(one) == split_of(other)
    for index in range(2_000):
        first, second = (path.replace(".py", f"{index}.py") for path in (one, other))
        assert split_of(first) == split_of(second)


def test_no_task_text_of_another_version_was_trained_on() -> None:
    """Task files of this library are none of the training files of another Python's."""
    for document in Corpus.standard_library().documents("task"):
        inside = document.path.split("/", 1)[1]
        assert split_of(f"python3.99/{inside}") == "task"


def test_standard_library_leaves_out_tests() -> None:
    """The default corpus is the interpreter's own Lib, with no tests and no installed packages."""
    corpus = Corpus.standard_library()
    paths = [document.path for document in corpus.documents()]
    assert any(path.endswith("/ast.py") for path in paths)
    folders = {part for path in paths for part in path.split("/")[:-1]}
    assert not folders & {"test", "tests", "idle_test", "site-packages", "__pycache__"}
    assert corpus.summary().bytes > 5_000_000


def test_installed_packages_holds_ours() -> None:
    """Packages installed beside the interpreter are found."""
    import numpy

    site = Path(numpy.__file__).parents[1].name
    paths = [document.path for document in Corpus.installed_packages().documents()]
    assert any(path.startswith(f"{site}/numpy/") for path in paths)


@pytest.mark.parametrize(
    "spec",
    [
        *("standard_library", "installed_packages", "hub:owner/name", "hub:owner/name:python"),
        *("hub:owner/name::content", "hub:owner/name:python:content", "code:standard_library"),
        *("standard_library+src/**/*.py", "some/folder"),
    ],
)
def test_spec_comes_back(spec: str) -> None:
    """`spec` is what `parse` reads, so a saved run finds its corpus again; nothing is read yet."""
    again = Corpus.parse(Corpus.parse(spec).spec)
    assert again.spec == Corpus.parse(spec).spec
    assert again._sources == Corpus.parse(spec)._sources


def test_hub_specs_name_their_column() -> None:
    """A data set's configuration and column survive in the spec."""
    for arguments in [("a/b",), ("a/b", "c"), ("a/b", None, "content"), ("a/b", "c", "content")]:
        corpus = Corpus.hub(*arguments)
        assert Corpus.parse(corpus.spec)._sources == corpus._sources


def test_joined_corpora(folder: Path) -> None:
    """Corpora joined by + are read one after the other, without duplicates between them."""
    one, two = folder / "package1", folder / "package2"
    corpus = Corpus.parse(f"{one}+{two}+{one}")
    assert len(texts(corpus)) == 20
    assert corpus.summary().duplicates == 10


def test_a_plus_in_a_folder_name(tmp_path: Path) -> None:
    """A folder whose name holds a plus is a folder, not two corpora."""
    place = tmp_path / "c++"
    place.mkdir()
    (place / "a.txt").write_text("text")
    assert texts(Corpus.parse(str(place))) == ["text"]


def test_code_only_leaves_out_prose(tmp_path: Path) -> None:
    """With `code:`, comments and docstrings go, strings stay, and what is no Python is counted."""
    (tmp_path / "a.py").write_text('"""Doc."""\nx = "# no comment"  # comment\n')
    (tmp_path / "b.py").write_text("this is no Python\n")
    corpus = Corpus.parse(f"code:{tmp_path}")
    assert texts(corpus) == ['x = "# no comment"\n']
    assert corpus.summary().not_python == 1


def test_fingerprint_changes_with_any_text(folder: Path) -> None:
    """The fingerprint is the same for the same files, and another after one letter changed."""
    first = Corpus.files(str(folder)).fingerprint()
    assert first == Corpus.files(str(folder)).fingerprint()
    changed = folder / "package5" / "module50.py"
    changed.write_text(changed.read_text() + "#")
    assert first != Corpus.files(str(folder)).fingerprint()


def test_fingerprint_changes_with_the_splits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens kept from other splits are never taken for these: a task file could be among them."""
    first = Corpus.files(str(folder)).fingerprint()
    monkeypatch.setattr("lacewing.data.corpus.SHARES", (("train", 0.7), ("task", 1.0)))
    assert first != Corpus.files(str(folder)).fingerprint()


def test_hub_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `datasets` is not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'lacewing\[hub\]'"):
        Corpus.parse("hub:owner/name").summary()


def test_hub_streams_a_data_set_of_files(tmp_path: Path) -> None:
    """The real loader on a data set made here: rows in order, another column by name."""
    pytest.importorskip("datasets", reason="needs the extra lacewing[hub]")
    rows = [{"text": f"row {i}", "code": f"x = {i}"} for i in range(40)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(lines, encoding="utf-8")
    name = str(tmp_path / "data")
    assert [row["text"] for row in rows] == texts(Corpus.hub(name))
    assert [row["code"] for row in rows] == texts(Corpus.parse(f"hub:{name}::code"))
    with pytest.raises(DataError, match="no column 'prose'; it has text, code"):
        Corpus.hub(name, column="prose").summary()
    with pytest.raises(DataError, match=r"cannot read data set .*missing"):
        Corpus.hub(str(tmp_path / "missing")).summary()


def test_a_corpus_is_found_from_any_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative folders and globs become absolute; files keep their names, and so their splits."""
    monkeypatch.chdir(folder.parent)
    typed = (
        "text",
        "text/*/*.py",
        "./text/package0/../package1/*.py",
        "code:text",
        "taught:text",
    )
    corpora = [Corpus.parse(spec) for spec in typed]
    names = [[document.path for document in corpus.documents()] for corpus in corpora]
    assert "text/package0/module0.py" == names[0][0] == names[1][0]
    monkeypatch.chdir(folder / "package0")
    corpora.append(Corpus.parse("."))
    names.append([document.path for document in corpora[-1].documents()])
    assert "module0.py" == names[-1][0]
    monkeypatch.chdir("/")
    for corpus, known in zip(corpora, names, strict=True):
        again = Corpus.parse(corpus.spec)
        assert again.spec == corpus.spec
        assert known == [document.path for document in again.documents()]


def test_a_plus_in_a_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora joined by + may lie in folders with a + in their names."""
    place = folder.parent / "c++"
    place.mkdir()
    folder.rename(place / "text")
    monkeypatch.chdir(place)
    joined = Corpus.parse("code:text+standard_library")
    assert f"code:{place}/text+standard_library" == joined.spec
    assert Corpus.parse(joined.spec).spec == joined.spec
    assert 200 == len(texts(Corpus.parse(str(place / "text"))))
    assert 200 == len(texts(Corpus.parse(str(place / "text" / "*" / "*.py"))))


def test_a_part_that_is_gone_is_not_passed_over(folder: Path) -> None:
    """Where several are joined, each has to be there, before any is read; one line says so."""
    corpus = Corpus.parse(f"{folder}+{folder.with_name('gone')}")
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(DataError, match="gone' is not there: say where the text is") as error:
        corpus.summary()
    assert "--corpus" in str(error.value)


def test_links_out_of_a_corpus_are_not_read(tmp_path: Path) -> None:
    """A downloaded corpus cannot make another file its text; links inside it are fine."""
    text, secret = tmp_path / "text", tmp_path / "secret.txt"
    text.mkdir()
    secret.write_text("a password\n")
    (text / "link.txt").symlink_to(secret)
    (text / "folder").symlink_to(tmp_path)
    for pattern in (text, text / "*.txt", text / "**/*.txt"):
        with pytest.raises(DataError, match="links out of it"):
            list(Corpus.files(str(pattern)).documents())
    (text / "own.txt").write_text("own\n")
    (text / "same.txt").symlink_to(text / "own.txt")
    corpus = Corpus.files(str(text))
    assert ["own\n"] == [document.text for document in corpus.documents()]
    assert (1, 1) == (corpus.summary().duplicates, corpus.summary().linked)

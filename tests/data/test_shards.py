"""Token shards: all the text, each document ended, complete or absent."""

from pathlib import Path

import numpy as np
import pytest

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.shards import SPLITS, prepare, stored
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError, DataError


def test_tokens_are_the_text(folder: Path, tmp_path: Path) -> None:
    """Each split decodes to its documents, each ended by end-of-text, in 16-bit maps."""
    corpus = Corpus.files(str(folder))
    shards = prepare(corpus, tmp_path / "tokens", vocab_size=400)
    for split in SPLITS:
        tokens = getattr(shards, split)
        assert isinstance(tokens, np.memmap)
        assert tokens.dtype == np.uint16
        documents = list(corpus.documents(split))
        assert int((tokens == shards.tokenizer.end_of_text).sum()) == len(documents)
        ends = np.flatnonzero(tokens == shards.tokenizer.end_of_text)
        parts = np.split(tokens, ends + 1)[:-1]
        assert [shards.tokenizer.decode(part[:-1].tolist()) for part in parts] == [
            document.text for document in documents
        ]


def test_task_text_is_in_neither(folder: Path, tmp_path: Path) -> None:
    """No task file's text is among the tokens a model trains on or is measured with."""
    corpus = Corpus.files(str(folder))
    shards = prepare(corpus, tmp_path / "tokens", vocab_size=400)
    text = "".join(shards.tokenizer.decode(getattr(shards, split).tolist()) for split in SPLITS)
    assert not any(document.text in text for document in corpus.documents("task"))


def test_made_once(folder: Path, tmp_path: Path) -> None:
    """A second call maps the files that are there and writes nothing."""
    prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "tokens").iterdir()}
    prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400)
    assert before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "tokens").iterdir()}


@pytest.mark.parametrize("name", ["train.bin", "manifest.json", "index.json", "tokenizer.json"])
def test_damaged_shards_are_made_anew(folder: Path, tmp_path: Path, name: str) -> None:
    """A folder that lost a file, or part of one, is not used: the tokens are made again."""
    whole = prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400).train.tobytes()
    (tmp_path / "tokens" / name).write_bytes(b"x")
    again = prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400)
    assert again.train.tobytes() == whole
    artifacts.read_manifest(tmp_path / "tokens", "tokens", check_hash=True)


def test_changed_text_is_noticed(folder: Path, tmp_path: Path) -> None:
    """After a file changed the tokens are made anew, or refused where they must not be replaced."""
    prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400)
    (folder / "package1" / "module10.py").write_text("x = 1\n")
    before = (tmp_path / "tokens" / "index.json").read_bytes()
    with pytest.raises(ConfigError, match="nothing was overwritten"):
        prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400, replace=False)
    assert (tmp_path / "tokens" / "index.json").read_bytes() == before
    prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400)
    assert (tmp_path / "tokens" / "index.json").read_bytes() != before


def test_existing_tokenizer_is_used(folder: Path, tmp_path: Path) -> None:
    """With a tokenizer of one's own, that one is used and kept beside the tokens."""
    own = Tokenizer.train(["value " * 9], 300)
    shards = prepare(Corpus.files(str(folder)), tmp_path / "tokens", tokenizer=own)
    assert shards.tokenizer.to_bytes() == own.to_bytes()


def test_failure_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure while writing leaves no folder behind that could be taken for whole."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts.folders, "seal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(Corpus.files(str(folder)), tmp_path / "tokens", vocab_size=400)
    assert [p.name for p in tmp_path.iterdir()] == ["text"]


def test_missing_split_is_one_line(tmp_path: Path) -> None:
    """A corpus of one file cannot be trained on, and the error says which split is empty."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "only.py").write_text("x = 1\n")
    with pytest.raises(DataError, match="split"):
        prepare(Corpus.files(str(tmp_path / "text")), tmp_path / "tokens", vocab_size=300)
    assert not (tmp_path / "tokens").exists()


def test_foreign_folder_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    """A folder that holds something else than tokens is never replaced by them."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="nothing was overwritten"):
        prepare(Corpus.files(str(folder)), tmp_path / "mine", vocab_size=400)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_flipped_bit_is_noticed(folder: Path, tmp_path: Path) -> None:
    """Tokens that are damaged are no tokens; prepared again, they are made anew, the same."""
    corpus, place = Corpus.files(str(folder)), tmp_path / "tokens"
    prepare(corpus, place, vocab_size=400)
    before = (place / "train.bin").read_bytes()
    (place / "train.bin").write_bytes(bytes([before[0] ^ 1]) + before[1:])
    with pytest.raises(ArtifactError, match=r"train\.bin has another content"):
        stored(place)
    prepare(corpus, place, vocab_size=400)
    assert before == (place / "train.bin").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xff" * 9, "has token 65535, its tokenizer 400 tokens"), (b"abc", "no whole number")],
)
def test_resealed_tokens(folder: Path, tmp_path: Path, content: bytes, said: str) -> None:
    """Token ids that the tokenizer does not have are refused before a model sees them."""
    place = tmp_path / "tokens"
    prepare(Corpus.files(str(folder)), place, vocab_size=400)
    (place / "validation.bin").write_bytes(content)
    names = ["train.bin", "validation.bin", "tokenizer.json", "index.json"]
    artifacts.seal(place, "tokens", names)
    with pytest.raises(ArtifactError, match=said):
        stored(place)

"""The tokenizer: exact, repeatable, and cut as the paper's code model cuts."""

import json
import re
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models

from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import END_OF_TEXT, Tokenizer
from lacewing.errors import ArtifactError, DataError

HARD = [
    "",
    "é ü 漢字 🦋",
    "a\r\n\tb",
    "x" * 500,
    "\x01\x02",
    "def f(x):\n    return [x]\n",
    "1234567",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """2,048 tokens from some files of the standard library."""
    documents = list(Corpus.standard_library().documents("train"))
    return Tokenizer.train((document.text for document in documents[::8]), 2048)


def test_size_and_end_of_text(tokenizer: Tokenizer) -> None:
    """There are exactly as many tokens as asked for, and end-of-text is the last."""
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (2048, 2047)


@pytest.mark.parametrize("text", HARD)
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    """Decoding gives the very text that was encoded, whatever it holds."""
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_half_a_character_is_refused(tokenizer: Tokenizer) -> None:
    """As Python makes of arguments that are no UTF-8."""
    with pytest.raises(DataError, match="is no text: write it in UTF-8"):
        tokenizer.encode("\udcff")


def test_batches_encode_alike(tokenizer: Tokenizer) -> None:
    """Many texts at once give what one by one gives."""
    assert tokenizer.encode_batch(HARD) == [tokenizer.encode(text) for text in HARD]


def test_same_texts_same_tokenizer() -> None:
    """Training twice gives the same file, byte for byte."""
    texts = [d.text for d in list(Corpus.standard_library().documents("train"))[::60]]
    assert Tokenizer.train(texts, 600).to_bytes() == Tokenizer.train(texts, 600).to_bytes()


def test_file_round_trip(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A saved tokenizer loads as the same one."""
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.to_bytes() == tokenizer.to_bytes()
    assert again.encode("def f(): pass") == tokenizer.encode("def f(): pass")


def test_pre_tokens(tokenizer: Tokenizer) -> None:
    """A word takes one sign before it, digits come in threes, punctuation takes its newline."""
    pieces = [tokenizer.token(i) for i in tokenizer.encode("self.name(1234):\n")]
    assert "".join(pieces) == "self.name(1234):\n"
    assert not any("4" in piece and "3" in piece for piece in pieces)
    assert pieces[-1] == "):\n"


def test_single(tokenizer: Tokenizer) -> None:
    """`single` knows the texts that are one token, and only those."""
    assert tokenizer.single(" self") == tokenizer.encode(" self")[0]
    assert tokenizer.single("self self") is None
    assert tokenizer.single("") is None


def test_token_shows_bytes(tokenizer: Tokenizer) -> None:
    """Tokens of one byte that is no character are shown apart, each by its escape."""
    ids = tokenizer.encode("漢")
    assert [tokenizer.token(i) for i in ids] == [f"\\x{byte:02x}" for byte in "漢".encode()]
    shown = [tokenizer.token(i) for i in range(tokenizer.vocab_size)]
    assert len(set(shown)) == tokenizer.vocab_size
    assert shown[tokenizer.end_of_text] == END_OF_TEXT


def test_end_of_text_in_a_file_is_text(tokenizer: Tokenizer) -> None:
    """A file that mentions the end-of-text sign ends no document, also after loading."""
    text = f'if piece == "{END_OF_TEXT}":'
    for one in (tokenizer, Tokenizer.from_bytes(tokenizer.to_bytes())):
        assert one.end_of_text not in one.encode(text)
        assert one.end_of_text not in one.encode_batch([text])[0]
        assert one.decode(one.encode(text)) == text


def test_bad_files(tmp_path: Path) -> None:
    """A tokenizer that is missing, damaged, or has no end-of-text is an error of one line."""
    with pytest.raises(ArtifactError, match="no tokenizer at"):
        Tokenizer.load(tmp_path / "tokenizer.json")
    for content in (b"{", b"[]", b"\xff"):
        with pytest.raises(ArtifactError, match=r"no tokenizer\.json") as error:
            Tokenizer.from_bytes(content)
        assert "\n" not in str(error.value)
    other = tokenizers.Tokenizer(models.BPE()).to_str().encode()
    with pytest.raises(ArtifactError, match=re.escape(f"has no {END_OF_TEXT} token")):
        Tokenizer.from_bytes(other)


def test_two_tokens_of_one_id_are_refused(tokenizer: Tokenizer) -> None:
    """Which of them the id means would be left to chance."""
    saved = json.loads(tokenizer.to_bytes())
    saved["model"]["vocab"]["b"] = saved["model"]["vocab"]["a"]
    with pytest.raises(ArtifactError, match=r"gives the id \d+ to 'a' and 'b'"):
        Tokenizer.from_bytes(json.dumps(saved).encode())


def test_half_a_character_among_many_texts(tokenizer: Tokenizer) -> None:
    """The text that holds it is named, as it is alone."""
    letters = tokenizer
    assert letters.encode_batch(["a", "b"]) == [letters.encode("a"), letters.encode("b")]
    with pytest.raises(DataError, match="is no text: write it in UTF-8"):
        letters.encode_batch(["a", "\ud800"])

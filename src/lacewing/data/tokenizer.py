r"""The tokenizer: byte-level BPE of 2,048 tokens, in the file format of the `tokenizers` library.

Pre-tokens are cut as the paper's code model does: a run of letters may take one leading non-letter
(` current`, `.add`, `_init`), digits come in threes, and punctuation takes a leading space and
trailing newlines, so that `("`, `')` and `):\n` can each be one token.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from lacewing import artifacts
from lacewing.errors import ArtifactError, DataError

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How text is cut before merging: as `tiktoken_ext/tinypython.py` of openai/circuit_sparsity does,
except that there a slash after punctuation and a newline still belongs to both (`]\\n/` is one
piece). Their tokenizer is imported with their pattern, `interop.openai.tokenizer.PATTERN`."""

END_OF_TEXT = "<|endoftext|>"
"""Stands between documents; the last id of a tokenizer trained here."""


def _byte_signs() -> dict[str, int]:
    """The byte behind each sign of a byte-level vocabulary (as GPT-2 writes them)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}


_BYTE_OF = _byte_signs()


MOST = 2**20
"""Token ids, and padding, above which memory would be asked for that nobody has."""
LARGEST = 2**26
"""Bytes of the largest tokenizer.json that is read."""


class Tokenizer:
    """Text to token ids and back."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self._inner = inner
        # "<|endoftext|>" written in a source file is text; only the id ends a document.
        inner.encode_special_tokens = True
        end = inner.token_to_id(END_OF_TEXT)
        if end is None:
            raise ArtifactError(
                f"the tokenizer has no {END_OF_TEXT} token: add it as a special token"
            )
        self.end_of_text: int = end

    def __repr__(self) -> str:
        """One line: its size and its id."""
        return f"Tokenizer({self.vocab_size} tokens, id {self.id})"

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 2048) -> "Tokenizer":
        """Train a byte-level BPE on some texts; the same texts give the same tokenizer."""
        inner = tokenizers.Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PATTERN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        inner.train_from_iterator(texts, trainer)
        inner.add_special_tokens([END_OF_TEXT])
        return cls(inner)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a tokenizer.json, ours or another's.

        Raises:
            ArtifactError: missing, damaged, or without an end-of-text token.
        """
        if not Path(path).exists():
            raise ArtifactError(f"no tokenizer at {path}")
        return cls.from_bytes(artifacts.read_bytes(Path(path), LARGEST), path)

    @classmethod
    def from_bytes(cls, content: bytes, path: str | Path = "this") -> "Tokenizer":
        """A tokenizer from the content of its file.

        Args:
            content: What a tokenizer.json holds.
            path: Its file, for the error.

        Raises:
            ArtifactError: damaged, or without an end-of-text token.
        """
        try:
            # Bounded in depth, digits and sizes, which Rust's is not.
            check_sizes(artifacts.parse_json(content, path), path)
        except ArtifactError as error:
            raise ArtifactError(
                f"{path} is no tokenizer.json ({error.__cause__ or error})"
            ) from error
        return cls(parsed(content, path))

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return str(self._inner.to_str()).encode("utf-8")

    @property
    def id(self) -> str:
        """First 16 hexadecimal digits of a hash of its file."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write tokenizer.json."""
        artifacts.write_bytes(Path(path), self.to_bytes())

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self._inner.get_vocab_size())

    @property
    def highest(self) -> int:
        """The largest token id; above `vocab_size` where ids have gaps."""
        return max(self._inner.get_vocab().values())

    def encode(self, text: str) -> list[int]:
        """Token ids of a text.

        Raises:
            DataError: it holds halves of characters, as arguments that are no UTF-8 do.
        """
        try:
            return list(self._inner.encode(text, add_special_tokens=False).ids)
        except TypeError as error:
            raise DataError(f"{text!r:.80} is no text: write it in UTF-8") from error

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, in parallel.

        Raises:
            DataError: as `encode`, naming the first such text.
        """
        every = list(texts)
        try:
            found = self._inner.encode_batch_fast(every, add_special_tokens=False)  # no offsets
        except TypeError:
            return [self.encode(text) for text in every]
        return [list(e.ids) for e in found]

    def window(self, ids: Sequence[int], start: int, size: int) -> list[int]:
        """Some tokens out of the middle of a text, as a model reads them."""
        return list(ids[start : start + size])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens."""
        return str(self._inner.decode(list(ids), skip_special_tokens=False))

    def token(self, id: int) -> str:
        r"""The text of one token; bytes that are no whole character appear as `\xe2`."""
        name = self._inner.id_to_token(id)
        if name is None or not set(name) <= _BYTE_OF.keys():
            return self.decode([id])
        return bytes(_BYTE_OF[sign] for sign in name).decode("utf-8", "backslashreplace")

    def byte_lengths(self) -> np.ndarray:
        """How many bytes of text each token stands for, [vocab_size]; 0 for end-of-text."""
        names = [self._inner.id_to_token(id) or "" for id in range(self.vocab_size)]
        lengths = [len(name) if set(name) <= _BYTE_OF.keys() else 0 for name in names]
        lengths[self.end_of_text] = 0
        return np.array(lengths, dtype=np.int64)

    def single(self, text: str) -> int | None:
        """The id of a text that is exactly one token, else None."""
        ids = self.encode(text)
        return ids[0] if len(ids) == 1 else None


def check_sizes(saved: object, path: str | Path) -> None:
    """Refuse numbers in a tokenizer's file for which memory is taken when it is read or used.

    Raises:
        ArtifactError: an id, or a length to pad to, is above MOST or below 0.
    """
    plain = _object(saved)
    padding, added = _object(plain.get("padding")), plain.get("added_tokens")
    numbers = list(_object(_object(plain.get("model")).get("vocab")).values())
    numbers += [_object(t).get("id") for t in added] if isinstance(added, list) else []
    numbers += [*_object(padding.get("strategy")).values(), padding.get("pad_to_multiple_of")]
    for number in numbers:
        if isinstance(number, int | float) and not 0 <= number <= MOST:
            raise ArtifactError(f"{path} has a token or length {number!s:.40}, at most {MOST:,}")


def _object(value: object) -> dict[str, Any]:
    """A JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def parsed(content: bytes | str, path: str | Path) -> tokenizers.Tokenizer:
    """What the library makes of a tokenizer.json.

    Raises:
        ArtifactError: nothing, or it gives one id to two tokens.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        found = tokenizers.Tokenizer.from_str(text)
    except BaseException as error:
        # Bare Exception for a file it cannot read; where it panics, a BaseException of its own.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path} is no tokenizer.json ({reason})") from error
    check_ids(found, path)
    return found


def check_ids(found: tokenizers.Tokenizer, path: str | Path) -> None:
    """Refuse a tokenizer in which two tokens have one id: which of them it means is left to chance.

    Raises:
        ArtifactError: there are such.
    """
    names: dict[int, str] = {}
    for name, id_ in found.get_vocab().items():
        if (other := names.setdefault(id_, name)) != name:
            pair = " and ".join(f"{text!r:.40}" for text in sorted((other, name)))
            raise ArtifactError(f"{path} gives the id {id_} to {pair}: damaged")

"""The tokenizer of a Hugging Face model, in the words of lacewing's own.

Every text begins with one token that is always the same: the model's own beginning of a text, or
the end of the text before. Large models put what they need at their first token, whatever it is
(an attention sink); one that says nothing can run freely in every ablation.
"""

from collections.abc import Sequence
from typing import Any

import tokenizers

from lacewing.data.tokenizer import END_OF_TEXT, Tokenizer, check_ids, parsed
from lacewing.errors import ArtifactError, MismatchError

FILE = "the model's tokenizer.json"


class OpenTokenizer(Tokenizer):
    """A fast tokenizer of transformers, whose texts begin with a token that is always the same."""

    def __init__(self, inner: tokenizers.Tokenizer, end_of_text: int, begin: int) -> None:
        self._inner = inner
        inner.encode_special_tokens = True  # special tokens written in a text are text
        self.end_of_text, self.begin = end_of_text, begin

    @classmethod
    def of(cls, given: Any, vocab_size: int) -> "OpenTokenizer":
        """The tokenizer that transformers loaded.

        Args:
            given: It.
            vocab_size: Token ids its model knows.

        Raises:
            ArtifactError: it is none of the `tokenizers` library, contradicts itself, or has no
                end of a text.
            MismatchError: it has more tokens than the model.
        """
        backend = getattr(given, "backend_tokenizer", None)
        if backend is None:
            raise ArtifactError(
                f"{type(given).__name__} is a slow tokenizer; a tokenizer.json is needed: save it "
                "again with use_fast=True"
            )
        check_ids(backend, FILE)  # before it is written out, which keeps one of them by chance
        inner = parsed(backend.to_str(), FILE)
        inner.no_truncation()
        inner.no_padding()
        end = inner.token_to_id(END_OF_TEXT)
        end = given.eos_token_id if end is None else end
        if end is None:
            raise ArtifactError("the tokenizer has no end-of-text token: set its eos_token")
        count, highest = inner.get_vocab_size(), max([int(end), *inner.get_vocab().values()])
        if max(count, highest + 1) > vocab_size:
            said = f"{count} tokens" if count > vocab_size else f"token {highest}"
            raise MismatchError(
                f"the tokenizer has {said} but the model knows {vocab_size}: they do not belong "
                "together"
            )
        marked = inner.encode("a", add_special_tokens=True).ids
        plain = inner.encode("a", add_special_tokens=False).ids
        begins = len(marked) > len(plain) and marked[0] != plain[0]
        return cls(inner, int(end), int(marked[0]) if begins else int(end))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, from the first token on that all texts have."""
        return self._begun(super().encode(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, in parallel."""
        return [self._begun(ids) for ids in super().encode_batch(texts)]

    def window(self, ids: Sequence[int], start: int, size: int) -> list[int]:
        """Some tokens out of the middle of a text, after the first that all texts have."""
        return [self.begin, *ids[start + 1 : start + size]]

    def single(self, text: str) -> int | None:
        """The id of a text that is exactly one token, else None."""
        ids = super().encode(text)
        return ids[0] if len(ids) == 1 else None

    def _begun(self, ids: list[int]) -> list[int]:
        return [self.begin, *ids]

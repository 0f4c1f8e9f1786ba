"""Prompts as one integer tensor, the way a model takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.functional import pad

from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.tasks.fit import problems
from lacewing.tasks.pair import Pair
from lacewing.tasks.selection import pairs
from lacewing.tasks.task import Task
from lacewing.tasks.text import Part


@dataclass(frozen=True)
class Prompts:
    """Encoded pairs: sequence 2i is the clean prompt of pair i, 2i + 1 its corrupted partner."""

    tokens: Int64[Tensor, "sequence token"]
    """Token ids, padded on the right with 0 to the longest prompt."""
    last: Int64[Tensor, " sequence"]
    """Index of each prompt's last token, where the answer is scored."""
    answer: Int64[Tensor, " sequence"]
    """The right answer's token."""
    other: Int64[Tensor, " sequence"]
    """The partner's answer, wrong here."""
    pairs: tuple[Pair, ...]
    """The pairs as text."""

    def __repr__(self) -> str:
        """One line: how many pairs, how long they are, and the first one's answers."""
        first = self.pairs[0] if self.pairs else None
        answers = f", {first.clean_answer!r} or {first.corrupted_answer!r}, ..." if first else ""
        return f"Prompts({len(self)} pairs, up to {self.tokens.shape[1]} tokens{answers})"

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def take(self, indices: Sequence[int]) -> "Prompts":
        """The pairs at some indices, in that order, no wider than the longest of them."""
        at = torch.as_tensor(list(indices), dtype=torch.long)
        rows = torch.stack((2 * at, 2 * at + 1), dim=1).flatten()
        last = self.last[rows]
        width = int(last.max()) + 1 if len(rows) else 0
        return Prompts(
            tokens=self.tokens[rows, :width],
            last=last,
            answer=self.answer[rows],
            other=self.other[rows],
            pairs=tuple(self.pairs[i] for i in at.tolist()),
        )

    def first(self, count: int) -> "Prompts":
        """The first pairs, at most so many."""
        return self.take(range(min(count, len(self))))


def joined(parts: Sequence[Prompts]) -> Prompts:
    """All sequences of several batches as one, padded to the longest."""
    width = max(part.tokens.shape[1] for part in parts)
    return Prompts(
        tokens=torch.cat([pad(p.tokens, (0, width - p.tokens.shape[1])) for p in parts]),
        last=torch.cat([p.last for p in parts]),
        answer=torch.cat([p.answer for p in parts]),
        other=torch.cat([p.other for p in parts]),
        pairs=tuple(pair for p in parts for pair in p.pairs),
    )


def encode(pairs: Sequence[Pair], tokenizer: Tokenizer, max_tokens: int) -> Prompts:
    """Encode finished pairs, checking each again.

    Args:
        pairs: At least one pair.
        tokenizer: The tokenizer of the run.
        max_tokens: Longest prompt allowed.

    Raises:
        DataError: no pairs; a pair that is too long, or whose answers are not exactly one token.
    """
    if not pairs:
        raise DataError("no pairs to encode; a task needs at least one")
    for pair, problem in zip(pairs, problems(pairs, tokenizer, max_tokens), strict=True):
        if problem:
            raise DataError(
                f"pair from {pair.source}: {problem} (max_tokens {max_tokens}, tokenizer of "
                f"{tokenizer.vocab_size} tokens)"
            )
    return _encoded(pairs, tokenizer)


def _encoded(pairs: Sequence[Pair], tokenizer: Tokenizer) -> Prompts:
    """The same of pairs that were checked."""
    rows = tokenizer.encode_batch([text for p in pairs for text in (p.clean, p.corrupted)])
    width = max(map(len, rows))
    ids = {a: tokenizer.single(a) for p in pairs for a in (p.clean_answer, p.corrupted_answer)}
    clean = torch.tensor([ids[p.clean_answer] for p in pairs])
    corrupted = torch.tensor([ids[p.corrupted_answer] for p in pairs])
    return Prompts(
        tokens=torch.tensor([row + [0] * (width - len(row)) for row in rows]),
        last=torch.tensor([len(row) - 1 for row in rows]),
        answer=torch.stack((clean, corrupted), dim=1).flatten(),
        other=torch.stack((corrupted, clean), dim=1).flatten(),
        pairs=tuple(pairs),
    )


def prompts(
    task: Task,
    corpus: Corpus,
    tokenizer: Tokenizer,
    split: Part,
    count: int,
    max_tokens: int,
    seed: int = 0,
) -> Prompts:
    """Up to `count` encoded pairs of a task; see `selection.pairs`.

    Raises:
        DataError: as `selection.pairs`.
    """
    return _encoded(pairs(task, corpus, split, count, tokenizer, max_tokens, seed), tokenizer)

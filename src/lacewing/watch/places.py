"""Where in a text a task is being decided: the rule that a monitor goes by.

A task names pairs of answers, such as a colon and a newline. A place of running text, after one of
its tokens, is one at which the task is being decided where

    answers   the two answers of one of its pairs together hold at least half of what the model
              expects next; or one of them does come next, whatever the model expects
    ending    and, of a task whose prompts nearly all end with few different tokens, such as
              ` True`, the token is one of those; of others, such as the text of a string, any is

The rule is made of the task's own test pairs alone. It asks that it is one of the two answers, not
which, so a model that has changed its mind is still looked at; and what follows stays the same in a
model that has forgotten the task. After the last token that has been read only the first half of
`answers` can be asked. Where several pairs qualify, the likeliest counts.
"""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError

SHARE = 0.5
"""Of the next token's probability, that the two answers have to hold together."""
MOST_PAIRS = 16
"""Pairs of answers looked for; of a task with more, those that its test pairs have most often."""
FEW, NEARLY_ALL = 16, 0.9
"""Different last tokens, of this share of the prompts, up to which they are part of the rule."""


@dataclass(frozen=True)
class Rule:
    """What makes a place one of a task's."""

    answers: Int64[Tensor, "pair 2"]
    """Token ids of its pairs of answers, the most frequent first."""
    endings: tuple[int, ...]
    """Tokens after which it is decided; empty: any."""

    @classmethod
    def of(cls, circuit: Circuit, tokenizer: Tokenizer) -> "Rule":
        """The rule of a circuit's task, from its test pairs.

        Raises:
            DataError: it has none whose answers are single tokens.
        """
        ends: Counter[tuple[int, int]] = Counter()
        last: Counter[int] = Counter()
        for pair in circuit.pairs:
            one, other = (tokenizer.single(a) for a in (pair.clean_answer, pair.corrupted_answer))
            if one is not None and other is not None and one != other:
                ends[min(one, other), max(one, other)] += 1
                last.update(tokenizer.encode(text)[-1] for text in (pair.clean, pair.corrupted))
        if not ends:
            raise DataError(
                f"the circuit for {circuit.task} has no test pairs whose answers are single "
                "tokens: nobody can say where its task is decided; prune it again"
            )
        usual = last.most_common(FEW)
        few = sum(count for _, count in usual) >= NEARLY_ALL * last.total()
        answers = torch.tensor([pair for pair, _ in ends.most_common(MOST_PAIRS)])
        return cls(answers, tuple(sorted(token for token, _ in usual)) if few else ())

    def told(self, tokenizer: Tokenizer) -> str:
        """The rule in words, for who has to know why nothing was found."""
        pairs = [" or ".join(repr(tokenizer.token(t)) for t in p) for p in self.answers.tolist()]
        after = ", ".join(repr(tokenizer.token(token)) for token in self.endings)
        named = ", ".join(pairs[:3]) + (f" and {len(pairs) - 3} more" if len(pairs) > 3 else "")
        return f"{named} comes next or is expected" + (f", after {after}" if after else "")


@dataclass(frozen=True)
class Places:
    """Places of some windows at which one task is being decided, in the order of the text."""

    row: Int64[Tensor, " sample"]
    """Window."""
    position: Int64[Tensor, " sample"]
    """Token after which the answer comes."""
    first: Int64[Tensor, " sample"]
    """The one answer's token."""
    second: Int64[Tensor, " sample"]
    """The other's."""
    difference: Float[Tensor, " sample"]
    """Logit of the first minus that of the second, in the whole model, nats."""
    right: Int64[Tensor, " sample"]
    """1 where the first comes next, -1 where the second does, 0 where neither or unknown."""

    def __len__(self) -> int:
        """How many."""
        return len(self.row)

    def thinned(self, most: int) -> "Places":
        """At most so many, evenly over the text, whatever is measured there."""
        if len(self) <= most:
            return self
        chosen = torch.arange(most) * len(self) // most
        return Places(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def decided(
    logits: Float[Tensor, "batch token vocab"],
    tokens: Int64[Tensor, "batch token"],
    text: Bool[Tensor, "batch token"],
    rule: Rule,
    highest: Float[Tensor, "batch token"] | None = None,
) -> Places:
    """The places at which a task is being decided.

    Args:
        logits: Of the whole model.
        tokens: The windows.
        text: Which of them are text, not padding.
        rule: The task's.
        highest: The largest logit at each token, where it is known.

    Example:
        >>> logits = torch.tensor([[[5.0, 5.0, 0.0], [0.0, 0.0, 5.0], [0.0, 0.0, 5.0]]])
        >>> tokens, rule = torch.tensor([[2, 2, 1]]), Rule(torch.tensor([[0, 1]]), ())
        >>> found = decided(logits, tokens, tokens >= 0, rule)
        >>> found.position.tolist(), found.right.tolist()
        ([0, 1], [0, -1])
    """
    follows = torch.zeros(*tokens.shape, *rule.answers.shape, dtype=torch.bool)
    follows[:, :-1] = (tokens[:, 1:, None, None] == rule.answers) & text[:, 1:, None, None]
    comes = follows.any(-1)
    if rule.endings:
        text = text & torch.isin(tokens, torch.tensor(rule.endings))
    highest = logits.amax(-1) if highest is None else highest
    ends = logits[..., rule.answers]
    together = torch.logaddexp(ends[..., 0], ends[..., 1])
    # A pair of which one does come counts before any that is only expected.
    best, which = torch.where(comes, together + 1e3, together).max(-1)
    # The sum over the vocabulary is at least its largest part: few places have to be summed up.
    half = math.log(SHARE)
    row, at = (text & (best >= highest + half)).nonzero(as_tuple=True)
    held = best[row, at] - logits[row, at].logsumexp(-1) >= half
    row, at = row[held], at[held]
    chosen = which[row, at]
    both, known, pair = ends[row, at, chosen], follows[row, at, chosen], rule.answers[chosen]
    right = known[:, 0].long() - known[:, 1].long()
    return Places(row, at, pair[:, 0], pair[:, 1], both[:, 0] - both[:, 1], right)

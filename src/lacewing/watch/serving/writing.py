"""A model goes on with a text, token by token, so that it can be stopped, streamed and read.

The text of a token is not always certain when the token is drawn: bytes may be half of a character,
and signs may be the beginning of a stop. Such an end is kept back until the next token decides it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.model.generate import GREEDY, draw
from lacewing.model.store import Model

HALF = "\N{REPLACEMENT CHARACTER}"
"""What bytes that are no whole character are shown as."""


@dataclass(frozen=True)
class Wish:
    """How a text is to go on."""

    tokens: int = 16
    """New tokens, at most."""
    temperature: int | float = 1.0
    """What logits are divided by; 0 takes the likeliest token."""
    top_p: int | float = 1.0
    """Share of the odds that is drawn from, the likeliest tokens first."""
    seed: int = 0
    stop: tuple[str, ...] = ()
    """Where one of these comes, the text ends before it."""
    likeliest: int | None = None
    """How many of the likeliest tokens are told with each; none: no odds are told."""


@dataclass(frozen=True)
class Drawn:
    """One token and its odds."""

    token: int
    logprob: float | None
    """Natural logarithm of its probability in the model; none of a text's first token."""
    likeliest: tuple[tuple[int, float], ...]
    """The likeliest tokens with theirs."""


@dataclass
class Writing:
    """A text that is being written.

    Example:
        >>> writing = Writing(load("builtin:taught-tiny"), [], Wish(tokens=3, temperature=0))
        >>> while writing.ends is None:
        ...     _ = writing.step()
        >>> writing.ends, len(writing.drawn)
        ('length', 3)
    """

    model: Model
    prompt: Sequence[int]
    """Its tokens."""
    wish: Wish
    drawn: list[Drawn] = field(default_factory=list)
    text: str = ""
    """What is certain of the new text."""
    ends: Literal["stop", "length"] | None = None
    """Why it has ended; none while it has not."""

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.wish.seed)
        self._ids = list(self.prompt) or [self.model.tokenizer.end_of_text]
        if not self.wish.tokens:
            self.ends = "length"

    @property
    def tokens(self) -> list[int]:
        """The prompt's tokens and the new ones."""
        return [*self.prompt, *(one.token for one in self.drawn)]

    @torch.inference_mode()
    def step(self) -> str:
        """Draw one token; what it makes certain of the text."""
        network, end = self.model.network, self.model.tokenizer.end_of_text
        window = torch.tensor([self._ids[-network.config.context :]])
        logits = network(window, torch.tensor([window.shape[1] - 1]))[0].float().cpu()
        token = draw(_likely(logits, self.wish), self.wish.temperature, self._generator)
        if token == end:
            self.ends = "stop"
            return self._settled()
        self._ids.append(token)
        self.drawn.append(odds(logits, token, self.wish.likeliest))
        if len(self.drawn) >= self.wish.tokens:
            self.ends = "length"
        return self._settled()

    @torch.inference_mode()
    def prompt_odds(self) -> list[Drawn]:
        """The odds of the prompt's tokens, which have to be within the model's context."""
        if not self.prompt:
            return []
        logits = self.model.network(torch.tensor([list(self.prompt)]))[0].float().cpu()
        rest = zip(logits, self.prompt[1:], strict=False)
        return [Drawn(self.prompt[0], None, ()), *(odds(*one, self.wish.likeliest) for one in rest)]

    def _settled(self) -> str:
        """Add to the text what is certain now."""
        whole = self.model.tokenizer.decode([one.token for one in self.drawn])
        found = [at for stop in self.wish.stop if (at := whole.find(stop)) >= 0]
        if found:
            whole, self.ends = whole[: min(found)], "stop"
        elif self.ends is None:
            whole = whole.rstrip(HALF)
            kept = max((_begun(whole, stop) for stop in self.wish.stop), default=0)
            whole = whole[: len(whole) - kept]
        new = whole[len(self.text) :]
        self.text = whole
        return new


def odds(logits: Float[Tensor, " vocab"], token: int, likeliest: int | None) -> Drawn:
    """A token with its odds, where they are asked for."""
    if likeliest is None:
        return Drawn(token, None, ())
    logs = logits.log_softmax(-1)
    top = logs.topk(min(likeliest, len(logs)))
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return Drawn(token, float(logs[token]), tuple(pairs))


def _likely(logits: Float[Tensor, " vocab"], wish: Wish) -> Float[Tensor, " vocab"]:
    """The logits with those of unlikely tokens taken out, as `top_p` says."""
    if wish.top_p >= 1 or wish.temperature < GREEDY:
        return logits
    ordered = (logits / wish.temperature).softmax(-1).sort(descending=True)
    before = ordered.values.cumsum(-1) - ordered.values
    left = logits.clone()
    left[ordered.indices[(before >= wish.top_p) & (before > 0)]] = -torch.inf
    return left


def _begun(text: str, stop: str) -> int:
    """How many signs at the end of a text are the beginning of a stop.

    >>> _begun("a = 1;", ";;"), _begun("a", "b")
    (1, 0)
    """
    for count in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:count]):
            return count
    return 0

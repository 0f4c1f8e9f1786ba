"""An alarm: what it is about, since when, which nodes, weights and texts are behind it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Cause = Literal["model", "text"]
SHOWN = 3
"""Nodes, weights and texts that an alarm names."""
WORDS: Mapping[str, str] = {
    "agrees": "how often the circuit alone gives the model's answer",
    "carried": "how much of the logit difference it carries",
    "jointly": "its nodes' values, taken together",
    "head": "where its heads look",
    "node": "its nodes' values",
    "places": "how often its task comes up",
    "text": "the text's tokens",
}
"""What the signals of `scores` are, in words."""


@dataclass(frozen=True)
class Alarm:
    """Something is not as it was in the reference."""

    cause: Cause
    """`model` where the answers to a probe have changed too; else `text`: the model gives the same
    answers to the same prompts, so what has changed is what it reads."""
    at: int
    """Tokens read when it was raised."""
    since: int
    """Tokens read when the evidence began."""
    seen_by: Literal["text", "probe"]
    """What raised it: the signals of running text, or the fixed prompts."""
    evidence: float
    """The average of all sums over its threshold; of a probe's alarm, 0."""
    circuit: str | None
    """The task of the circuit with the largest part in it; none where it is the text alone."""
    signals: tuple[tuple[str, float], ...]
    """What adds most to it: signals with their shares."""
    parts: tuple[str, ...]
    """Nodes, heads and weights that are behind it, the first before all."""
    texts: tuple[str, ...]
    """Places that show it most."""
    probe: str
    """What the probe says of it."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def told(self) -> str:
        """One line."""
        what = "the model has changed" if self.cause == "model" else "the text is another"
        whose = f", circuit {self.circuit}" if self.circuit else ""
        signals = ", ".join(f"{name} {share:.0%}" for name, share in self.signals)
        by = f" by {signals}" if signals else ""
        parts = f"; first of all {', '.join(self.parts[:SHOWN])}" if self.parts else ""
        return (
            f"token {self.at:,}: {what}{whose}{by}, since about token {self.since:,}{parts}; "
            f"{self.probe}"
        )


def leading(
    signals: list[tuple[int, str, str]], shares: Float[np.ndarray, " unit"]
) -> tuple[int, list[tuple[str, float]], list[str]]:
    """What an average of sums is made of.

    Args:
        signals: Every signal: whose, its kind, its head or node.
        shares: The logarithm of what each adds.

    Returns:
        The circuit that adds most, or -1 for the text; kinds of its signals with their shares of
        all, the largest first; and its heads and nodes, the largest first.
    """
    part = np.exp(shares - shares.max())
    part /= part.sum()
    owners = sorted({number for number, _, _ in signals})
    of_owner = {n: sum(part[i] for i, s in enumerate(signals) if s[0] == n) for n in owners}
    number = max(owners, key=lambda n: of_owner[n])
    kinds: dict[str, float] = {}
    for index, (owner, kind, _) in enumerate(signals):
        if owner == number:
            kinds[kind] = kinds.get(kind, 0.0) + float(part[index])
    ordered = sorted(kinds.items(), key=lambda one: -one[1])[:SHOWN]
    items = [i for i, s in enumerate(signals) if s[0] == number and s[2]]
    items.sort(key=lambda i: -shares[i])
    return number, [(WORDS[kind], share) for kind, share in ordered], [signals[i][2] for i in items]

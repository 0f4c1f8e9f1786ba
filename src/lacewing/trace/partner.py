"""A partner prompt: what each node would take away if it had the value it has there.

A partner is given, or found: of the changes of one token that the model itself holds likely, the
one that turns the answer most. They are tried at the tokens that the answer hangs on most, by
attribution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lacewing.errors import DataError
from lacewing.model.hooks import record
from lacewing.model.store import Model
from lacewing.progress import progress
from lacewing.trace.attributed import attribute
from lacewing.trace.graph import TraceNode

PLACES, LIKELY, TOGETHER = 6, 8, 16
"""Tokens that are changed, likely others tried at each, prompts run at once."""


@dataclass(frozen=True)
class Partner:
    """Another prompt of as many tokens."""

    tokens: tuple[int, ...]
    difference: float
    """Of the same two answers, nats."""
    found: bool
    """Whether it was looked for, not given."""

    def as_json(self, model: Model, prompt: Sequence[int]) -> dict[str, Any]:
        """Plain values; `changed` are the places at which it is not the prompt."""
        return {
            "tokens": [model.tokenizer.token(t) for t in self.tokens],
            "changed": [at for at, t in enumerate(self.tokens) if t != prompt[at]],
            "difference": self.difference,
            "found": self.found,
        }


@torch.inference_mode()
def given_partner(
    model: Model, tokens: Sequence[int], partner: Sequence[int], answer: int, rival: int
) -> Partner:
    """A partner that somebody named.

    Raises:
        DataError: it has another number of tokens.
    """
    _check_length(tokens, partner)
    logits = model.network(torch.tensor([list(partner)]))[0, -1]
    return Partner(tuple(partner), float(logits[answer] - logits[rival]), found=False)


def find_partner(model: Model, tokens: tuple[int, ...], answer: int, rival: int) -> Partner:
    """The likely change of one token that turns an answer most.

    Args:
        model: Any model of the protocol, with its means.
        tokens: The prompt.
        answer: Token id.
        rival: Token id.

    Raises:
        DataError: no change that was tried lowers the difference.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> tokens = tuple(model.tokenizer.encode("if x"))
        >>> found = find_partner(model, tokens, *model.tokenizer.encode(":("))
        >>> sum(a != b for a, b in zip(found.tokens, tokens))
        1
    """
    whole = attribute(model, tokens, answer, rival)
    sites = ("0.attn_in", "0.mlp_in")
    parts = [whole.effects[key].abs().sum(1) for key in sites if key in whole.effects]
    weight = torch.stack(parts or [e.abs().sum(1) for e in whole.effects.values()]).sum(0)
    weight[: max(1, model.network.spared)] = 0  # nothing is known to be likely in their place
    changed = []
    with torch.inference_mode():
        likely = model.network(torch.tensor([tokens]))[0].topk(LIKELY + 1, 1).indices
        for at in weight.topk(min(PLACES, len(tokens))).indices.tolist():
            others = [t for t in likely[at - 1].tolist() if t != tokens[at]] if weight[at] else []
            changed += [(*tokens[:at], other, *tokens[at + 1 :]) for other in others[:LIKELY]]
        last, differences = len(tokens) - 1, []
        with progress("looking for a partner prompt", len(changed), "prompts", shown=False) as bar:
            for start in range(0, len(changed), TOGETHER):
                bar.update(start)
                rows = changed[start : start + TOGETHER]
                logits = model.network(torch.tensor(rows), at=torch.full((len(rows),), last))
                differences += (logits[:, answer] - logits[:, rival]).tolist()
    best = min(range(len(changed)), key=differences.__getitem__, default=None)
    if best is None or differences[best] >= whole.difference:
        raise DataError(
            f"none of {len(changed)} likely changes of one token lowers the difference: name a "
            "partner prompt with --partner"
        )
    return Partner(changed[best], differences[best], found=True)


def interchange(
    model: Model,
    nodes: Sequence[TraceNode],
    units: Mapping[str, Tensor],
    tokens: Sequence[int],
    partner: Sequence[int] | None,
) -> tuple[float, ...] | None:
    """The distance of each node from its value on the partner, times what one unit of it adds.

    Args:
        model: The model.
        nodes: Of the prompt.
        units: Of every site, nats per unit of each node at each token.
        tokens: The prompt.
        partner: Of as many tokens, or none.

    Raises:
        DataError: it has another number of tokens.
    """
    if partner is None:
        return None
    _check_length(tokens, partner)
    with torch.inference_mode(), record(model.network) as seen:
        model.network(torch.tensor([list(partner)]))
    return tuple(
        float(units[n.key][n.token, n.channel])
        * (n.value - float(seen[n.key][0, n.token, n.channel]))
        for n in nodes
    )


def _check_length(tokens: Sequence[int], partner: Sequence[int]) -> None:
    if len(partner) != len(tokens):
        raise DataError(
            f"the partner prompt has {len(partner)} tokens and the prompt {len(tokens)}: nodes are "
            "exchanged token by token, so make them equally long"
        )

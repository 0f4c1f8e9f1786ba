"""A partner prompt: what each node would take away if it had the value it has there."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lacewing.errors import DataError
from lacewing.model.hooks import record
from lacewing.model.store import Model
from lacewing.trace.graph import TraceNode


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
    if len(partner) != len(tokens):
        raise DataError(
            f"the partner prompt has {len(partner)} tokens and the prompt {len(tokens)}: nodes are "
            "exchanged token by token, so make them equally long"
        )
    with torch.inference_mode(), record(model.network) as seen:
        model.network(torch.tensor([list(partner)]))
    return tuple(
        float(units[n.key][n.token, n.channel])
        * (n.value - float(seen[n.key][0, n.token, n.channel]))
        for n in nodes
    )

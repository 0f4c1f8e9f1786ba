"""Two other looks at a held pass: why a head looks where it does, and the answer by layer."""

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.trace.held import Held


def attention(
    held: Held, layer: int, head: int, query: int
) -> tuple[Float[Tensor, " token"], list[tuple[int, float]]]:
    """Why a head looks where it looks from one token.

    Args:
        held: The pass.
        layer: Of the head.
        head: Its number.
        query: The token it looks from.

    Returns:
        Its pattern, and the products that made the largest score: channel of
        query and key, and nats, largest first.
    """
    size = held.network.config.d_head
    pattern = held.patterns[layer][head, query, : query + 1]
    there = int(pattern.argmax())
    mine = slice(head * size, (head + 1) * size)
    q = held.values[f"{layer}.attn_q"][query, mine]
    k = held.values[f"{layer}.attn_k"][there, mine]
    products = q * k * size**-0.5
    order = products.abs().sort(descending=True).indices.tolist()
    first = head * size
    return pattern, [(first + c, float(products[c])) for c in order if products[c]]


def lens(held: Held, answer: int, rival: int) -> list[tuple[str, float]]:
    """The logit difference if the model stopped after each part, read through the last norm.

    Returns:
        Names of parts and nats, from the embedding on.
    """
    network, last = held.network, len(held.tokens) - 1
    row = (network.lm_head.weight[answer] - network.lm_head.weight[rival]).double()
    found = []
    points = [("embedding", held.embedded)]
    for layer in range(network.config.n_layer):
        points.append((f"attention {layer}", held.stream[f"{layer}.resid_mid"]))
        points.append((f"MLP {layer}", held.stream[f"{layer}.resid_post"]))
    for name, x in points:
        normed = torch.nn.functional.rms_norm(x[last], x.shape[1:]) * network.ln_f.weight.double()
        found.append((name, float(normed @ row)))
    return found

"""A model goes on with a text: one token after the other, each drawn from the model's own odds."""

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ConfigError
from lacewing.model.protocol import Network

GREEDY = 1e-5
"""Temperatures below this count as 0, where the likeliest token is all that is left: logits over
them are more than float32 holds."""


@torch.inference_mode()
def generate(
    network: Network,
    tokenizer: Tokenizer,
    prompt: str,
    tokens: int = 64,
    *,
    seed: int = 0,
    temperature: int | float = 1.0,
) -> str:
    """Go on with a text until the model ends it, or `tokens` are there.

    The model sees as many of the last tokens as its context holds. The same arguments give the same
    text on one machine.

    Args:
        network: The model.
        tokenizer: Its tokenizer.
        prompt: The text before; empty for the beginning of a document.
        tokens: New tokens, at most.
        seed: Seeds the draws.
        temperature: What logits are divided by; 0, or next to it, takes the likeliest token.

    Returns:
        The new text alone. Bytes that are no whole character appear as the replacement sign.

    Raises:
        ConfigError: a negative temperature or number of tokens.
    """
    if temperature < 0 or tokens < 0:
        raise ConfigError(
            f"temperature and tokens must be at least 0, not {temperature} and {tokens}"
        )
    ids = tokenizer.encode(prompt) or [tokenizer.end_of_text]
    begun, generator = len(ids), torch.Generator().manual_seed(seed)
    device = network.unembedding().device
    for _ in range(tokens):
        window = torch.tensor([ids[-network.config.context :]], device=device)
        last = torch.tensor([window.shape[1] - 1], device=device)
        drawn = draw(network(window, last)[0].float().cpu(), temperature, generator)
        if drawn == tokenizer.end_of_text:
            break
        ids.append(drawn)
    return tokenizer.decode(ids[begun:])


def draw(
    logits: Float[Tensor, " vocab"], temperature: int | float, generator: torch.Generator
) -> int:
    """A token by its logits, divided by the temperature; below GREEDY the likeliest."""
    if temperature < GREEDY:
        return int(logits.argmax())
    odds = torch.softmax(logits / temperature, dim=-1)
    return int(torch.multinomial(odds, 1, generator=generator))

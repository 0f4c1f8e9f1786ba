"""How well a model does a task: the two-answer cross-entropy, with its interval over pairs.

The task loss is -log p(right) at the last token, over the right and the wrong answer only, and its
mean over both members of every pair.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from lacewing.model.layers import sparse_products
from lacewing.model.store import Model
from lacewing.statistics import bootstrap
from lacewing.tasks.batch import Prompts

CHANCE = math.log(2)


HALF_CHANCE = CHANCE / 2
"""Nats: a task loss halfway between a sure answer and a guess, as in `verify`."""


LEARNED = 0.15  # nats; the paper prunes to this loss (section 2.2)


@dataclass(frozen=True)
class TaskScore:
    """A model's result on the prompts of a task."""

    loss: float
    """Task loss: mean two-answer cross-entropy over both members, nats; ln 2 is chance."""
    accuracy: float
    """Share of prompts where the right answer beats the wrong one."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the loss, over pairs."""
    pairs: int
    """Pairs scored."""
    learned: bool
    """Whether the loss is below 0.15 nats."""


def two_answer_loss(
    logits: Float[Tensor, "sequence vocab"], prompts: Prompts
) -> Float[Tensor, " sequence"]:
    """Cross-entropy of the right answer against the wrong one alone, in nats, per sequence.

    Source: `last_token_contrast_loss_fn` of openai/circuit_sparsity, halved as in the paper.
    """
    answer, other = prompts.answer.to(logits.device), prompts.other.to(logits.device)
    right = logits.gather(1, answer[:, None])[:, 0]
    wrong = logits.gather(1, other[:, None])[:, 0]
    return softplus(wrong - right)


def is_right(
    logits: Float[Tensor, "sequence vocab"], prompts: Prompts
) -> Bool[Tensor, " sequence"]:
    """Whether the right answer beats the wrong one, per sequence; a tie is not right."""
    answer, other = prompts.answer.to(logits.device), prompts.other.to(logits.device)
    return (logits.gather(1, answer[:, None]) > logits.gather(1, other[:, None]))[:, 0]


def accuracy(logits: Float[Tensor, "sequence vocab"], prompts: Prompts) -> float:
    """Share of sequences where the right answer beats the wrong one."""
    return float(is_right(logits, prompts).double().mean())


def evaluate(model: Model, prompts: Prompts, batch: int = 128, seed: int = 0) -> TaskScore:
    """Score a model on prompts.

    Args:
        model: The model; nothing is ablated.
        prompts: Test prompts, for a number that may be quoted.
        batch: Pairs per forward pass, cut to the longest prompt among them.
        seed: Of the bootstrap.

    Example:
        >>> model = load("builtin:taught-tiny")
        >>> pairs = Circuit.load("runs/indent").pairs
        >>> score = evaluate(model, encode(pairs, model.tokenizer, max_tokens=64))
        >>> score.pairs, score.learned
        (32, True)
    """
    losses, right = [], []
    device = model.network.embedding().device
    with torch.inference_mode(), sparse_products(model.network):
        for start in range(0, len(prompts), batch):
            part = prompts.take(range(start, min(start + batch, len(prompts))))
            logits = model.network(part.tokens.to(device), at=part.last.to(device)).float()
            losses.append(two_answer_loss(logits, part).cpu())
            right.append(is_right(logits, part).cpu())
    per_pair = torch.cat(losses).double().view(-1, 2).mean(1).numpy()
    loss = float(per_pair.mean())
    return TaskScore(
        loss=loss,
        accuracy=float(torch.cat(right).double().mean()),
        interval=bootstrap(per_pair, seed=seed),
        pairs=len(prompts),
        learned=loss < LEARNED,
    )

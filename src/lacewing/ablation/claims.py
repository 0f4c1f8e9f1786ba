"""How strongly a model or a circuit claims that an answer comes next, everywhere in a text."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.live_maps import ablating
from lacewing.ablation.masks import Masks, few_live
from lacewing.ablation.prefix_run import runs_at_prefixes
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.ablation.values import AblationValues
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.model.protocol import Network

FOREIGN = 0.1
"""A position is foreign where the full model gives all of the task's answers less than this."""


ROUNDING = 1e-3
"""Nats within which two claims are equal: a circuit that is a constant claims everything."""


TOGETHER = 16
"""Windows of text run at once, where their logits are not too many."""


LOGITS = 2**24
"""Logits that a pass gives at most, unless one window has more: 64 MiB."""


PIECE = 2**21
"""Logits summed up at once, so that what is worked out on the way stays in a cache."""


NOTHING = -80.0
"""Nats below the largest, from which on terms of a sum are counted as this: none is 0 then."""


@torch.no_grad()
def claims(
    network: Network,
    tokens: Int64[Tensor, "sequence token"],
    answers: list[int],
    masks: Masks | None,
    calibration: Calibration | None = None,
    ablation_values: AblationValues | None = None,
) -> Float[Tensor, "sequence token"]:
    """Log odds of the answers together against all other tokens, in nats, at every position.

    Args:
        network: The model, or the circuit's copy of it with edges cut.
        tokens: Text.
        answers: Token ids of the task's answers.
        masks: Nodes that run freely; none for the full model.
        calibration: Of the circuit; none for the full model.
        ablation_values: What stands for the other nodes.
    """
    values = ablation_values or {}

    def run(rows: Tensor) -> Tensor:
        return network(rows).flatten(0, 1)

    if masks is not None and few_live(masks) and runs_at_prefixes(network):
        compiled, masks = CompiledCircuit(network, masks, values), None
        run = lambda rows: compiled.logits(UniquePrefixes.all_of(rows))  # noqa: E731
    at_once = max(1, min(TOGETHER, LOGITS // (tokens.shape[1] * network.config.vocab_size)))
    with ablating(network, masks, values):
        pieces = [log_odds(run(r), answers, calibration) for r in torch.split(tokens, at_once)]
    return torch.cat(pieces).view(tokens.shape)


def log_odds(
    logits: Float[Tensor, "row vocab"], answers: list[int], calibration: Calibration | None = None
) -> Float[Tensor, " row"]:
    """Log odds of some tokens together against all others, in nats, after a calibration."""
    found = []
    for piece in torch.split(logits, max(1, PIECE // logits.shape[1])):
        given = calibrated(piece, calibration)
        others = given.index_fill(1, torch.tensor(answers), -torch.inf)
        found.append(given[:, answers].logsumexp(1) - _log_sum(others))
    return torch.cat(found)


def _log_sum(logits: Float[Tensor, "row vocab"]) -> Float[Tensor, " row"]:
    """As logsumexp, which takes ten times as long where many terms are too small for a float."""
    most = logits.detach().amax(1, keepdim=True)
    return (logits - most).clamp(min=NOTHING).exp().sum(1).log() + most.squeeze(1)

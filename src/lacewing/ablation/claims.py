"""How strongly a model or a circuit claims that an answer comes next, everywhere in a text."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import Masks, replacing
from lacewing.ablation.prefix_run import runs_at_prefixes
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.ablation.run import few_live
from lacewing.ablation.values import AblationValues
from lacewing.circuit.calibration import Calibration, calibrated
from lacewing.model.hooks import ablate
from lacewing.model.protocol import Network

FOREIGN = 0.1
"""A position is foreign where the full model gives all of the task's answers less than this."""


ROUNDING = 1e-3
"""Nats within which two claims are equal: a circuit that is a constant claims everything."""


TOGETHER = 16
"""Windows of text run at once."""


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
    found = []
    edits = {} if masks is None else replacing(masks, ablation_values or {})

    def run(rows: Tensor) -> Tensor:
        with ablate(network, edits):
            whole: Tensor = network(rows)
        return whole.flatten(0, 1)

    if masks is not None and few_live(masks) and runs_at_prefixes(network):
        compiled = CompiledCircuit(network, masks, ablation_values or {})
        run = lambda rows: compiled.logits(UniquePrefixes.all_of(rows))  # noqa: E731
    for rows in torch.split(tokens, TOGETHER):
        logits = run(rows)
        odds = log_odds(calibrated(logits, calibration), answers)
        found.append(odds.view(rows.shape))
    return torch.cat(found)


def log_odds(logits: Float[Tensor, "row vocab"], answers: list[int]) -> Float[Tensor, " row"]:
    """Log odds of some tokens together against all others, in nats."""
    chosen = torch.zeros(logits.shape[1], dtype=torch.bool)
    chosen[answers] = True
    return logits[:, chosen].logsumexp(1) - logits[:, ~chosen].logsumexp(1)

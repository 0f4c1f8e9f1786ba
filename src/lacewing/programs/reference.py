"""What a circuit says, run in the network: the thing that programs and attacks are held against."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.ablation.editor import cut_model
from lacewing.ablation.live import live_circuit
from lacewing.ablation.masks import masks_of
from lacewing.ablation.values import AblationValues, ablation_values_of
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.errors import ConfigError
from lacewing.model.store import Model
from lacewing.tasks.batch import Prompts

PIECE = 128
"""Pairs run at once."""


class Reference:
    """A circuit, ready to give logits; its cut edges carry their source's ablation value."""

    def __init__(self, model: Model, circuit: Circuit) -> None:
        """Compile the circuit.

        Raises:
            ConfigError: it was found under resample ablation, which depends on another prompt.
            MismatchError: it belongs to another model.
        """
        circuit.check(model)
        self.circuit, self.ablation_values = circuit, constants_of(model, circuit)
        network = cut_model(model, circuit, circuit.ablation).network
        self.live = live_circuit(network, masks_of(network, circuit.nodes), self.ablation_values)

    @torch.inference_mode()
    def logits(self, prompts: Prompts) -> Float[Tensor, "sequence vocab"]:
        """All logits after every prompt, calibrated where the circuit is; nats."""
        pieces = [
            self.live(part.tokens, part.last)
            for start in range(0, len(prompts), PIECE)
            for part in [prompts.take(range(start, min(start + PIECE, len(prompts))))]
        ]
        return calibrated(torch.cat(pieces), self.circuit.calibration)

    def answers(self, prompts: Prompts) -> Float[np.ndarray, "sequence wanted"]:
        """The logits of the circuit's answers, in its order."""
        return self.logits(prompts)[:, list(self.circuit.answers)].double().numpy()


def constants_of(model: Model, circuit: Circuit) -> AblationValues:
    """The constants that stand for everything outside a circuit, per site key.

    Raises:
        ConfigError: it was found under resample ablation.
    """
    if circuit.ablation == "resample":
        raise ConfigError(
            "this circuit was found under resample ablation, which takes values of another prompt; "
            "programs and attacks need constants: prune under mean or zero ablation"
        )
    return ablation_values_of(model, circuit.ablation)

"""How often a circuit prefers the right answer, and what that costs in edges.

A pair of prompts is right where the right answer beats the wrong one in both: who always gives one
answer has none right, who guesses a quarter. Test pairs, which nothing was chosen on; 95 %
intervals of a single circuit are Wilson's over its pairs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Circuit
from lacewing.model.store import Model
from lacewing.statistics import bootstrap, pair_means, wilson
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import is_right, two_answer_loss


@dataclass(frozen=True)
class Score:
    """A circuit, or a whole model, on pairs of a task."""

    __pydantic_config__ = artifacts.EXACT

    right: float
    """Share of the pairs with the right answer preferred in both prompts."""
    right_low: float
    right_high: float
    """95 %, Wilson."""
    loss: float
    """Task loss, nats."""
    loss_low: float
    loss_high: float
    """95 % bootstrap, over pairs."""
    pairs: int

    @classmethod
    def of(cls, logits: Float[Tensor, "sequence vocab"], prompts: Prompts) -> "Score":
        """The score of logits at the ends of prompts."""
        hits = int(is_right(logits, prompts).view(-1, 2).all(1).sum())
        losses = pair_means(two_answer_loss(logits, prompts))
        return cls(
            hits / len(prompts),
            *wilson(hits, len(prompts)),
            float(losses.mean()),
            *bootstrap(losses),
            len(prompts),
        )

    @classmethod
    def in_row(cls, row: Mapping[str, Any], where: Path) -> dict[str, Any]:
        """What a saved row says under `test`, checked; none where it is of an older version.

        Raises:
            ArtifactError: it is something else.
        """
        if (said := row.get("test")) is None:
            return {}
        return {"test": asdict(artifacts.typed(said, cls, where))}


def full_score(model: Model, prompts: Prompts) -> Score:
    """The whole model's score; nothing is ablated."""
    return Score.of(ablated_logits(model, prompts, None), prompts)


def circuit_score(model: Model, circuit: Circuit, prompts: Prompts) -> Score:
    """The score of a circuit alone, calibrated, with everything outside ablated.

    Args:
        model: The circuit's model.
        circuit: The circuit, with edges cut or without.
        prompts: Test pairs of its task.

    Raises:
        MismatchError: the circuit belongs to another model.

    Example:
        >>> model, circuit = load("builtin:taught-tiny"), Circuit.load("runs/indent")
        >>> pairs = encode(circuit.pairs, model.tokenizer, max_tokens=64)
        >>> circuit_score(model, circuit, pairs).right > 0.5
        True
    """
    circuit.check(model)
    cut = cut_model(model, circuit, circuit.ablation)
    masks = masks_of(cut.network, circuit.nodes)
    logits = ablated_logits(cut, prompts, masks, circuit.ablation)
    return Score.of(calibrated(logits, circuit.calibration), prompts)

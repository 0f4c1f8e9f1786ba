"""Text outside the task: windows of what the model was trained on, and where they are foreign.

Learning and choosing use windows of their own. Circuits are judged on validation text
(`verification.natural_text`), so on none of these.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from lacewing.ablation.claims import FOREIGN, claims
from lacewing.circuit.natural_text import natural_text
from lacewing.circuit.prompts import PromptSets
from lacewing.model.store import Model

LEARNED, CHOSEN = 192, 48
"""Windows that masks learn on, and windows that selections are made on."""
STEP = 12
"""Windows a step."""


@dataclass(frozen=True)
class ForeignText:
    """Windows of text, and where the full model gives a task's answers little."""

    tokens: Int64[Tensor, "sequence token"]
    foreign: Bool[Tensor, "sequence token"]
    answers: list[int]
    """Token ids of the task's answers."""

    @classmethod
    def of(cls, model: Model, sets: PromptSets) -> "ForeignText":
        """Windows of the model's training text, the same for every seed.

        Raises:
            DataError: the text is not there, or no file fills a window.
        """
        tokens = natural_text(model, model.corpus, 0, LEARNED + CHOSEN, "train")
        answers = sorted(set(sets.train.answer.tolist()) | set(sets.test.answer.tolist()))
        full = claims(model.network, tokens, answers, None)
        return cls(tokens, full.sigmoid() < FOREIGN, answers)

    def draw(self, generator: torch.Generator) -> "ForeignText":
        """Some of the windows to learn on."""
        rows = torch.randint(LEARNED, (STEP,), generator=generator)
        return self._take(rows)

    @property
    def to_choose_on(self) -> "ForeignText":
        """The windows for selections."""
        return self._take(torch.arange(LEARNED, LEARNED + CHOSEN))

    def _take(self, rows: Tensor) -> "ForeignText":
        return ForeignText(self.tokens[rows], self.foreign[rows], self.answers)

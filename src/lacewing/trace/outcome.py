"""What a repair found, and what each way of mending did: values."""

from dataclasses import dataclass
from typing import Any

from lacewing.model.transformer import Transformer
from lacewing.trace.elsewhere import Damage
from lacewing.trace.weight_edits import WeightEdit


@dataclass(frozen=True)
class Kin:
    """A prompt like the one to mend."""

    prompt: str
    answer: str
    rival: str


@dataclass(frozen=True)
class OnKin:
    """How an edited model does on them."""

    mended: int
    wrong: int
    """That the model was wrong on before."""
    mended_interval: tuple[float, float]
    broken: int
    right: int
    """That it was right on before."""
    broken_interval: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """What one way of mending did."""

    mended: bool
    difference: float
    """Of the answer over its rival, after, nats."""
    kin: OnKin
    damage: Damage


@dataclass(frozen=True)
class Tested:
    """An edit that mends, on what is kept for choosing."""

    edit: WeightEdit
    strength: float
    damage: float
    """Nats that text moves by, and tasks get worse by."""
    siblings: int
    """Siblings it mends."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        more = {"measured": self.damage, "siblings_mended": self.siblings}
        return self.edit.as_json(self.strength) | more


@dataclass(frozen=True)
class Widest:
    """Of the edits that mend, the one that mends most siblings."""

    tested: Tested
    kin: OnKin

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return self.tested.as_json() | {"kin": vars(self.kin)}


@dataclass(frozen=True)
class Repair:
    """A mistake and how it was mended."""

    model: str
    model_id: str
    prompt: str
    answer: str
    rival: str
    margin: float
    seed: int
    before: float
    """The logit of the answer less that of its rival, nats; below 0, since it is a mistake."""
    tried: int
    """Edits whose strength was looked for."""
    mending: int
    """Of these, how many mend the mistake."""
    siblings: int
    """Other mistakes that edits were made and chosen with."""
    chosen: Tested | None
    others: tuple[Tested, ...]
    """Edits that mend and were measured, the next best first."""
    widest: Widest | None
    outcome: Outcome | None
    fine_tuning: Outcome | None
    fine_tuned: tuple[str, float] | None
    """Optimizer and learning rate of it."""
    fine_tuned_steps: int
    network: Transformer | None
    """The mended network."""

    @property
    def fine_tuned_words(self) -> str:
        """How it was fine-tuned."""
        if self.fine_tuned is None:
            return "no learning rate that was tried mended it"
        steps = "1 step" if self.fine_tuned_steps == 1 else f"{self.fine_tuned_steps} steps"
        optimizer, rate = self.fine_tuned
        return f"{optimizer}, learning rate {rate:g}, {steps}, scaled back"

    @property
    def ratio(self) -> float | None:
        """Damage of the edit over that of fine-tuning; none where either failed."""
        if self.outcome is None or self.fine_tuning is None or not self.fine_tuning.damage.kl:
            return None
        return self.outcome.damage.kl / self.fine_tuning.damage.kl

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "model_id": self.model_id,
            "prompt": self.prompt,
            "answer": self.answer,
            "rival": self.rival,
            "margin": self.margin,
            "seed": self.seed,
            "before": self.before,
            "tried": self.tried,
            "mending": self.mending,
            "siblings": self.siblings,
            "edit": None if self.chosen is None else self.chosen.as_json(),
            "others": [other.as_json() for other in self.others],
            "widest": None if self.widest is None else self.widest.as_json(),
            "outcome": _plain(self.outcome),
            "fine_tuning": _plain(self.fine_tuning),
            "fine_tuned": self.fine_tuned_words,
            "fine_tuned_way": self.fine_tuned,
            "ratio": self.ratio,
        }


def _plain(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    plain = {"mended": outcome.mended, "difference": outcome.difference}
    return plain | {"kin": vars(outcome.kin), "damage": outcome.damage.as_json()}

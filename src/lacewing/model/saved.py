"""What a run's config.json and summary.json have to say for its model to be used."""

from dataclasses import dataclass, field

from lacewing.artifacts import LOOSE
from lacewing.data.corpus import renamed
from lacewing.model.config import ModelConfig

Plain = bool | int | float | str | None


@dataclass(frozen=True)
class SavedConfig:
    """config.json."""

    __pydantic_config__ = LOOSE

    model: ModelConfig
    training: dict[str, Plain | list[Plain]]
    """The training configuration, of this version or another."""
    corpus: str
    """As `Corpus.parse` reads it."""
    corpus_id: str | None = None
    """Of a built corpus."""
    trained_on: str | None = None
    """What was read in training, where `corpus` names only the part of it that everybody has."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "corpus", renamed(self.corpus))


@dataclass(frozen=True)
class Summary:
    """summary.json."""

    __pydantic_config__ = LOOSE

    validation_loss: float
    """Nats per token."""
    id: str
    """The model's id when it was saved."""
    densities: dict[str, float] = field(default_factory=dict)

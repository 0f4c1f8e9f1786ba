"""`lacewing train`: a weight-sparse model, or its dense twin."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from lacewing.cli.flags import Json
from lacewing.errors import ConfigError
from lacewing.training.config import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train a weight-sparse model, or with --twin-of its dense twin, into a run folder."""

    output: Path
    """Run folder; the same command goes on where an interrupted one stopped."""
    corpus: str = "standard_library"
    """standard_library, installed_packages, a folder, a glob, hub:NAME, or several joined by +;
    code: in front leaves out comments and docstrings."""
    twin_of: Path | None = None
    """A finished sparse run: train a dense model until its validation loss is the same."""
    tokenizer: Path | None = None
    """An existing tokenizer.json; by default one is trained on the corpus."""
    config: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Train, and say where the model is."""
        from lacewing.data.corpus import Corpus
        from lacewing.data.tokenizer import Tokenizer
        from lacewing.training.loop import train
        from lacewing.training.twin import train_twin

        if self.twin_of is not None:
            if self.tokenizer is not None:
                raise ConfigError(
                    "--tokenizer does not go with --twin-of: a twin has its run's own"
                )
            done = train_twin(self.twin_of, self.output, _changed(self.config))
        else:
            tokenizer = Tokenizer.load(self.tokenizer) if self.tokenizer else None
            done = train(self.config, Corpus.parse(self.corpus), self.output, tokenizer=tokenizer)
        return dataclasses.asdict(done) | {"folder": str(done.folder)}

    @staticmethod
    def show(result: dict[str, Any]) -> str:
        """The result for people."""
        return (
            f"{result['folder']}: validation loss {result['validation_loss']:.3f} nats/token after "
            f"{result['steps']} steps"
        )


def _changed(config: TrainConfig) -> dict[str, Any]:
    """The settings that differ from the defaults."""
    default = dataclasses.asdict(TrainConfig())
    return {
        key: value for key, value in dataclasses.asdict(config).items() if value != default[key]
    }

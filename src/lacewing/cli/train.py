"""`lacewing train`: a weight-sparse model, or its dense twin."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from lacewing.cli.flags import Json, given, wanting
from lacewing.errors import ConfigError
from lacewing.training.config import TrainConfig
from lacewing.training.presets import PRESETS


@dataclass(frozen=True)
class Train:
    """Train a weight-sparse model, or with --twin-of its dense twin, into a run folder."""

    output: Path
    """Run folder; the same command goes on where an interrupted one stopped."""
    corpus: str = "standard_library"
    """standard_library, installed_packages, a folder, a glob, hub:NAME, or several joined by +;
    code: in front leaves out comments and docstrings."""
    preset: Literal["tiny", "small"] | None = None
    """Settings to begin with: tiny and small are those of the builtin models of these names,
    minutes on a laptop. Flags change single settings of it."""
    twin_of: Path | None = None
    """A finished sparse run: train a dense model until its validation loss is the same. Settings
    and text are the run's where no flag says otherwise."""
    tokenizer: Path | None = None
    """An existing tokenizer.json; by default one is trained on the corpus."""
    config: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    @classmethod
    def begin(cls, words: Sequence[str]) -> "Train | None":
        """What the flags change: the twin's own settings, or a preset's.

        Raises:
            ConfigError: both are asked for.
            ArtifactError: the run to be twin of is missing or unfinished.
        """
        run, preset = given(words, "--twin-of"), given(words, "--preset")
        if run is not None and preset is not None:
            raise ConfigError("--preset does not go with --twin-of: a twin has its run's settings")
        if run is not None:
            from lacewing.training.twin import corpus_of, twin_config

            place = Path(run)
            made = cls(Path(), corpus=corpus_of(place), config=twin_config(place))
        elif preset in PRESETS:
            made = cls(Path(), config=PRESETS[preset])
        else:
            return None
        return wanting(made, "output")

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
            settings = {
                f.name: getattr(self.config, f.name) for f in dataclasses.fields(TrainConfig)
            }
            done = train_twin(self.twin_of, self.output, settings, corpus=self.corpus)
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

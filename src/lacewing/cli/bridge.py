"""`lacewing bridge`: a weight-sparse model coupled to a dense one."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from lacewing.bridges.config import BridgeConfig
from lacewing.cli.flags import Json, Model, given, wanting
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError
from lacewing.training.config import TrainConfig

if TYPE_CHECKING:
    from rich.console import RenderableType

HELD_OUT = 16_384
"""Held-out tokens of the figures where no flag says otherwise."""


@dataclass(frozen=True)
class Bridge:
    """Couple a frozen dense model to a weight-sparse one: train bridges between their layers.

    The sparse model is trained beside them, from scratch or with --start from a finished run; with
    --sparse it is held as it is. Settings are those of train; with --start they begin as that
    run's.
    """

    dense: Model
    """The dense model, which is only read: a run folder, builtin:dense, or another model that ships
    (lacewing models)."""
    output: Path
    """Folder of the bridges; must not exist. OUTPUT.unfinished is where the same command goes on
    after an interruption."""
    sparse: Model | None = None
    """A sparse model of the same tokenizer that is held as it is, so that its circuits stay true;
    without it one is trained."""
    adopt: Path | None = None
    """Folder with sparse_pretrain's bridges.bin between the two models: measured and saved instead
    of trained; needs --sparse."""
    corpus: str | None = None
    """Text to train on; by default the dense model's corpus."""
    bridge: tyro.conf.OmitArgPrefixes[BridgeConfig] = field(default_factory=BridgeConfig)
    config: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    @classmethod
    def begin(cls, words: Sequence[str]) -> "Bridge | None":
        """What the flags change: the settings of the start, or the depth of the dense model.

        Raises:
            ArtifactError: a model is missing or unfinished.
        """
        start, dense = given(words, "--start"), given(words, "--dense")
        if start is not None:
            config = _as_trained(start)
        elif dense is not None:
            config = _as_deep(given(words, "--sparse") or dense)
        else:
            return None
        made = cls("", Path(), config=dataclasses.replace(config, validation_tokens=HELD_OUT))
        return wanting(wanting(made, "output"), "dense")

    def run(self) -> dict[str, Any]:
        """Train, or adopt, and measure."""
        from lacewing.bridges.pretrain import adopt
        from lacewing.bridges.train import train
        from lacewing.model.store import load

        dense = load(self.dense)
        sparse = None if self.sparse is None else load(self.sparse)
        if self.adopt is None:
            facts = train(dense, self.output, self.config, self.bridge, self.corpus, sparse=sparse)
        elif sparse is None:
            raise ConfigError("--adopt needs the sparse model of the bridges: give --sparse")
        else:
            facts = adopt(self.adopt, dense, sparse, self.output, self.config, self.corpus)
        return dataclasses.asdict(facts) | {"output": str(self.output)}

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """A row for each bridge, the losses, and what to do next."""
        found = result["figures"]
        rows = []
        for one in found["sites"]:
            to_sparse, to_dense = one["to_sparse"], one["to_dense"]
            rows.append(
                [
                    one["site"],
                    f"{_shown(to_sparse['explained'])} of {one['ceiling']['value']:.3f}",
                    _shown(to_dense["explained"]),
                    *(_shown(way["above"]) for way in (to_sparse, to_dense)),
                    *(
                        f"{way['divergence']['value']:.3f} / {way['nothing']['value']:.3f}"
                        for way in (to_sparse, to_dense)
                    ),
                ]
            )
        columns = ["before", ">explained, to sparse", ">to dense"]
        columns += [">path above dense, to sparse", ">to dense", ">KL / of nothing, to sparse"]
        columns += [">to dense"]
        means = found["means"]
        model = f"{result['output']}/sparse" if result["learned"] else result["sparse"]["source"]
        learned = f"{result['tokens']:,} tokens, {result['seconds']:.0f} s; " * bool(
            result["tokens"]
        )
        return under(
            Table(columns, rows),
            f"mean over bridges: explained {means['to_sparse.explained']:.3f} to sparse, "
            f"{means['to_dense.explained']:.3f} to dense; paths {means['to_sparse.above']:+.3f} "
            f"and {means['to_dense.above']:+.3f} nats above the dense model",
            f"nats per token: dense {found['dense']['value']:.3f}, sparse "
            f"{found['sparse']['value']:.3f}, which is {_shown(found['above'])} above",
            "explained: of 1, beside what AbsTopK alone leaves; KL in nats, beside that of a "
            "stream at its mean",
            f"{learned}held out: {found['tokens']:,} tokens in {found['windows']} windows, "
            f"seed {found['seed']}, intervals of 95 %",
            f"circuits: lacewing prune --model {model} --task TASK --output CIRCUIT",
        )


def _as_trained(start: str) -> TrainConfig:
    """The settings of a finished run, to train it on."""
    from lacewing.model.shipped import folder_of
    from lacewing.training.run import training_of

    usual = TrainConfig()
    names = ["snapshots", "keep", "trackers", "start_step", "accumulate", "tokens"]
    names.append("evaluate_every")
    plain = {name: getattr(usual, name) for name in names}
    return dataclasses.replace(training_of(folder_of(start)), start=start, **plain)


def _as_deep(model: str) -> TrainConfig:
    """The usual settings, with a model's depth and its longest text."""
    from lacewing import artifacts
    from lacewing.model.registry import loader_of
    from lacewing.model.saved import SavedConfig
    from lacewing.model.shipped import BUILTIN, folder_of

    if loader_of(model):
        return TrainConfig()
    links = model.startswith(BUILTIN)
    whole = artifacts.open_folder(folder_of(model), "run", links=links)
    shape = whole.read("config.json", SavedConfig).model
    return TrainConfig(n_layer=shape.n_layer, context=shape.context)


def _shown(figure: dict[str, Any]) -> str:
    """A number with its interval."""
    low, high = figure["interval"]
    return f"{figure['value']:.3f} [{low:.3f}, {high:.3f}]"

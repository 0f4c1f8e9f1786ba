"""Train bridges, and beside them the sparse model, in which they then fit.

    for each step:  the losses of every path (`losses`) -> `finish_step` of model and bridges
    now and then:   the figures on a little held-out text, a checkpoint
    at the end:     the sparse model as a run, the figures with their intervals, the folder

The sparse model begins from scratch, or with the weights of a finished run, or is held as it is so
that circuits of it stay true. Optimizer, density, checkpoints and metrics are those of `training`.
Interrupted anywhere, the same call goes on where OUTPUT.unfinished stands, and ends with the same
bytes on one CPU process.
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lacewing import artifacts
from lacewing.bridges import folder as saved
from lacewing.bridges.config import BridgeConfig
from lacewing.bridges.figures import Figures, measured
from lacewing.bridges.fit import fit
from lacewing.bridges.losses import Losses, backward
from lacewing.bridges.maps import Coupled, Sizes, drawn, kept_of
from lacewing.bridges.norms import norms_of
from lacewing.bridges.streams import check_layers, check_pair, own_network
from lacewing.data.batches import Batches, sequences
from lacewing.data.corpus import Corpus
from lacewing.data.shards import Shards, prepare
from lacewing.errors import ConfigError
from lacewing.model.layers import find_nonzeros, sparse_products
from lacewing.model.store import Model, load
from lacewing.model.transformer import Transformer
from lacewing.progress import progress, say
from lacewing.training.checkpoint import FOLDER, resume, save_checkpoint
from lacewing.training.config import TrainConfig
from lacewing.training.density import check_density
from lacewing.training.loop import begin_with, mixed_precision, write_run
from lacewing.training.optimizer import adam, finish_step, sampled_tokens
from lacewing.training.run import FREE, append_metrics, open_run, rewind_metrics

PLACE, ASKED = "whole", "asked.json"
LOOKED_AT = 4096
"""Held-out tokens that the figures on the way are measured on, at most."""
NORM_TOKENS = 16_384
"""Training tokens that the sizes of the residual streams are taken over, at most."""
ALONE = ("snapshots", "keep", "trackers", "start_step")
"""Settings of a training that bridges do not have."""


def train(
    dense: Model,
    output: str | Path,
    config: TrainConfig,
    bridge: BridgeConfig | None = None,
    corpus: str | None = None,
    *,
    sparse: Model | None = None,
    quiet: bool = False,
) -> saved.Facts:
    """Train bridges into a folder; the same call goes on after an interruption.

    Args:
        dense: The dense model, whose weights are only read.
        output: The folder; must not exist.
        config: The training of the sparse model, `start` where it begins with a finished run; with
            `sparse` its text, batch and steps alone.
        bridge: The bridges and their losses.
        corpus: As `Corpus.parse` reads it; by default the dense model's.
        sparse: A sparse model that is held as it is.
        quiet: Report no progress.

    Returns:
        What the folder says.

    Raises:
        ConfigError: settings that do not go together, or OUTPUT.unfinished is of others.
        MismatchError: models of other tokenizers or depths.
        ArtifactError: the folder exists.

    Example:
        >>> dense = load("builtin:dense")  # doctest: +SKIP
        >>> sparse = load("builtin:sparse")  # doctest: +SKIP
        >>> train(dense, "runs/bridge", TrainConfig(), sparse=sparse)  # doctest: +SKIP
    """
    bridge, output = bridge or BridgeConfig(), Path(output)
    beginning = sparse if config.start is None else load(config.start)
    _check(dense, beginning, config, held=sparse is not None)
    source = Corpus.parse(corpus or dense.corpus)
    state = artifacts.unfinished(output)
    if output.exists():
        if not (state / PLACE).exists():  # what was in it is the output now
            shutil.rmtree(state, ignore_errors=True)
        artifacts.check_free(output)
    network = _network(dense, beginning, config, learns=sparse is None)
    busy = f"another process is training in {state}: wait for it to end"
    with artifacts.locked(state, busy):
        _same(state, dense, sparse, config, bridge, source)
        shards = prepare(source, state / "tokens", tokenizer=dense.tokenizer)
        if sparse is None:
            place = state / PLACE / saved.SPARSE
            open_run(place, config, network.config, source, dense.tokenizer)
        with _on_device(own_network(dense, "dense"), network) as device:
            trainer = _Trainer(dense, network, sparse, shards, state, config, bridge, device, quiet)
            trainer.run()
            trainer.finish(output, source)
    shutil.rmtree(state, ignore_errors=True)
    return saved.facts_of(output)


class _Trainer:
    def __init__(
        self,
        dense: Model,
        network: Transformer,
        held: Model | None,
        shards: Shards,
        state: Path,
        config: TrainConfig,
        bridge: BridgeConfig,
        device: torch.device,
        quiet: bool,
    ) -> None:
        self.model, self.held, self.network = dense, held, network
        self.dense, self.learns = own_network(dense, "dense"), held is None
        self.state, self.config, self.bridge, self.quiet = state, config, bridge, quiet
        self.device, self.place = device, state / PLACE
        widths = self.dense.config.d_model, network.config.d_model
        kept = kept_of(bridge.encoder_kept, widths[1])
        self.bridges = drawn(Sizes(network.config.n_layer, *widths, kept), config.seed).to(device)
        self.coupled = Coupled(network if self.learns else None, self.bridges)
        self.optimizer = adam(self.coupled, config)
        self.of_bridges = dataclasses.replace(
            config,
            start=None,
            density=1.0,
            learning_rate=bridge.bridge_learning_rate,
            weight_decay=0.0,
        )
        self.shards = shards
        self.validation = sequences(shards.validation, config.context, config.validation_tokens)
        self.step, self.spent = resume(state, self.coupled, self.optimizer, config.steps)
        if not self.step and bridge.fit_tokens:
            windows = sequences(shards.train, config.context, bridge.fit_tokens)
            fit(self.dense, network, self.bridges, windows[:, :-1])
        self.begun = self.written = time.monotonic()
        self.batches = Batches(
            shards.train, config.context, config.batch, config.seed, position=self.step
        )
        half = mixed_precision(config.precision, device.type) == "bf16"
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=half)

    @property
    def seconds(self) -> float:
        """Spent in all."""
        return self.spent + time.monotonic() - self.begun

    def run(self) -> None:
        """All steps that are left."""
        config = self.config
        self.place.mkdir(parents=True, exist_ok=True)
        rewind_metrics(self.place, self.step)
        say(f"going on at step {self.step} of {config.steps}", bool(self.step) and not self.quiet)
        total = config.steps * config.step_tokens
        with ExitStack() as stack:
            bar = stack.enter_context(progress("bridge", total, "tokens", not self.quiet))
            if self.learns:
                find_nonzeros(self.network, sampled_tokens(config, self.step))
            else:
                stack.enter_context(sparse_products(self.network))
            while self.step < config.steps:
                losses = self._one_step()
                self.step += 1
                bar.update(
                    self.step * config.step_tokens,
                    f"loss {losses.language:.3f}, paths {losses.paths:.3f}",
                )
                if self.step % config.evaluate_every == 0 or self.step == config.steps:
                    self._look(losses)
                if time.monotonic() - self.written >= config.checkpoint_seconds:
                    save_checkpoint(
                        self.state / FOLDER, self.coupled, self.optimizer, self.step, self.seconds
                    )
                    self.written = time.monotonic()

    def _one_step(self) -> Losses:
        windows = self.batches.next().to(self.device)
        for piece in windows.chunk(self.config.accumulate):
            with self.autocast, torch.enable_grad():
                losses = backward(
                    self.dense, self.network, self.bridges, piece, self.bridge, learns=self.learns
                )
        if self.learns:
            finish_step(self.network, self.optimizer, self.config, self.step)
        finish_step(self.bridges, self.optimizer, self.of_bridges, self.step)
        return losses

    def _look(self, losses: Losses) -> None:
        """A line of metrics."""
        few = sequences(self.shards.validation, self.config.context, LOOKED_AT)
        found = self._measured(few, quiet=True)
        row: dict[str, object] = {
            "step": self.step,
            "tokens": self.step * self.config.step_tokens,
            "loss": losses.language,
            "paths": losses.paths,
            "validation_loss": found.sparse.value,
            "above": found.above.value,
            "seconds": self.seconds,
        }
        append_metrics(self.place, row | found.means())

    def _measured(self, windows: Tensor, *, quiet: bool) -> Figures:
        seed = self.config.seed
        return measured(self.dense, self.network, self.bridges, windows, seed, quiet=quiet)

    def finish(self, output: Path, source: Corpus) -> None:
        """Measure, and make the folder of what is there."""
        seconds, steps = self.seconds, self.config.steps
        windows = sequences(self.shards.train, self.config.context, NORM_TOKENS)[:, :-1]
        sizes = norms_of(self.dense, self.network, windows)
        figures = self._measured(self.validation, quiet=self.quiet)
        if self.held is None:
            run = self.place / saved.SPARSE
            shutil.copyfile(self.place / saved.METRICS, run / saved.METRICS)
            validation = self.validation
            write_run(run, self.network, self.shards.tokenizer, validation, steps, seconds)
            made = load(run)
            sparse = saved.Of(made.id, saved.SPARSE, self.bridges.sizes.d_sparse)
        else:
            sparse = saved.of(output, self.held)
        facts = saved.Facts(
            dense=saved.of(output, self.model),
            sparse=sparse,
            n_layer=self.bridges.sizes.n_layer,
            kept=self.bridges.sizes.kept,
            tokenizer_id=self.model.tokenizer.id,
            corpus=source.spec,
            learned=self.learns,
            started=self.config.start,
            config=self.bridge.as_json(),
            figures=figures.as_json(),
            tokens=steps * self.config.step_tokens,
            steps=steps,
            seconds=round(seconds, 2),
        )
        saved.write(self.place, facts, self.bridges, sizes)
        artifacts.place(self.place, output, replace=False)


def _network(
    dense: Model, beginning: Model | None, config: TrainConfig, *, learns: bool
) -> Transformer:
    """The sparse model that the training begins with."""
    if not learns:
        assert beginning is not None
        return own_network(beginning, "sparse")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Transformer(config.model(dense.network.config.vocab_size))
    check_density(network, config)
    if beginning is not None:
        begin_with(network, beginning, dense.tokenizer)
    return network


def _check(dense: Model, beginning: Model | None, config: TrainConfig, *, held: bool) -> None:
    """Refuse what cannot be trained together, before anything is written."""
    for name in ALONE:
        if getattr(config, name) != getattr(TrainConfig, name):
            raise ConfigError(f"--{name.replace('_', '-')} is train's alone: leave it out")
    if held and config.start is not None:
        raise ConfigError(
            f"--sparse holds a model as it is and --start {config.start} trains one: give one of "
            "the two"
        )
    if config.batch % config.accumulate:
        raise ConfigError(
            f"batch {config.batch} does not divide into {config.accumulate} pieces: make it a "
            "multiple"
        )
    shape = own_network(dense, "dense").config
    known = [(dense.source, shape.context)]
    if beginning is None:
        check_layers(shape.n_layer, config.n_layer, dense.source, "the new model")
    else:
        check_pair(dense, beginning)
        known.append((beginning.source, beginning.network.config.context))
    for source, most in known:
        if config.context > most:
            raise ConfigError(
                f"context {config.context} is longer than the {most} tokens that {source} knows: "
                f"take --context {most}"
            )


def _same(
    state: Path,
    dense: Model,
    sparse: Model | None,
    config: TrainConfig,
    bridge: BridgeConfig,
    source: Corpus,
) -> None:
    """Refuse an unfinished folder of other settings; remember these where there is none."""
    asked: dict[str, Any] = {
        "dense": dense.id,
        "sparse": None if sparse is None else sparse.id,
        "corpus": source.fingerprint(),
        **bridge.as_json(),
        **dataclasses.asdict(config),
    }
    asked, path = json.loads(json.dumps(asked)), state / ASKED
    artifacts.recover(state / FOLDER)
    artifacts.recover(state / "tokens")
    if path.exists():
        artifacts.check_same(
            state, "an unfinished training", artifacts.read_summed(path), asked, FREE
        )
        return
    rest = {inner.name for inner in state.iterdir()} - {artifacts.LOCK}
    if any(not name.startswith(f".{ASKED}.") for name in rest):
        raise ConfigError(
            f"{state} holds something else than an unfinished training of bridges: choose another "
            "--output; nothing was written"
        )
    artifacts.write_summed(path, asked)


@contextmanager
def _on_device(*networks: nn.Module) -> Iterator[torch.device]:
    """The models on a GPU, where there is one, for the length of the block."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with ExitStack() as stack:
        for network in networks:
            if device.type != "cpu":
                network.to(device)
                stack.callback(network.to, "cpu")
        yield device

"""Train one model: batches in, a run folder out; interrupted anywhere, it goes on where it was.

    for each step:  density and learning rate -> forward, backward (accumulated) -> `finish_step`
    now and then:   validation loss, metrics line, checkpoint
    at the end:     site means over validation text, weights, manifest

Hugging Face Accelerate carries it over processes and devices. `batch` counts sequences per step
over all processes, so the same configuration gives the same model (up to rounding) on any number
of them.
"""

import dataclasses
import functools
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lacewing import artifacts
from lacewing.data.batches import Batches, sequences
from lacewing.data.corpus import Corpus
from lacewing.data.shards import Shards, prepare
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ConfigError, MismatchError
from lacewing.kernels.cross_entropy import cross_entropy
from lacewing.kernels.precision import half_pays
from lacewing.model.layers import find_nonzeros
from lacewing.model.store import MEANS, WHOLE, Model, load, model_id, parameters
from lacewing.model.transformer import Transformer
from lacewing.progress import about, progress, say
from lacewing.training.checkpoint import FOLDER, KEPT, resume, save_checkpoint
from lacewing.training.config import TrainConfig
from lacewing.training.density import block_density, check_density, densities, pfrac_at
from lacewing.training.disturbance import Disturbance
from lacewing.training.estimate import seconds_left
from lacewing.training.evaluate import site_means, validation_loss
from lacewing.training.optimizer import adam, finish_step, learning_rate_at, sampled_tokens
from lacewing.training.release import snapshot
from lacewing.training.run import (
    FILES,
    Run,
    append_metrics,
    check_run,
    finished,
    open_run,
    read_run,
    rewind_metrics,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

Stop = Callable[[int, float], bool]
"""Given a step and its validation loss: whether training ends here."""


def train(
    config: TrainConfig,
    corpus: Corpus,
    output: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    stop: Stop | None = None,
    check_every: Callable[[int, float], int] | None = None,
    quiet: bool = False,
) -> Run:
    """Train a model into the folder `output`; the same call resumes or returns a finished run.

    Args:
        config: Everything the run depends on.
        corpus: Text to train on.
        output: The run folder.
        tokenizer: An existing tokenizer; by default one is trained on the corpus.
        stop: Ends training early, asked after each validation loss.
        check_every: Steps until the next validation loss, given step and loss; default fixed.
        quiet: Report no progress.

    Returns:
        The finished run.

    Raises:
        ConfigError: the configuration cannot be trained, or `output` holds another run.
        DataError: the corpus is empty or unreadable.
        MismatchError: the run to start from is of another shape or tokenizer.

    Example:
        >>> config = TrainConfig(expansion=0.25, d_head=16, n_layer=1, vocab_size=300, context=32,
        ...     batch=8, tokens=2560, density=0.1, floor=1, validation_tokens=1024)
        >>> run = train(config, Corpus.files("text"), "runs/mine", quiet=True)
        >>> run.steps
        10
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    folder = Path(output)
    beginning = None if config.start is None else load(config.start)
    if tokenizer is None and beginning is not None:
        tokenizer = beginning.tokenizer
    check_run(folder, config, corpus, tokenizer)
    if finished(folder):
        return read_run(folder)
    cpu = not torch.accelerator.is_available()
    # What an earlier training in this process left there refuses another precision.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        # Left to itself, Accelerate joins processes without a GPU to no group: each trains alone.
        cpu=cpu,
        mixed_precision=mixed_precision(config.precision, "cpu" if cpu else "cuda"),
        gradient_accumulation_steps=config.accumulate,
        log_with=list(config.trackers) or None,
        project_dir=folder,
    )
    _check_batch(config, accelerator.num_processes)
    busy = f"another training is running in {folder}: wait for it, or choose another --output"
    with artifacts.locked(folder, busy) if accelerator.is_main_process else nullcontext():
        trainer = _begin(config, corpus, folder, tokenizer, beginning, accelerator, quiet)
        if trainer.main and not quiet:
            say(f"training: {config.summary()}; {trainer.estimate(stop is not None)}")
        run = trainer.run(stop, check_every)
        with suppress(OSError):  # of Windows, which keeps a file that is open
            (folder / artifacts.LOCK).unlink(missing_ok=True)
        return run


def _begin(
    config: TrainConfig,
    corpus: Corpus,
    folder: Path,
    tokenizer: Tokenizer | None,
    beginning: Model | None,
    accelerator: "Accelerator",
    quiet: bool,
) -> "_Trainer":
    """Prepare the text and the network, and what a run's folder has from the start."""
    from accelerate.utils import set_seed

    with accelerator.main_process_first():
        if accelerator.is_main_process:
            artifacts.recover(folder / "tokens")
            artifacts.recover(folder / FOLDER)
        begun = (folder / "config.json").exists()
        shards = prepare(corpus, folder / "tokens", config.vocab_size, tokenizer, replace=not begun)
    model = config.model(shards.tokenizer.vocab_size)
    set_seed(config.seed)
    network = Transformer(model)
    check_density(network, config)
    if beginning is not None:
        begin_with(network, beginning, shards.tokenizer)
    if accelerator.is_main_process:
        open_run(folder, config, model, corpus, shards.tokenizer)
    return _Trainer(config, folder, shards, network, accelerator, quiet)


class _Trainer:
    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        shards: Shards,
        network: Transformer,
        accelerator: "Accelerator",
        quiet: bool,
    ) -> None:
        self.config, self.folder, self.network = config, folder, network
        self.accelerator, self.quiet = accelerator, quiet
        self.main = accelerator.is_main_process
        self.wrapped, self.optimizer = accelerator.prepare(network, adam(network, config))
        more: dict[str, torch.Tensor] = {}
        optimizer = self.optimizer.optimizer
        self.step, self.spent = resume(folder, network, optimizer, config.steps, more)
        self.step = self.step or config.start_step
        self.disturbance = Disturbance(network, config)
        if config.disturbed:
            self.disturbance.restore(more, folder)
        find_nonzeros(network, sampled_tokens(config, self.step))
        self.begun = time.monotonic()
        self.batches = Batches(
            shards.train,
            config.context,
            config.batch // accelerator.num_processes,
            config.seed,
            position=self.step,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        self.tokens, self.tokenizer = shards.train, shards.tokenizer
        self.validation = sequences(shards.validation, config.context, config.validation_tokens)

    def run(self, stop: Stop | None, check_every: Callable[[int, float], int] | None) -> Run:
        self._start()
        loss, saved = float("nan"), time.monotonic()
        every = self.config.evaluate_every
        evaluate_at = (self.step // every + 1) * every  # the same steps, resumed or not
        total = self.config.steps * self.config.step_tokens
        with progress("train", total, "tokens", self.main and not self.quiet) as bar:
            while self.step < self.config.steps:
                train_loss = self._one_step()
                self.step += 1
                note = functools.partial("loss {:.3f}".format, train_loss)
                bar.update(self.step * self.config.step_tokens, note)
                due = self.step >= evaluate_at or self.step == self.config.steps
                if due:
                    loss = self._evaluate(train_loss)
                    gap = check_every(self.step, loss) if check_every else 0
                    evaluate_at = self.step + (gap or every)
                    if stop is not None and stop(self.step, loss):
                        break
                self._keep()
                if time.monotonic() - saved > self.config.checkpoint_seconds:
                    self._checkpoint()
                    saved = time.monotonic()
        return self._finish(loss)

    def estimate(self, may_stop: bool) -> str:
        """What the training will take, in words; measured on this machine where one process trains.

        Args:
            may_stop: Whether it may end before its last step.
        """
        if self.accelerator.num_processes > 1:
            return "not timed on several processes"
        autocast = self.accelerator.autocast()
        try:
            seconds = seconds_left(
                self.network, self.config, self.tokens, self.validation, self.step, autocast
            )
        except torch.OutOfMemoryError:
            seconds = None
        if seconds is None:
            return "time not measured"
        return f"{'at most ' if may_stop else ''}{about(seconds)} on this machine"

    def _start(self) -> None:
        if self.main:
            rewind_metrics(self.folder, self.step)
        if self.config.trackers:
            settings = dataclasses.asdict(self.config).items()
            # TensorBoard knows no tuples and no None.
            plain = {k: v if isinstance(v, int | float | str) else str(v) for k, v in settings}
            self.accelerator.init_trackers("lacewing", plain)
        if self.step:
            say(
                f"resuming at step {self.step} of {self.config.steps}", self.main and not self.quiet
            )

    def _one_step(self) -> torch.Tensor:
        losses = []
        rows = self.batches.next().to(self.accelerator.device)
        for piece, batch in enumerate(rows.chunk(self.config.accumulate)):
            with self.accelerator.accumulate(self.wrapped):
                with self.disturbance.during(self.step, piece):
                    logits = self.wrapped(batch[:, :-1])
                loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
                self.accelerator.backward(loss + self.disturbance.price())
            losses.append(loss.detach())
        finish_step(self.network, self.optimizer.optimizer, self.config, self.step)
        return torch.stack(losses).mean()

    def _evaluate(self, train_loss: torch.Tensor) -> float:
        train_loss = self.accelerator.reduce(train_loss, reduction="mean")
        with self.accelerator.autocast():
            loss = validation_loss(self.network, self.validation)
        last = self.step - 1
        row: dict[str, Any] = {
            "step": self.step,
            "tokens": self.step * self.config.step_tokens,
            "loss": float(train_loss),
            "validation_loss": loss,
            "lr": learning_rate_at(self.config, last),
            "density": block_density(self.config, pfrac_at(self.config, last)),
            "seconds": self._seconds(),
        }
        if self.main:
            append_metrics(self.folder, row)
        if self.config.trackers:
            self.accelerator.log(row, step=self.step)
        return loss

    def _seconds(self) -> float:
        return self.spent + time.monotonic() - self.begun

    def _checkpoint(self, name: str = FOLDER) -> None:
        if self.main:
            optimizer = self.optimizer.optimizer
            where = self.folder / name
            more = self.disturbance.state()
            save_checkpoint(where, self.network, optimizer, self.step, self._seconds(), more)

    def _keep(self) -> None:
        """Leave a compact model or a whole checkpoint, where this step is one to remember."""
        if self.step in self.config.kept_steps:
            self._checkpoint(f"{KEPT}/{self.step}")
        if self.step in self.config.snapshot_steps and self.main:
            snapshot(self.folder, self.network, self.tokenizer, self.validation, self.step)

    def _finish(self, loss: float) -> Run:
        if self.config.trackers:
            self.accelerator.end_training()
        if self.main:
            spent = self._seconds()
            write_run(self.folder, self.network, self.tokenizer, self.validation, self.step, spent)
        self.accelerator.wait_for_everyone()
        return read_run(self.folder)


def write_run(
    folder: Path,
    network: Transformer,
    tokenizer: Tokenizer,
    validation: torch.Tensor,
    steps: int,
    seconds: float,
) -> None:
    """Write what a finished run is made of, the manifest last, and drop its checkpoint."""
    network.eval()
    means = site_means(network, validation)
    artifacts.write_tensors(folder / MEANS, means)
    artifacts.write_tensors(folder / WHOLE, parameters(network))
    summary = {
        "id": model_id(network, means, tokenizer),
        "validation_loss": validation_loss(network, validation),
        "validation_tokens": validation[:, 1:].numel(),
        "steps": steps,
        "seconds": seconds,
        "nonzero": sum(int(torch.count_nonzero(p)) for p in network.parameters()),
        "densities": densities(network),
    }
    artifacts.write_json(folder / "summary.json", summary)
    artifacts.seal(folder, "run", FILES)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def mixed_precision(precision: str, device: str) -> str:
    """What Accelerate calls the arithmetic that a configuration asks for."""
    half = precision == "bf16" or (precision == "auto" and half_pays(device))
    return "bf16" if half else "no"


def begin_with(network: Transformer, beginning: Model, tokenizer: Tokenizer) -> None:
    """Copy the weights of a finished run.

    Raises:
        MismatchError: it is of another shape or tokenizer.
    """
    here, there = (dataclasses.asdict(n.config) for n in (network, beginning.ours))
    differing = [key for key in here if here[key] != there[key]]
    if differing:
        key = differing[0]
        raise MismatchError(
            f"{beginning.source} has {key} {there[key]!r}, this run {here[key]!r}: a run starts "
            "from a model of its own shape only; change the setting or the start"
        )
    if tokenizer.to_bytes() != beginning.tokenizer.to_bytes():
        raise MismatchError(
            f"{beginning.source} has another tokenizer than this run: leave out --tokenizer"
        )
    network.load_state_dict(parameters(beginning.ours))


def _check_batch(config: TrainConfig, processes: int) -> None:
    if config.batch % (config.accumulate * processes):
        raise ConfigError(
            f"batch {config.batch} does not divide into {config.accumulate} accumulated pieces on "
            f"{processes} processes: make it a multiple of {config.accumulate * processes}"
        )

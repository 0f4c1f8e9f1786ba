"""Train autoencoders at some sites of a model, all in one pass over the text.

    for each step:  windows of text -> the model, up to the last site -> a step at every site
    now and then:   a checkpoint
    at the end:     the mean of every latent, the figures on held-out text, the folder

Interrupted anywhere, the same call goes on where OUTPUT.unfinished stands, and ends with the same
bytes on one CPU process.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lacewing import artifacts
from lacewing.data.batches import Batches, sequences
from lacewing.data.corpus import Corpus
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.model.layers import sparse_products
from lacewing.model.registry import SPLICED
from lacewing.model.sites import site_widths
from lacewing.model.store import HEADER, Model
from lacewing.progress import progress, say
from lacewing.sae import folder as saved
from lacewing.sae import formats
from lacewing.sae.activations import activations
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.config import SaeConfig
from lacewing.sae.figures import measured
from lacewing.sae.learner import Learner
from lacewing.sae.text import Text, text_of

STATE, TENSORS, KIND = "state.json", "state.safetensors", "autoencoders on their way"
MEAN_TOKENS = 16_384
"""Training tokens that the means of latents are taken over, at most."""
TOGETHER = 8
"""Windows run at once, where nothing is learned."""


@dataclass(frozen=True)
class _State:
    """state.json."""

    __pydantic_config__ = artifacts.EXACT

    step: int
    seconds: float
    of: dict[str, Any]


def train(
    model: Model,
    sites: Sequence[str],
    output: str | Path,
    config: SaeConfig | None = None,
    corpus: str | None = None,
    *,
    quiet: bool = False,
) -> saved.Facts:
    """Train autoencoders into a folder; the same call goes on after an interruption.

    Args:
        model: The model, whose weights are only read.
        sites: Site keys; of a transcoder the MLP's output, such as 3.mlp_out.
        output: The folder; must not exist.
        config: The training.
        corpus: As `Corpus.parse` reads it; by default the model's.
        quiet: Report no progress.

    Returns:
        What the folder says: where the autoencoders are, and their figures.

    Raises:
        DataError: there is no such site, or too little text.
        ConfigError: a site that cannot have a transcoder, or nodes that are latents already.
        ArtifactError: the folder exists, or OUTPUT.unfinished is of another training.

    Example:
        >>> train(load("builtin:sparse"), ["1.mlp_out"], "runs/sae")  # doctest: +SKIP
    """
    config, output = config or SaeConfig(), Path(output)
    reads = {site: _read_at(model, site, config.transcoder) for site in sites}
    if len(reads) != len(sites) or not sites:
        raise ConfigError("each site has one autoencoder: name it once")
    source = Corpus.parse(corpus or model.corpus)
    state = artifacts.unfinished(output)
    if not state.exists():
        artifacts.check_free(output)
    if output.exists():
        return _finished(model, reads, output, state, config, source)
    busy = f"another process is training in {state}: wait for it to end"
    with artifacts.locked(state, busy), _on_device(model) as device:
        tokens = artifacts.own(state, "tokens")
        text = text_of(model, source, tokens, config.tokens, config.held_out, config.seed)
        trainer = _Trainer(model, reads, text, state, config, source, device, quiet)
        saes, seconds = trainer.run(), trainer.seconds
        finish(model, saes, text, output, config, source, quiet=quiet, seconds=seconds)
    shutil.rmtree(state, ignore_errors=True)
    return saved.facts_of(output)


def adopt(
    model: Model,
    folders: Mapping[str, Path],
    output: str | Path,
    config: SaeConfig | None = None,
    corpus: str | None = None,
    *,
    quiet: bool = False,
) -> saved.Facts:
    """Measure autoencoders of SAELens, and save them as those of a model.

    Args:
        model: The model they are of.
        folders: By site key, a folder with SAELens' two files.
        output: The folder; must not exist.
        config: How much text, its seed, and whether they are transcoders; the rest says nothing.
        corpus: Text; by default the model's.
        quiet: Report no progress.

    Raises:
        ArtifactError: a folder is missing, damaged or of an architecture that is not read.
        MismatchError: one is for a site of another width.
    """
    config = config or SaeConfig()
    artifacts.check_free(Path(output))
    reads = {site: _read_at(model, site, config.transcoder) for site in folders}
    widths = site_widths(model.network.config)
    saes = [formats.read_folder(folders[s], s, reads[s], widths) for s in folders]
    return keep(model, saes, output, config, corpus, quiet=quiet)


def keep(
    model: Model,
    saes: Sequence[Autoencoder],
    output: str | Path,
    config: SaeConfig,
    corpus: str | None = None,
    *,
    quiet: bool = False,
) -> saved.Facts:
    """Measure autoencoders that others made, and save them as those of a model.

    Args:
        model: The model they are of.
        saes: They.
        output: The folder; must not exist.
        config: How much text, and its seed; the rest says nothing.
        corpus: Text; by default the model's.
        quiet: Report no progress.

    Raises:
        ArtifactError: there is something at `output`.
        DataError: too little text, or what one says is not finite.
    """
    output = Path(output)
    artifacts.check_free(output)
    source, state = Corpus.parse(corpus or model.corpus), output.with_name(f".{output.name}.text")
    try:
        text = text_of(model, source, state, MEAN_TOKENS, config.held_out, config.seed)
        finish(model, saes, text, output, config, source, quiet=quiet, trained=False)
    finally:
        shutil.rmtree(state, ignore_errors=True)
    return saved.facts_of(output)


def finish(
    model: Model,
    saes: Sequence[Autoencoder],
    text: Text,
    output: Path,
    config: SaeConfig,
    source: Corpus,
    *,
    quiet: bool = False,
    trained: bool = True,
    seconds: float = 0.0,
) -> None:
    """Measure autoencoders and write their folder."""
    windows = text.windows(config.held_out)
    figures = measured(model, saes, windows, config.seed, quiet=quiet)
    saved.save(
        output,
        model,
        saes,
        _means(model, saes, text),
        corpus=source.spec,
        config=config.as_json() if trained else None,
        figures=[one.as_json() for one in figures],
        tokens=_steps(config, text) * config.batch * text.size if trained else 0,
        seconds=round(seconds, 2),
    )


class _Trainer:
    def __init__(
        self,
        model: Model,
        reads: Mapping[str, str],
        text: Text,
        state: Path,
        config: SaeConfig,
        source: Corpus,
        device: torch.device,
        quiet: bool,
    ) -> None:
        self.model, self.text, self.state, self.config = model, text, state, config
        self.quiet = quiet
        widths = site_widths(model.network.config)
        self.learners = [
            Learner(site, read, widths, config, number).to(device)
            for number, (site, read) in enumerate(reads.items())
        ]
        self.keys = {*reads, *reads.values()}
        apart = ("checkpoint_seconds", "held_out")
        plain = {k: v for k, v in config.as_json().items() if k not in apart}
        of = {"model": model.id, "sites": dict(reads), "config": plain}
        self.of = of | {"corpus": source.fingerprint(), "device": device.type}
        self.steps = _steps(config, text)
        self.step, self.earlier = self._resumed()
        self.begun = self.written = time.monotonic()
        self.batches = Batches(text.train, text.size, config.batch, config.seed, self.step)

    @property
    def seconds(self) -> float:
        """Spent in all."""
        return self.earlier + time.monotonic() - self.begun

    def run(self) -> list[Autoencoder]:
        """All steps that are left."""
        tokens = self.config.batch * self.text.size
        with (
            progress("sae", self.steps * tokens, "tokens", not self.quiet) as bar,
            sparse_products(self.model.network),
        ):
            while self.step < self.steps:
                missed = self._one_step()
                self.step += 1
                told = ", ".join(f"{1 - share:.3f}" for share in missed)
                bar.update(self.step * tokens, f"explained {told}")
                if time.monotonic() - self.written >= self.config.checkpoint_seconds:
                    self._keep()
        return [learner.result() for learner in self.learners]

    def _one_step(self) -> list[float]:
        seen = activations(self.model, self.keys, self.batches.next()[:, :-1])
        done = self.step / self.steps
        with torch.enable_grad():
            return [one.step(seen[one.reads], seen[one.site], done) for one in self.learners]

    def _keep(self) -> None:
        artifacts.write_folder(
            artifacts.own(self.state, "checkpoint"),
            KIND,
            json={STATE: {"step": self.step, "seconds": self.seconds, "of": self.of}},
            tensors={
                TENSORS: {
                    f"{number}/{name}": tensor.detach().clone()
                    for number, learner in enumerate(self.learners)
                    for name, tensor in learner.tensors().items()
                }
            },
            replace=True,
        )
        self.written = time.monotonic()

    def _resumed(self) -> tuple[int, float]:
        """Steps that were finished before, and the seconds spent on them."""
        place = artifacts.own(self.state, "checkpoint")
        artifacts.recover(place)
        if not place.exists():
            return 0, 0.0
        whole = artifacts.open_folder(place, KIND)
        state = whole.read(STATE, _State)
        other = [name for name in self.of if state.of.get(name) != self.of[name]]
        if other:
            raise ArtifactError(
                f"{self.state} holds an unfinished training of another {', '.join(other)}: finish "
                "it with its own command, delete it, or choose another --output"
            )
        if not 0 <= state.step <= self.steps or state.seconds < 0:
            raise ArtifactError(f"{place / STATE} says step {state.step}: damaged")
        numbers = sum(t.numel() for one in self.learners for t in one.tensors().values())
        tensors = whole.tensors(TENSORS, 32 * numbers + HEADER)
        for number, learner in enumerate(self.learners):
            start = f"{number}/"
            own = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
            learner.restore(own, place / TENSORS)
        say(f"going on at step {state.step} of {self.steps}", not self.quiet)
        return state.step, state.seconds


def _finished(
    model: Model,
    reads: Mapping[str, str],
    output: Path,
    state: Path,
    config: SaeConfig,
    source: Corpus,
) -> saved.Facts:
    """What this very training saved, where it was killed right after that."""
    facts = saved.facts_of(output)
    made = facts.model_id, {one.site: one.reads for one in facts.sites}, facts.config, facts.corpus
    if made != (model.id, dict(reads), config.as_json(), source.spec):
        raise ArtifactError(
            f"{output} exists already, of another training, and so does {state}: choose another "
            "--output; nothing was overwritten"
        )
    shutil.rmtree(state)
    return facts


def _steps(config: SaeConfig, text: Text) -> int:
    return max(1, round(config.tokens / (config.batch * text.size)))


def _read_at(model: Model, site: str, transcoder: bool) -> str:
    """The site that an autoencoder of a site reads."""
    known = site_widths(model.network.config)
    if model.source.startswith(SPLICED):
        raise ConfigError(f"{model.source} has autoencoders already: name the model under them")
    if site not in known:
        raise DataError(
            f"no site {site!r:.80} in {model.source}; sites are LAYER.NAME, from "
            f"{next(iter(known))} to {list(known)[-1]}"
        )
    if not transcoder:
        return site
    if not site.endswith(".mlp_out"):
        raise ConfigError(f"a transcoder writes LAYER.mlp_out, not {site}")
    return site.replace("mlp_out", "mlp_in")


@torch.no_grad()
def _means(model: Model, saes: Sequence[Autoencoder], text: Text) -> dict[str, Tensor]:
    """The mean of every latent over training text."""
    windows = sequences(text.train, text.size, MEAN_TOKENS)[:, :-1]
    sums = {sae.site: torch.zeros(sae.latents, dtype=torch.float64) for sae in saes}
    with sparse_products(model.network):
        for piece in torch.split(windows, TOGETHER):
            seen = activations(model, {sae.reads for sae in saes}, piece)
            for sae in saes:
                sums[sae.site] += sae.encode(seen[sae.reads].cpu()).double().sum(0)
    return {site: (total / windows.numel()).float() for site, total in sums.items()}


@contextmanager
def _on_device(model: Model) -> Iterator[torch.device]:
    """The model on a GPU, where there is one, for the length of the block."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = model.network
    if device.type == "cpu" or not isinstance(network, nn.Module):
        yield torch.device("cpu")
        return
    network.to(device)
    try:
        yield device
    finally:
        network.to("cpu")

"""The folder of a run: what is written when, and what makes two commands the same run.

    config.json, tokenizer.json          at the start
    tokens/                              token shards (a cache; not part of the result)
    metrics.jsonl                        a line per logged step
    checkpoint/                          while training
    snapshots/STEP/                      compact models at logarithmic steps, where asked for
    kept/STEP/                           whole checkpoints at some steps, where asked for
    means.safetensors, model.safetensors, summary.json, manifest.json      at the end, in this order

The manifest is what makes a run finished.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.config import ModelConfig
from lacewing.model.saved import SavedConfig, Summary
from lacewing.training.config import TrainConfig

FILES = (
    "config.json",
    "tokenizer.json",
    "metrics.jsonl",
    "means.safetensors",
    "summary.json",
    "model.safetensors",
)
SNAPSHOTS = "snapshots"
FREE = ("evaluate_every", "checkpoint_seconds", "trackers", "accumulate", "snapshots", "keep")
"""Settings that do not change what is trained, so that a resumed run may change them."""


@dataclass(frozen=True)
class Run:
    """A finished run: load its model with `lacewing.load(run.folder)`."""

    folder: Path
    steps: int
    validation_loss: float
    seconds: float


def finished(folder: Path) -> bool:
    """Whether the folder holds a whole run."""
    return (folder / artifacts.MANIFEST).exists()


@dataclass(frozen=True)
class _Begun:
    """What config.json says of a run that may not be finished."""

    __pydantic_config__ = artifacts.LOOSE

    training: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    corpus: str | None = None
    corpus_id: str | None = None
    format: int = 1


@dataclass(frozen=True)
class _RunSummary:
    """What summary.json says of the training."""

    __pydantic_config__ = artifacts.LOOSE

    steps: int
    validation_loss: float
    seconds: float


def read_run(folder: Path) -> Run:
    """A finished run, from its folder.

    Raises:
        ArtifactError: it is not finished, or damaged.
    """
    whole = artifacts.open_folder(folder, "run")
    whole.bytes("config.json")  # that it is what the run was made with
    found = whole.read("summary.json", _RunSummary)
    return Run(folder, found.steps, found.validation_loss, found.seconds)


def read_summary(folder: Path) -> dict[str, Any]:
    """All that a finished run's summary.json says, its model's id and loss among it."""
    whole = artifacts.open_folder(folder, "run")
    whole.read("summary.json", Summary)
    found: dict[str, Any] = whole.json("summary.json")
    return found


def training_of(folder: Path) -> TrainConfig:
    """The training configuration of a finished run; defaults for what is newer than it.

    Raises:
        ArtifactError: the run is not finished or damaged, or of another version.
    """
    saved = artifacts.open_folder(folder, "run").read("config.json", SavedConfig)
    return artifacts.typed(saved.training, TrainConfig, folder / "config.json")


def _begun_with(path: Path) -> dict[str, Any]:
    artifacts.read(path, _Begun)
    found: dict[str, Any] = artifacts.read_json(path)
    return found


def check_run(
    folder: Path, config: TrainConfig, corpus: Corpus, tokenizer: Tokenizer | None
) -> None:
    """Refuse, before anything is written, a folder that holds something else than this run.

    Raises:
        ConfigError: naming what differs.
        ArtifactError: a file of it is a link that leads out of the folder.
    """
    for name in (*FILES, "tokens", "checkpoint", SNAPSHOTS, "kept"):
        artifacts.own(folder, name)
    path = folder / "config.json"
    if path.exists():
        _same(_begun_with(path), _plain(config, corpus), folder)
        if tokenizer is not None:
            _same_tokenizer(folder, tokenizer)
    elif folder.exists() and not (folder.is_dir() and all(map(_begun, folder.iterdir()))):
        raise ConfigError(
            f"{folder} exists and is no run of lacewing: choose another --output; nothing was "
            "written"
        )


def open_run(
    folder: Path, config: TrainConfig, model: ModelConfig, corpus: Corpus, tokenizer: Tokenizer
) -> None:
    """Start a run's folder, or go on with the one there, which `check_run` has accepted.

    Raises:
        ConfigError: the folder holds a run of another configuration, or something else.
    """
    check_run(folder, config, corpus, tokenizer)
    saved = {"format": artifacts.FORMAT, **_plain(config, corpus, model)}
    path = folder / "config.json"
    if path.exists():
        _same(_begun_with(path), saved, folder)
    else:
        artifacts.write_json(path, saved)
    _same_tokenizer(folder, tokenizer)  # one that was damaged would be sealed at the end
    if not (folder / "tokenizer.json").exists():
        tokenizer.save(folder / "tokenizer.json")


def _begun(path: Path) -> bool:
    """Whether a file may stand in a run's folder before config.json does."""
    known = path.name in ("tokens", artifacts.LOCK)
    return known or path.name.startswith((".tokens.", ".config.json."))


def _plain(
    config: TrainConfig, corpus: Corpus | None = None, model: ModelConfig | None = None
) -> dict[str, Any]:
    """What config.json says, as it comes back from JSON."""
    saved: dict[str, Any] = {}
    if corpus is not None:
        saved["corpus"] = corpus.spec
        if corpus.id is not None:
            saved["corpus_id"] = corpus.id
    if model is not None:
        saved["model"] = model.as_json()
    saved["training"] = dataclasses.asdict(config)
    plain: dict[str, Any] = json.loads(json.dumps(saved))
    return plain


def _same_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    path = folder / "tokenizer.json"
    if path.exists() and artifacts.read_bytes(path) != tokenizer.to_bytes():
        raise ConfigError(
            f"{folder} holds a run with another tokenizer: choose another --output; nothing was "
            "written"
        )


def _same(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    # Settings that are newer than the run had their defaults when it was made.
    old = old | {"training": _plain(TrainConfig())["training"] | (old.get("training") or {})}
    new = dict(new)
    if "corpus" in old:
        old["corpus"] = Corpus.parse(old["corpus"]).spec  # runs of old have relative paths
    now_id = new.pop("corpus_id", None)
    if old.get("corpus_id", now_id) != now_id:
        raise ConfigError(
            f"{folder} was begun on corpus {old['corpus_id']}, but {new['corpus']} is "
            f"{now_id or 'no built corpus'} now: put the old one back, or choose another "
            "--output; nothing was written"
        )
    for part, now in new.items():
        was = old.get(part)
        if not isinstance(now, dict):
            was, now = {part: was}, {part: now}
        artifacts.check_same(folder, "a run", was or {}, now, FREE)


def append_metrics(folder: Path, row: dict[str, object]) -> None:
    """Add one line to metrics.jsonl."""
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl; a line cut off by a crash is left out."""
    path = folder / "metrics.jsonl"
    lines = artifacts.read_bytes(path).split(b"\n") if path.exists() else []
    return [row for line in lines if (row := _parsed(line)) is not None]


def rewind_metrics(folder: Path, step: int) -> None:
    """Drop the lines after `step`, which a resumed run will write again."""
    kept = (row for row in read_metrics(folder) if row["step"] <= step)
    _rewrite(folder / "metrics.jsonl", kept)


def _rewrite(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    artifacts.write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = artifacts.parse_json(line, "a line of metrics.jsonl")
    except ArtifactError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None

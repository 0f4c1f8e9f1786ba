"""The folder of a run: what is written when, and what makes two commands the same run.

    config.json, tokenizer.json          at the start
    tokens/                              token shards (a cache; not part of the result)
    metrics.jsonl                        a line per logged step
    checkpoint/                          while training
    model.safetensors, means.safetensors, summary.json, manifest.json      at the end, in this order
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import ConfigError
from lacewing.model.config import ModelConfig
from lacewing.training.config import TrainConfig

FILES = (
    "config.json",
    "tokenizer.json",
    "metrics.jsonl",
    "means.safetensors",
    "summary.json",
    "model.safetensors",
)
FREE = ("evaluate_every", "checkpoint_seconds", "trackers", "accumulate")
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
    return (folder / "manifest.json").exists()


def open_run(
    folder: Path, config: TrainConfig, model: ModelConfig, corpus: str, tokenizer: Tokenizer
) -> None:
    """Start a run's folder, or check that the one there is the same run.

    Raises:
        ConfigError: the folder holds a run of another configuration, or something else.
    """
    saved = {
        "format": artifacts.FORMAT,
        "corpus": corpus,
        "model": dataclasses.asdict(model),
        "training": dataclasses.asdict(config),
    }
    path = folder / "config.json"
    if path.exists():
        _same(artifacts.read_json(path), json.loads(json.dumps(saved)), folder)
        return
    if folder.exists() and any(p.name != "tokens" for p in folder.iterdir()):
        raise ConfigError(
            f"{folder} exists and is no run of lacewing: choose another --output; nothing was written"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / "tokenizer.json")
    artifacts.write_json(path, saved)


def _same(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    for part in ("corpus", "model", "training"):
        was, now = old.get(part), new[part]
        if not isinstance(now, dict):
            was, now = {part: was}, {part: now}
        for key in sorted(set(was or {}) | set(now)):
            if key not in FREE and (was or {}).get(key) != now.get(key):
                raise ConfigError(
                    f"{folder} holds a run with {key} {(was or {}).get(key)!r}, this one has "
                    f"{now.get(key)!r}: choose another --output; nothing was written"
                )


def append_metrics(folder: Path, row: dict[str, object]) -> None:
    """Add one line to metrics.jsonl."""
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl; a line cut off by a crash is left out."""
    path = folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [row for line in lines if (row := _parsed(line)) is not None]


def rewind_metrics(folder: Path, step: int) -> None:
    """Drop the lines after `step`, which a resumed run will write again."""
    kept = (row for row in read_metrics(folder) if row["step"] <= step)
    _rewrite(folder / "metrics.jsonl", kept)


def _rewrite(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    artifacts.write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)  # type: ignore[no-any-return]
    except json.JSONDecodeError:
        return None

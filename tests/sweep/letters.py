"""A language of two sentences, `k=a` and `l=b`, that a model of seconds learns."""

import json
import random
from pathlib import Path
from typing import Any

from lacewing.sweep.config import SweepConfig, read_config

FILLERS = "cdefghij"


def write_text(folder: Path, files: int = 60) -> Path:
    """A corpus of short files of sentences in any order."""
    folder.mkdir(parents=True)
    for number in range(files):
        dice = random.Random(number)
        lines = [dice.choice(("k=a", "l=b")) for _ in range(60)]
        (folder / f"part{number}.py").write_text("\n".join([f"# {number}", *lines, ""]))
    return folder


def write_task(path: Path, name: str = "first", count: int = 120) -> Path:
    """Pairs that end after the equals sign; what comes before differs."""
    dice = random.Random(name)
    rows = []
    for _ in range(count):
        above = "\n".join(dice.choice(("k=a", "l=b")) for _ in range(dice.randint(1, 3)))
        marks = "".join(dice.choices(FILLERS, k=3))
        clean, corrupted = (f"{marks}\n{above}\n{letter}=" for letter in "kl")
        rows.append(
            {"clean": clean, "corrupted": corrupted, "clean_answer": "a", "corrupted_answer": "b"}
        )
    file = path / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration of seconds as JSON: two models with twins, one task, two targets."""
    plain = {
        "corpus": str(folder / "text"),
        "widths": [16, 32],
        "densities": [0.25],
        "activations": [0.5],
        "tasks": [str(folder / "first.jsonl")],
        "targets": [0.15, 0.5],
        "trials": 3,
        "trials_elsewhere": 2,
        "training": {
            "base_width": 32,
            "n_layer": 1,
            "d_head": 8,
            "context": 16,
            "d_position": 8,
            "bigram": False,
            "sinks": False,
            "vocab_size": 257,
            "batch": 16,
            "tokens": 16 * 16 * 240,
            "learning_rate": 0.1,
            "floor": 2,
            "precision": "fp32",
            "evaluate_every": 20,
            "validation_tokens": 512,
        },
        "pruning": {
            "prompts": 480,
            "batch": 8,
            "max_tokens": 16,
            "train_pairs": 48,
            "validation_pairs": 24,
            "test_pairs": 24,
        },
    }
    return plain | changes


def config(folder: Path, **changes: Any) -> SweepConfig:
    """The same as a value."""
    return read_config(write_config(folder, **changes))


def write_config(folder: Path, **changes: Any) -> Path:
    """The same as a file."""
    path = folder / "config.json"
    path.write_text(json.dumps(settings(folder, **changes)))
    return path

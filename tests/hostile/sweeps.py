"""Sweeps: their configurations, the pairs they prune on, and one that is finished."""

import json
import random
from pathlib import Path


def config(root: Path, place: Path) -> None:
    """The configuration of a sweep of one model."""
    from hostile import material

    training = material.TRAINING | {
        "bigram": False,
        "sinks": False,
        "context": 16,
        "tokens": 4 * 16 * 40,
    }
    for name in ("expansion", "density"):
        del training[name]
    pruning = {"prompts": 160, "batch": 8, "max_tokens": 16, "train_pairs": 32}
    pruning |= {"validation_pairs": 16, "test_pairs": 16}
    settings = {
        "corpus": str(root / "text"),
        "widths": [16],
        "densities": [0.25],
        "activations": [0.5],
        "tasks": [str(root / "first.jsonl")],
        "targets": [0.5],
        "main_target": 0.5,
        "trials": 1,
        "twins": False,
        "training": training,
        "pruning": pruning,
    }
    place.write_text(json.dumps(settings))


def pairs(root: Path, place: Path) -> None:
    """The configuration of a sweep of two models, which two processes train."""
    settings = json.loads((root / "sweep.json").read_text())
    place.write_text(json.dumps(settings | {"densities": [0.25, 0.5]}))


def first(root: Path, place: Path) -> None:
    """Pairs that end after the equals sign."""
    rows = []
    for number in range(100):
        dice = random.Random(number)
        marks = "".join(dice.choices("cdefghij", k=5))
        clean, corrupted = (f"{marks}\n{letter}=" for letter in "kl")
        answers = {"clean_answer": "a", "corrupted_answer": "b"}
        rows.append({"clean": clean, "corrupted": corrupted} | answers)
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))


def sweep(root: Path, place: Path) -> None:
    """That of one model, finished."""
    from hostile import material

    material.say(
        ["sweep", "--config", str(root / "sweep.json"), "--output", str(place), *material.ALONE]
    )

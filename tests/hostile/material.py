"""The untouched: one tiny example of everything that lacewing saves, made by lacewing itself."""

import json
import os
import random
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import micro

TRAINING: dict[str, Any] = {
    "expansion": 1.0,
    "base_width": 16,
    "density": 0.25,
    "n_layer": 1,
    "d_head": 8,
    "context": 16,
    "vocab_size": 257,
    "batch": 4,
    "tokens": 4 * 16 * 8,
    "learning_rate": 0.05,
    "d_position": 0,
    "floor": 2,
    "precision": "fp32",
    "evaluate_every": 1,
    "validation_tokens": 256,
    "checkpoint_seconds": 0.0,
}
"""A training of eight steps."""
SEARCH = ("--target-loss", str(micro.TARGET), "--prompts", "1024", "--batch", "16", "--no-calibrate")


def flags(settings: dict[str, Any]) -> list[str]:
    """Settings as flags."""
    words = []
    for name, value in settings.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    return words


def say(words: list[str]) -> None:
    """Run a command line quietly; it has to end well."""
    from lacewing.cli.app import main

    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        main(words)


def make(root: Path) -> Path:
    """Make all of it, once."""
    root.mkdir(parents=True, exist_ok=True)
    for name, maker in MAKERS.items():
        if not (root / name).exists():
            maker(root, root / name)
    return root


def _run(root: Path, place: Path) -> None:
    micro.write_run(micro.micro(), place)


def _compact(root: Path, place: Path) -> None:
    from lacewing import artifacts
    from lacewing.model import store

    model = micro.micro()
    part = place.with_name(f".{place.name}")
    micro.write_run(model, part)
    (part / store.WHOLE).unlink()
    store.write_compact(part / store.COMPACT, model.network)
    (part / artifacts.MANIFEST).unlink()
    artifacts.seal(part, "run", sorted(path.name for path in part.iterdir()))
    part.rename(place)


def _letters(root: Path, place: Path) -> None:
    micro.write_pairs(place)


def _text(root: Path, place: Path) -> None:
    for number in range(24):
        dice = random.Random(number)
        lines = [dice.choice(("k=a", "l=b", "m = [c]", "# d")) for _ in range(40)]
        path = place / f"package{number % 3}" / f"part{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([f"# {number}", *lines, ""]))


def _circuit(root: Path, place: Path) -> None:
    """A minimal circuit with its certificate, its short test, an attack and notes."""
    words = ["--model", str(root / "run"), "--task", str(root / "letters.jsonl")]
    say(["prune", *words, "--output", str(place), *SEARCH, "--minimal"])
    say(["verify", "--circuit", str(place), "--quick"])
    (place / "annotations.json").write_text(json.dumps(NOTES))


NOTES = {
    "annotations": [{"id": "one", "on": "circuit", "text": "a note", "changed": 1.5}],
    "supernodes": [],
}


def half_trained(root: Path, place: Path) -> None:
    """A training that was interrupted after some steps, with its checkpoint."""
    from lacewing.data.corpus import Corpus
    from lacewing.training.config import TrainConfig
    from lacewing.training.loop import train

    def stop(step: int, loss: float) -> int:
        if step > 4:
            raise KeyboardInterrupt
        return 1

    corpus = Corpus.files(str(root / "text"))
    try:
        train(TrainConfig(**TRAINING), corpus, place, check_every=stop, quiet=True)
    except KeyboardInterrupt:
        return
    raise AssertionError("the training was not interrupted")


def _trained(root: Path, place: Path) -> None:
    say(["train", "--output", str(place), "--corpus", str(root / "text"), *flags(TRAINING)])


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "text": _text,
    "letters.jsonl": _letters,
    "run": _run,
    "compact": _compact,
    "circuit": _circuit,
    "training": half_trained,
    "trained": _trained,
}
"""What is made, in this order, by its name in the material's folder."""

"""What verbs leave on their way and at their end: autoencoders half trained, attacks that hit."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile import strangers
from hostile.judge import cli

OFTEN = ("--checkpoint-seconds", "0")


def learning(root: Path, place: Path) -> None:
    """A training of autoencoders that was killed on its way, with its checkpoint."""
    from hostile.material import say
    from lacewing.sae.train import _Trainer

    part = place.with_name(f".{place.name}")
    keep = _Trainer._keep

    def killed(trainer: _Trainer) -> None:
        keep(trainer)
        if trainer.step > 3:
            os._exit(0)

    if (child := os.fork()) == 0:
        _Trainer._keep = killed  # type: ignore[method-assign]
        words = [*strangers.asked_latents(root), *strangers.LATENTS, *OFTEN]
        say(["sae", *words, "--output", str(part / "new")])
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "the training was not interrupted"
    part.rename(place)


def attacked(root: Path, place: Path) -> None:
    """A circuit's folder with attacks that hit, as they say: the model wants P, they want Q."""
    hit = {"right": "Q", "wrong": "P", "hit": True, "kind": "letters", "margin": 0.5}
    prompts = ("Xkfm=", "Xfkm=", "Xmkf=")
    found = [hit | {"prompt": prompt} for prompt in prompts]
    said = {"task": "letters", "model_id": "", "attacks": [*found, found[0] | {"hit": False}]}
    place.mkdir()
    (place / "attacks.json").write_text(json.dumps(said))


MAKERS: dict[str, Callable[[Path, Path], None]] = {"learning": learning, "attacked": attacked}
"""What is made, by its name in the material's folder."""


def learned(work: Path, root: Path) -> Any:
    """The interrupted training of autoencoders, ended by the same command."""
    words = [*strangers.asked_latents(root), *strangers.LATENTS, *OFTEN, "--output", "learning/new"]
    return cli("sae", *words)["figures"]


def mended(work: Path, root: Path) -> Any:
    """The first mistake of those that an attack found, mended."""
    little = ("--tokens", "1000", "--pairs", "2", "--tries", "4", "--kin", root / "letters.jsonl")
    words = ["--model", "run", "--attacks", "attacked", "--corpus", root / "text", *little]
    return cli("repair", *words, "--tasks", root / "letters.jsonl")

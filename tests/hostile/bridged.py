"""Bridges: whole, half trained, and those of sparse_pretrain; what reads them and goes on."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import micro
from hostile.judge import cli

LITTLE = ("--validation-tokens", "128", "--fit-tokens", "256")
QUICK = (*LITTLE, "--tokens", "256", "--batch", "4")
STEERED = ("--node", "0.attn_in.1", "--task", "letters.jsonl", "--pairs", "4", "--random", "1")
HALF = {"tokens": 4 * 16 * 6, "validation_tokens": 128}
"""What differs from the material's training."""


def bridges(root: Path, place: Path) -> None:
    """Bridges between the two micro models."""
    from hostile.material import say

    sides = ["--dense", str(root / "dense"), "--sparse", str(root / "run")]
    text = ["--corpus", str(root / "lines")]
    say(["bridge", *sides, *text, *QUICK, "--output", str(place)])


def halved(root: Path, place: Path) -> None:
    """Bridges on their way, with a sparse model that learns: interrupted, with a checkpoint."""
    from hostile.material import say
    from lacewing.bridges import train

    real, steps = train.backward, iter(range(3))

    def stop(*given: Any, **more: Any) -> Any:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return real(*given, **more)

    train.backward = stop
    try:
        say([*half(root, place / "new", root / "dense")])
    except SystemExit:
        return
    finally:
        train.backward = real
    raise AssertionError("the training was not interrupted")


def four(root: Path, place: Path) -> None:
    """A comparison of three forms, finished."""
    from hostile.material import say

    say([*_forms(root, root / "bridges"), "--output", str(place)])


def _forms(root: Path, bridge: Path) -> list[str]:
    """The command of it, without its output."""
    from hostile.material import SEARCH

    sides = ["--sparse", str(root / "run"), "--dense", str(root / "dense")]
    words = ["compare", *sides, "--bridge", str(bridge), "--task", str(root / "letters.jsonl")]
    return [*words, "--corpus", str(root / "lines"), "--quick", *SEARCH]


def half(root: Path, output: Path, dense: Path, **changes: int) -> tuple[str, ...]:
    """A training of bridges with a sparse model that learns, as a command."""
    from hostile import material

    words = ["bridge", "--dense", str(dense), "--corpus", str(root / "lines")]
    flags = material.flags(material.TRAINING | HALF | changes)
    return (*words, *flags, "--fit-tokens", "256", "--output", str(output))


def theirs(root: Path, place: Path) -> None:
    """Bridges in the layout of sparse_pretrain."""
    from lacewing.bridges.maps import Sizes, drawn

    made = drawn(Sizes(1, micro.WIDTH, micro.WIDTH, 32), 0).state_dict()
    place.mkdir()
    named = {}
    for name, tensor in made.items():
        _, site, part, kind = name.split(".")
        named[f"bridges.{site}.{part}.linear.{kind}"] = tensor
    torch.save(named, place / "bridges.bin")
    settings = {"encoder_afrac": 0.25, "n_layers": 1, "d_dense": "someone/x", "d_sparse": 128}
    (place / "config.json").write_text(json.dumps({"bridges_config": settings}))


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "bridges": bridges,
    "four": four,
    "halved": halved,
    "theirs": theirs,
}


def steered(work: Path, root: Path) -> Any:
    """The dense model, steered by a node."""
    return cli("steer", "--bridge", "bridges", *STEERED, "--corpus", root / "lines")


def went_on(work: Path, root: Path) -> Any:
    """The interrupted training, ended by the same command."""
    done = cli(*half(root, Path("halved/new"), root / "dense"))
    return [done["figures"], done["sparse"]["id"]]


def adopted(work: Path, root: Path) -> Any:
    """Bridges of sparse_pretrain, measured."""
    words = ["--dense", "dense", "--sparse", "run", "--adopt", "theirs", "--output", "new"]
    return cli("bridge", *words, "--corpus", root / "lines", *LITTLE)["figures"]


def told(work: Path, root: Path) -> Any:
    """Cells that are there, read again; one that is gone is found again, the same."""
    found = cli(*_forms(root, root / "bridges"), "--output", "four")
    return [
        [cell["form"], cell["state"], cell["nodes"], cell["verdict"]] for cell in found["cells"]
    ]


def formats(root: Path) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], Any, bool]]:
    """Needs, files, what reads them, and whether users name them."""
    both, task = ("run", "dense"), "letters.jsonl"

    def at(probe: Callable[[Path, Path], Any]) -> Any:
        return functools.partial(probe, root=root)

    return {
        "bridges": (("bridges", *both, task), ("bridges/*",), at(steered), False),
        "four": (("four",), ("four/cells/*", "four/bridge-latents/*"), at(told), False),
        "halved": (("halved", *both), ("halved/**",), at(went_on), False),
        "theirs": (("theirs", *both), ("theirs/**",), at(adopted), True),
    }


def commands(root: Path) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The verbs, with what they need."""
    text = ("--corpus", str(root / "lines"))
    sides = ("--dense", "dense", "--sparse", "run")
    return {
        "bridge": (("bridge", *sides, *text, *QUICK, "--output", "new"), ("run", "dense")),
        "steer": (
            ("steer", "--bridge", "bridges", *STEERED, *text, "--output", "new"),
            ("bridges", "run", "dense", "letters.jsonl", "circuit"),
        ),
    }

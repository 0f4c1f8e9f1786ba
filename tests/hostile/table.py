"""What is attacked: every format that lacewing reads, each in a line of FORMATS."""

import functools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import material
from hostile.judge import Probe


@dataclass(frozen=True)
class Format:
    """Files of one kind, and what reads them."""

    needs: tuple[str, ...]
    """What is copied from the material into the case's folder."""
    attacked: tuple[str, ...]
    """Patterns of the files that are changed."""
    probe: Probe
    """Reads them; its figures have to stay as they are."""
    free: tuple[str, ...] = ()
    """Patterns of files that no sum covers, because people write them: other figures are right."""
    starts: bool = False
    """Whether reading them may start programs, such as pip."""


def cli(*words: object) -> Any:
    """What a verb prints with --json, run in this process."""
    from lacewing.cli.app import main

    begin = sys.stdout.tell() if sys.stdout.seekable() else 0
    main([*map(str, words), "--json"])
    sys.stdout.flush()
    with open("../out", encoding="utf-8") as file:
        file.seek(begin)
        return json.loads(file.read().strip().rpartition("\n")[2])


def verified(work: Path) -> Any:
    """The short test of the circuit."""
    return cli("verify", "--circuit", "circuit", "--quick")


def certified(work: Path) -> Any:
    """The certificate, checked."""
    return cli("verify", "--circuit", "circuit", "--minimality")


def compact(work: Path) -> Any:
    """The short test of the circuit on the compact model."""
    return cli("verify", "--circuit", "circuit", "--quick", "--model", "compact")


def scored(work: Path) -> Any:
    """The task's loss."""
    return cli("tasks", "--run", "run", "--task", "letters.jsonl", "--pairs", 32)


def resumed(work: Path, root: Path) -> Any:
    """The interrupted training, ended by the same command."""
    words = material.flags(material.TRAINING)
    done = cli("train", "--output", "training", "--corpus", root / "text", *words)
    return [done, json.loads(Path("training/summary.json").read_text())["id"]]


def formats(root: Path) -> dict[str, Format]:
    """The table, over the material in a folder."""
    return {
        "model": Format(("run", "circuit"), ("run/*",), verified),
        "compact": Format(("compact", "circuit"), ("compact/*",), compact),
        "circuit": Format(
            ("run", "circuit"),
            ("circuit/manifest.json", "circuit/circuit.json", "circuit/nodes*", "circuit/pairs*"),
            verified,
        ),
        "certificate": Format(("run", "circuit"), ("circuit/certificate*",), certified),
        "training": Format(
            ("training",),
            ("training/*", "training/tokens/*", "training/checkpoint/*"),
            functools.partial(resumed, root=root),
        ),
        "task": Format(("run", "letters.jsonl"), ("letters.jsonl",), scored, ("letters.jsonl",)),
    }

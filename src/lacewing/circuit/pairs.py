"""A circuit's pairs of prompts on disk: JSON, one a line."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from lacewing.errors import ArtifactError
from lacewing.tasks.pair import Pair

PAIRS = "pairs.jsonl"
"""The test pairs, which a circuit's losses were measured on."""
CERTIFICATE_PAIRS = "certificate_pairs.jsonl"
"""The pairs that a certificate was made on."""


def pair_lines(pairs: Sequence[Pair]) -> bytes:
    """Pairs as JSON, one a line."""
    return "".join(json.dumps(dataclasses.asdict(pair)) + "\n" for pair in pairs).encode()


def read_pairs(file: Path) -> tuple[Pair, ...]:
    """The pairs of a file.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        # Not splitlines: a pair's text may hold other line ends, which JSON leaves as they are.
        lines = file.read_text(encoding="utf-8").split("\n")
        return tuple(Pair(**json.loads(line)) for line in lines if line)
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{file} holds no pairs of prompts ({error})") from error

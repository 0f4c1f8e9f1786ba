"""A circuit's pairs of prompts on disk: JSON, one a line."""

import dataclasses
import json
from collections.abc import Sequence

from lacewing.tasks.pair import Pair

PAIRS = "pairs.jsonl"
"""The test pairs, which a circuit's losses were measured on."""
CERTIFICATE_PAIRS = "certificate_pairs.jsonl"
"""The pairs that a certificate was made on."""


def pair_lines(pairs: Sequence[Pair]) -> bytes:
    """Pairs as JSON, one a line."""
    return "".join(json.dumps(dataclasses.asdict(pair)) + "\n" for pair in pairs).encode()

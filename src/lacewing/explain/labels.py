"""The file of labels beside a circuit: what its nodes mean, for pages and programs to read.

`explanations.json` in the circuit's folder is what `lacewing explain --json` prints. `labels` gives
a short name for each described node, as a plain mapping; that is what `programs` and `viewer` take.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import ArtifactError

FILE = "explanations.json"
SCHEMA = "lacewing.explain/1"
LONGEST = 40


def save(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write the file into a folder; an older one gives way."""
    path = folder / FILE
    artifacts.write_summed(path, dict(result))
    return path


def load(folder: Path) -> dict[str, Any]:
    """Read the file of a folder.

    Raises:
        ArtifactError: missing, damaged, or of another version.
    """
    found = artifacts.read_summed(artifacts.own(folder, FILE))
    if found.get("schema") != SCHEMA:
        raise ArtifactError(
            f"{folder / FILE} has schema {found.get('schema')!r:.60}, this lacewing reads "
            f"{SCHEMA}: explain again"
        )
    rows = found.get("nodes")
    if not isinstance(rows, list) or not all(isinstance(r, dict) and "node" in r for r in rows):
        raise ArtifactError(f"{folder / FILE} has no list of nodes: damaged, explain again")
    return found


def labels(result: Mapping[str, Any]) -> dict[str, str]:
    """A short label for every node whose explanation is right of it.

    Example:
        >>> row = {"node": "0.attn_in.7", "explanation": "in_string & depth >= 1"}
        >>> labels({"nodes": [row | {"card": {"described": True}}]})
        {'0.attn_in.7': 'in_string and depth at least 1'}
    """
    found = {}
    for row in result["nodes"]:
        if (row.get("card") or {}).get("described") and row.get("explanation"):
            found[row["node"]] = short(row["explanation"])
    return found


def short(explanation: str) -> str:
    """A predicate as a label of at most LONGEST characters."""
    words = explanation.replace(" & ", " and ").replace(" | ", " or ").replace(">=", "at least")
    words = re.sub(r"tok\[0\] (?:==|in) ", "", words)
    words = re.sub(r"tok\[-(\d+)\] (?:==|in) ", r"\1 back ", words)
    words = words.replace("class[0] == ", "")
    return words if len(words) <= LONGEST else words[: LONGEST - 3].rstrip() + "..."

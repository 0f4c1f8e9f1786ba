"""The file of labels beside a circuit: what its nodes mean, for pages and programs to read.

`explanations.json` in the circuit's folder is what `lacewing explain --json` prints. `labels` gives
a short name for each described node, and `spoken` words that a name can be made of, as plain
mappings; that is what `viewer` and `programs` take.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import ArtifactError, DataError
from lacewing.explain import language
from lacewing.explain.parse import parse
from lacewing.explain.predicate import Atom, Kind, Literal, Since, State, Token
from lacewing.explain.text import COMMON

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


def spoken(result: Mapping[str, Any]) -> dict[str, str]:
    """What each described node means in a few words, tokens as they are: for names in programs.

    Nodes that are a set of several tokens are left out: there the tokens themselves say more.

    Example:
        >>> row = {"node": "0.attn_out.6", "explanation": "in_string & not depth >= 2"}
        >>> spoken({"nodes": [row | {"card": {"described": True}}], "language": "python"})
        {'0.attn_out.6': 'in_string not depth from 2'}
    """
    reader = language.get(str(result.get("language", "python")))
    features = {feature.name: feature for feature in (*reader.features, *COMMON)}
    found = {}
    for row in result["nodes"]:
        if not (row.get("card") or {}).get("described") or not row.get("explanation"):
            continue
        try:
            predicate = parse(str(row["explanation"]), features)
        except DataError:  # of another version of the language
            continue
        words = [" ".join(map(_words, clause)) for clause in predicate.clauses]
        if words and all(words) and not any(map(_several, predicate.clauses[0])):
            found[row["node"]] = " or ".join(words[:2])
    return found


def _several(literal: Literal) -> bool:
    return isinstance(literal.atom, Token) and len(literal.atom.tokens) > 1


def _words(literal: Literal) -> str:
    return ("not " if literal.negated else "") + _said(literal.atom)


def _said(atom: Atom) -> str:
    if isinstance(atom, Since):
        return f"since {_said(atom.opened)}"
    if isinstance(atom, State):
        value = f"from {atom.value}" if atom.compare == ">=" else atom.value
        return f"{'before ' if atom.before else ''}{atom.feature} {value}".strip()
    where = f"{atom.back} back " if atom.back else ""
    if isinstance(atom, Kind):
        return where + atom.kind
    first = atom.tokens[0]
    return where + (first.strip() or ("newline" if "\n" in first else "space"))


def short(explanation: str) -> str:
    """A predicate as a label of at most LONGEST characters."""
    words = explanation.replace(" & ", " and ").replace(" | ", " or ").replace(">=", "at least")
    words = re.sub(r"tok\[0\] (?:==|in) ", "", words)
    words = re.sub(r"tok\[-(\d+)\] (?:==|in) ", r"\1 back ", words)
    words = words.replace("class[0] == ", "")
    return words if len(words) <= LONGEST else words[: LONGEST - 3].rstrip() + "..."

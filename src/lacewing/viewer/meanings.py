"""What nodes mean, as `lacewing explain` left it beside a circuit in explanations.json.

    meanings(json)          what to say of each node
    alike(json, circuit)    nodes explained alike, as groups to propose
    holds(...)              where an explanation says that its node fires, token by token

The file may be anybody's: what cannot be read says nothing. A mapping from nodes to sentences will
do.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.errors import LacewingError
from lacewing.explain import language
from lacewing.explain.columns import Columns
from lacewing.explain.labels import short
from lacewing.explain.parse import parse
from lacewing.explain.text import lexed, pieces_of
from lacewing.model.store import Model
from lacewing.viewer.texts import Sequences

LONGEST = 600
"""Characters shown of a sentence."""
PREDICATE = 10_000
"""Characters of a predicate that is read."""


class Meaning(BaseModel):
    """What a node is explained as; see `lacewing explain`."""

    good: bool
    """Whether the explanation is right of the node; else nothing but its scores is told."""
    text: str
    label: str
    predicate: str
    opposite: str
    language: str
    f1: float | None
    interval: tuple[float, float] | None
    pearson: float | None
    control: float | None
    control_name: str
    verdict: str
    why_not: str


def meanings(found: Any) -> dict[str, Meaning]:
    """What to say of each node."""
    rows = found.get("nodes", found) if isinstance(found, dict) else found
    if isinstance(rows, dict):
        pairs = [(n, row if isinstance(row, dict) else {"text": row}) for n, row in rows.items()]
    elif isinstance(rows, list):
        pairs = [(row["node"], row) for row in rows if isinstance(row, dict) and "node" in row]
    else:
        pairs = []
    spoken = found.get("language") if isinstance(found, dict) else None
    made = {str(node): _meaning(row, spoken) for node, row in pairs}
    return {node: said for node, said in made.items() if said is not None}


def _meaning(row: Mapping[str, Any], spoken: object) -> Meaning | None:
    plain = row.get("card")
    card: Mapping[str, Any] = plain if isinstance(plain, dict) else {}
    best = card.get("best_control")
    ends = card.get("ci95")
    predicate, text = row.get("explanation"), row.get("text", row.get("sentence"))
    good = bool(card["described"]) if "described" in card else bool(text)
    try:
        return Meaning(
            good=good,
            text=str(text)[:LONGEST] if good and text else "",
            label=short(str(predicate or text)) if good else "",
            predicate=str(predicate)[:PREDICATE] if predicate and good else "",
            opposite=str(row.get("opposite") or "")[:PREDICATE] if good else "",
            language=str(spoken or ""),
            f1=row.get("f1"),
            interval=ends.get("f1") if isinstance(ends, dict) else None,
            pearson=row.get("pearson"),
            control=row.get("control"),
            control_name=str(best.get("name", "")) if isinstance(best, dict) else "",
            verdict=str(row.get("verdict") or ""),
            why_not=str(row.get("why_not") or "")[:LONGEST],
        )
    except (ValidationError, TypeError):
        return None


def alike(found: Any, circuit: Circuit) -> list[dict[str, Any]]:
    """Nodes explained alike, as groups; only nodes of the circuit, two at least."""
    groups = found.get("groups") if isinstance(found, dict) else None
    known, proposed = set(circuit.node_names()), []
    for group in groups if isinstance(groups, list) else []:
        names = group.get("nodes") if isinstance(group, dict) else None
        members = [n for n in names if n in known] if isinstance(names, list) else []
        if len(members) > 1:
            said = str(group.get("explanation") or "")
            why = f"explained alike: {group.get('sentence') or said}"[:LONGEST]
            proposed.append({"name": short(said) or "alike", "members": members, "why": why})
    return proposed


def holds(model: Model, said: Meaning, texts: Sequences) -> Tensor | None:
    """1 where an explanation says that its node fires, -1 where its other side does, else 0.

    Returns:
        [sequence, token], int8; none where there is no predicate, or none that can be read here.
    """
    if not said.predicate:
        return None
    try:
        reader = language.get(said.language or "python")
        rows = [
            row[:length].tolist()
            for row, length in zip(texts.tokens, texts.lengths.tolist(), strict=True)
        ]
        text = lexed(rows, pieces_of(model.tokenizer), reader)
        features = {name: feature for name, (_, feature) in text.features.items()}
        columns = Columns(text)
        true = columns.truth(parse(said.predicate, features)).astype(np.int8)
        if said.opposite:
            other = columns.truth(parse(said.opposite, features))
            true[other & (true == 0)] = -1
    except LacewingError:
        return None
    found = torch.zeros(texts.tokens.shape, dtype=torch.int8)
    real = torch.arange(texts.tokens.shape[1])[None] < texts.lengths[:, None]
    found[real] = torch.from_numpy(true)
    return found

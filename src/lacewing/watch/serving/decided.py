"""Which tasks were decided in one text, where, and how unusual what the circuits did there was.

The text is read as the reference was: in windows of the model's context, from its beginning. Where
it is longer, the model itself wrote its end with the last tokens before it in view.
"""

from collections.abc import Sequence
from typing import Any

import torch

from lacewing.watch.measure import Measured
from lacewing.watch.monitor import Monitor
from lacewing.watch.scores import Distances
from lacewing.watch.stream import Cutter, Windows


def decided_in(monitor: Monitor, tokens: Sequence[int], prompt: int) -> list[dict[str, Any]]:
    """Every circuit's places in a text.

    Args:
        monitor: The monitor; it is asked, and reads nothing by this.
        tokens: The text.
        prompt: How many tokens of it are the prompt.

    Returns:
        Of every circuit: `task`, `found` (places there are; of more than 24 in about 1,024 tokens
        only so many are measured) and `places`: `at`, the token after which it is decided; `in`,
        whether the decision is the prompt's or the completion's; the two answers; which of them
        the whole model and the circuit alone prefer, by how many nats; and the scores.
    """
    cutter = Cutter(monitor.model.network.config.context)
    looks = [*cutter.add(list(tokens)), *cutter.rest()]
    rows: list[dict[str, Any]] = [
        {"task": circuit.task, "found": 0, "places": []} for circuit in monitor.circuits
    ]
    begin = 0
    for look in looks:
        measured = monitor.watching.look(look.tokens, look.lengths)
        for number, (seen, row) in enumerate(zip(measured, rows, strict=True)):
            row["found"] += seen.found
            row["places"] += _places(monitor, number, seen, look, begin, prompt)
        begin += look.count
    return rows


def _places(
    monitor: Monitor, number: int, seen: Measured, look: Windows, begin: int, prompt: int
) -> list[dict[str, Any]]:
    """The places of one look as plain values."""
    if not len(seen.places):
        return []
    usual, token = monitor.reference.usual[number], monitor.model.tokenizer.token
    scores = usual.scores(seen, usual.distances(seen))
    items = {
        kind: [name for owner, k, name in monitor.signals if owner == number and k == kind]
        for kind in ("head", "node")
    }
    starts = begin + torch.cumsum(look.lengths, 0) - look.lengths
    places, found = seen.places, []
    for index in range(len(places)):
        at = int(starts[places.row[index]]) + int(places.position[index])
        answers = [token(int(end[index])) for end in (places.first, places.second)]
        whole, alone = float(places.difference[index]), float(seen.alone[index])
        found.append(
            {
                "at": at,
                "in": "completion" if at + 1 >= prompt else "prompt",
                "after": token(int(look.tokens[places.row[index], places.position[index]])),
                "answers": answers,
                "whole": {"prefers": answers[whole <= 0], "by": round(abs(whole), 5)},
                "alone": {"prefers": answers[alone <= 0], "by": round(abs(alone), 5)},
                "agrees": (whole > 0) == (alone > 0),
                "scores": _scores(scores, index, items),
            }
        )
    return found


def _scores(scores: Distances, index: int, items: dict[str, list[str]]) -> dict[str, Any]:
    """How unusual one place is, between 0 (usual) and 1 (never seen)."""
    told: dict[str, Any] = {
        "carried": round(float(scores.carried[index]), 4),
        "jointly": round(float(scores.jointly[index]), 4),
    }
    for kind, values in (("head", scores.heads[index]), ("node", scores.nodes[index])):
        if len(values):
            most = int(values.argmax())
            told[kind] = {"name": items[kind][most], "score": round(float(values[most]), 4)}
    return told

"""What every trace of an answer says, whatever model it is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lacewing.model.store import Model
from lacewing.trace.graph import TraceNode


@dataclass(frozen=True)
class Answered:
    """An answer and its rival."""

    model: str
    words: tuple[str, ...]
    """The prompt's tokens."""
    ids: tuple[int, ...]
    """The same as numbers."""
    ends: tuple[int, int]
    """Answer and rival as numbers."""
    answer: str
    rival: str
    chance: float
    """Of the answer among all tokens."""

    def said(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "tokens": list(self.words),
            "answer": self.answer,
            "rival": self.rival,
            "chance": self.chance,
            "ids": {
                "tokens": list(self.ids),
                "answer": self.ends[0],
                "rival": self.ends[1],
            },
        }


def answered(
    model: Model, tokens: Sequence[int], answer: int, rival: int, logits: Tensor
) -> dict[str, Any]:
    """The fields of `Answered`, of an answer and its rival as tokens."""
    return {
        "model": model.name or model.source,
        "words": tuple(model.tokenizer.token(id) for id in tokens),
        "ids": tuple(tokens),
        "ends": (answer, rival),
        "answer": model.tokenizer.token(answer),
        "rival": model.tokenizer.token(rival),
        "chance": float(logits.softmax(0)[answer]),
    }


def plain_graph(
    nodes: Sequence[TraceNode],
    edges: Mapping[tuple[str, str], float],
    exchanged: Sequence[float] | None,
) -> dict[str, Any]:
    """Nodes, with what each would take away on a partner prompt, and edges as plain values."""
    rows: list[dict[str, Any]] = [
        {
            "node": f"{n.key}.{n.channel}",
            "token": n.token,
            "value": n.value,
            "effect": n.effect,
            "rest": n.rest,
        }
        for n in nodes
    ]
    for row, nats in zip(rows, exchanged or (), strict=False):
        row["interchange"] = nats
    links = [{"source": s, "target": t, "weight": w} for (s, t), w in edges.items()]
    return {"nodes": rows, "edges": links}

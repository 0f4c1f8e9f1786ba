"""An edit of one matrix: what it adds to the weight, which has rank one, and to the bias."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from lacewing.model.layers import Linear
from lacewing.model.transformer import Transformer
from lacewing.trace.passes import maps_of

Kind = Literal["cut", "scale", "bias", "clamp", "rank one"]
KINDS: tuple[Kind, ...] = ("cut", "scale", "bias", "clamp", "rank one")


@dataclass(frozen=True, eq=False)
class WeightEdit:
    """A change of one matrix, at full strength."""

    kind: Kind
    map: str
    """The matrix, as LAYER.NAME."""
    where: str
    """A node, or an edge between two, in words."""
    rows: Float[Tensor, " row"]
    columns: Float[Tensor, " column"]
    """Their outer product is added to the weight."""
    bias: Float[Tensor, " row"] | None
    """Added to the bias."""
    gain: float
    """What it should add to the logit difference, nats."""
    damage: float
    """What it should move all other predictions by, nats each."""
    before: float = 0.0
    """The weight or bias that is changed, where it is one."""
    to: float = 0.0
    """What a node is clamped to."""

    @property
    def adjustable(self) -> bool:
        """Whether less or more of it makes sense."""
        return self.kind not in ("cut", "clamp")

    def words(self, strength: float) -> str:
        """What is done, in a few words."""
        if self.kind == "cut":
            return f"weight {self.where} cut"
        if self.kind == "scale":
            now = self.before + strength * float(self.rows.sum() * self.columns.sum())
            return f"weight {self.where} scaled by {now / self.before:.2f}"
        if self.kind == "bias":
            assert self.bias is not None
            shift = strength * float(self.bias.sum())
            return f"bias of {self.where} from {self.before:.3f} to {self.before + shift:.3f}"
        if self.kind == "clamp":
            return f"node {self.where} clamped to {self.to:.3f}"
        size = strength * float(self.rows.norm() * self.columns.norm())
        return f"rank-one change to {self.where}, norm {size:.3f}"

    def as_json(self, strength: float) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "matrix": self.map,
            "where": self.where,
            "words": self.words(strength),
            "strength": strength,
            "expected_gain": self.gain * strength,
            "expected_damage": self.damage * strength**2,
        }


@torch.no_grad()
def apply(network: Transformer, edit: WeightEdit, strength: float) -> None:
    """Change the network for good."""
    part = maps_of(network)[edit.map]
    part.weight += strength * torch.outer(edit.rows, edit.columns)
    if edit.bias is not None:
        part.bias += strength * edit.bias


@contextmanager
def applied(network: Transformer, edit: WeightEdit, strength: float) -> Iterator[None]:
    """Change the network for the length of the block; afterwards it is as before to the bit.

    Where the network's products go through the nonzeros, those of the other matrices still do.
    """
    part = cast("Linear", maps_of(network)[edit.map])
    kept = part.weight.detach().clone(), part.bias.detach().clone()
    nonzeros, part.sparse = part.sparse, None
    try:
        apply(network, edit, strength)
        yield
    finally:
        with torch.no_grad():
            part.weight.copy_(kept[0])
            part.bias.copy_(kept[1])
        part.sparse = nonzeros

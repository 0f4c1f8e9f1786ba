"""Nodes set to values at some tokens of the prompts: by hooks, or in a compiled circuit.

Both give the same up to the order of sums; the second is many times faster, and only lacewing's own
models have it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.ablation.compiled import CompiledCircuit
from lacewing.ablation.masks import masks_of
from lacewing.ablation.prefixes import UniquePrefixes
from lacewing.ablation.values import AblationValues
from lacewing.circuit.circuit import Circuit
from lacewing.errors import DataError
from lacewing.model.sites import FINAL_SITE, parse_node
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.tasks.batch import Prompts


@dataclass(frozen=True, eq=False)
class Change:
    """A node and what it is set to."""

    node: str
    value: Float[Tensor, "*row"] | float
    """One, or one for every token."""
    where: Bool[Tensor, "sequence token"]
    """At which tokens."""

    @property
    def given(self) -> Float[Tensor, "sequence token"]:
        """The value at every token."""
        return torch.as_tensor(self.value, dtype=torch.float32).expand(self.where.shape)


def hooks(changes: Sequence[Change]) -> dict[str, SiteHook]:
    """Changes as edits of whole sites."""
    found: dict[str, SiteHook] = {}
    for change in changes:
        key, channel = parse_node(change.node)
        found = after(found, {key: _setting(change, channel)})
    return found


def after(first: Mapping[str, SiteHook], second: Mapping[str, SiteHook]) -> dict[str, SiteHook]:
    """Two sets of edits as one, in this order."""

    def both(a: SiteHook, b: SiteHook) -> SiteHook:
        return lambda value: b(a(value))

    joined = {key: both(first[key], hook) for key, hook in second.items() if key in first}
    return dict(first) | dict(second) | joined


def _setting(change: Change, channel: int) -> SiteHook:
    def hook(site: Tensor) -> Tensor:
        site = site.clone()
        given = change.given.to(site.dtype)
        site[..., channel] = torch.where(change.where, given, site[..., channel])
        return site

    return hook


class Alone:
    """A circuit of a model of ours on its prompts, compiled, with nodes of it changed."""

    def __init__(
        self, model: Model, circuit: Circuit, values: AblationValues, prompts: Prompts
    ) -> None:
        """Compile it.

        Args:
            model: Its model, its edges cut already.
            circuit: The circuit.
            values: What stands for the rest.
            prompts: What it runs on.
        """
        masks = masks_of(model.network, circuit.nodes)
        self.prefixes = UniquePrefixes.every(prompts.tokens, prompts.last)
        self.live = {key: mask.nonzero()[:, 0].tolist() for key, mask in masks.items()}
        self.changes: dict[str, list[Change]] = {}
        edits = {key: self._edit(key) for key, live in self.live.items() if live}
        self.compiled = CompiledCircuit(model.ours, masks, values, edits)

    @torch.inference_mode()
    def logits(self, changes: Sequence[Change]) -> Float[Tensor, "sequence vocab"]:
        """Logits at the ends of the prompts with nodes of the circuit changed.

        Raises:
            DataError: a node is outside the circuit, where nothing runs.
        """
        self.changes = {}
        for change in changes:
            key, channel = parse_node(change.node)
            if channel not in self.live.get(key, ()):
                raise DataError(f"{change.node} is no node of the circuit: it cannot be changed")
            self.changes.setdefault(key, []).append(change)
        return self.compiled.logits(self.prefixes).float()

    def _edit(self, key: str) -> SiteHook:
        def hook(value: Tensor) -> Tensor:
            for change in self.changes.get(key, ()):
                value = self._set(key, value, change)
            return value

        return hook

    def _set(self, key: str, value: Tensor, change: Change) -> Tensor:
        """The live channels of a site [row live], of which one is set.

        Rows are all tokens of all prompts; from the last attention that varies on the ends alone;
        one where nothing before it varies.
        """
        where, given = change.where.flatten(), change.given.flatten()
        if len(value) == len(self.prefixes.ends) or (len(value) == 1 and self._late(key)):
            where, given = where[self.prefixes.ends], given[self.prefixes.ends]
        column = self.live[key].index(parse_node(change.node)[1])
        value = value.expand(len(where), -1).clone()
        value[:, column] = torch.where(where, given, value[:, column])
        return value

    def _late(self, key: str) -> bool:
        """Whether a site that does not vary belongs to the ends of prompts."""
        return key == FINAL_SITE or int(key.partition(".")[0]) >= self.compiled.turn

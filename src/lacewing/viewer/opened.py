"""One opened circuit of a model that lacewing did not train: what is asked of it runs in pieces.

A run of all test pairs takes a minute on such a model. So questions are asked of some pairs, a few
at a time, each a turn of its own: people at other pages go in between, the page is told how far it
is, and whoever asked can stop it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lacewing.ablation.attribution import node_rises
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_logits
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Ablation, Circuit
from lacewing.errors import DataError
from lacewing.model.sites import parse_node
from lacewing.model.store import Model
from lacewing.statistics import bootstrap
from lacewing.tasks.batch import Prompts
from lacewing.tasks.scoring import is_right, two_answer_loss
from lacewing.viewer.answers import Edit
from lacewing.viewer.edits import check_node
from lacewing.viewer.grouped import Strengths, group_of
from lacewing.viewer.things import Found
from lacewing.viewer.turns import Turns, Work

PAIRS = 16
"""Test pairs that questions are asked of."""
PIECE = 2
"""Pairs that run in one turn."""
RANKED = 8
"""Pairs that the strength of nodes is measured on."""
TOP = 8
"""Tokens told of an answer."""


@dataclass(frozen=True)
class Switches:
    """Edits of a circuit, sorted by what they do."""

    off: frozenset[tuple[str, int]]
    held: Mapping[tuple[str, int], float]
    """By node, the value that it has at every token."""

    @classmethod
    def of(cls, edits: Sequence[Edit], circuit: Circuit, model: Model) -> "Switches":
        """Check edits; a later one of a node goes before an earlier one.

        Raises:
            DataError: an edit says nothing, or names no node or group of the model, or an edge.
        """
        off: dict[tuple[str, int], None] = {}
        held: dict[tuple[str, int], float] = {}
        for edit in edits:
            said = [name for name in ("off", "on", "cut", "node") if getattr(edit, name)]
            if said not in (["off"], ["node"]) or (edit.node is None) != (edit.value is None):
                raise DataError(
                    "here an edit is one of off, with a node or a group, or node with value: "
                    f"circuits of open models have no edges to cut; this one says {said}"
                )
            places = _places(edit.off or edit.node or "", circuit, model)
            for place in places:
                off.pop(place, None)
                held.pop(place, None)
                if edit.value is None:
                    off[place] = None
                else:
                    held[place] = edit.value
        return cls(frozenset(off), held)


def _places(name: str, circuit: Circuit, model: Model) -> list[tuple[str, int]]:
    """The nodes that a name of a node or of a group stands for."""
    try:
        parse_node(name)
    except DataError:
        group = group_of(name, circuit, model.network.config)
        return [(group.key, channel) for channel in group.channels.tolist()]
    return [check_node(name, model)]


@dataclass
class OpenSession:
    """An opened circuit of an open model."""

    found: Found
    model: Model
    circuit: Circuit
    prompts: Prompts
    """The first of its test pairs."""
    total: int
    """How many test pairs it has."""
    turns: Turns
    known: dict[str, Tensor] = field(default_factory=dict)
    """Logits of the full model and of the unedited circuit."""

    @property
    def ablation(self) -> Ablation:
        """What stands for what is off: values of other prompts would need pairs of pairs."""
        return "zero" if self.circuit.ablation == "zero" else "mean"

    def strengths(self, work: Work) -> Strengths:
        """What the loss would rise by without each node, to first order, in small turns."""
        few = self.prompts.first(RANKED)
        masks = masks_of(self.model.network, self.circuit.nodes)
        values = ablation_values_of(self.model, self.ablation)
        found = {key: torch.zeros(len(mask)) for key, mask in masks.items()}
        work.total = len(few)
        for start in range(0, len(few), PIECE):
            work.going()
            part = few.take(range(start, min(start + PIECE, len(few))))
            with self.turns.background():
                rises = node_rises(self.model.network, masks, values, part)
            for key, rise in rises.items():
                found[key] += rise.detach() * (len(part) / len(few))
            work.done = start + len(part)
        return found

    def asked(self, switches: Switches, work: Work) -> Tensor:
        """Logits of the edited circuit, calibrated; those it is compared with are made once."""
        wanted = [name for name in ("full", "circuit") if name not in self.known]
        edited = bool(switches.off or switches.held)
        work.total = len(self.prompts) * (len(wanted) + edited)
        for name in wanted:
            self.known[name] = self._run(None if name == "full" else NO_SWITCHES, work)
        return self._run(switches, work) if edited else self.known["circuit"]

    def _run(self, switches: Switches | None, work: Work) -> Tensor:
        """Logits at the answers, piece by piece; of the full model without switches."""
        parts: list[Tensor] = []
        model, masks = (self.model, None) if switches is None else self._switched(switches)
        for start in range(0, len(self.prompts), PIECE):
            work.going()
            part = self.prompts.take(range(start, min(start + PIECE, len(self.prompts))))
            with self.turns.background():
                parts.append(ablated_logits(model, part, masks))
            work.done += len(part)
        logits = torch.cat(parts)
        return logits if switches is None else calibrated(logits, self.circuit.calibration)

    def _switched(self, switches: Switches) -> tuple[Model, dict[str, Tensor] | None]:
        """The model whose means are what stands for what is off, and masks of what runs."""
        masks = masks_of(self.model.network, self.circuit.nodes)
        for key, channel in (*switches.off, *switches.held):
            masks[key][channel] = False
        values = ablation_values_of(self.model, self.ablation)
        if switches.held:
            values = {key: value.clone() for key, value in values.items()}
            for (key, channel), value in switches.held.items():
                values[key][channel] = value
        return dataclasses.replace(self.model, means=values), masks

    def told(self, logits: Tensor, switches: Switches, pair: int, member: str) -> dict[str, Any]:
        """What the edited circuit does, and the chosen prompt's answers.

        Raises:
            DataError: the pair is none of those that were asked.
        """
        if not 0 <= pair < len(self.prompts):
            raise DataError(f"there is no pair {pair} here: {len(self.prompts)} are asked")
        row = 2 * pair + (member == "corrupted")
        chosen = self.prompts.pairs[pair]
        sides = {"full": self.known["full"], "circuit": self.known["circuit"], "edited": logits}
        kept = {key: set(channels.tolist()) for key, channels in self.circuit.nodes.items()}
        gone = sum(channel in kept[key] for key, channel in (*switches.off, *switches.held))
        return {
            "pairs": len(self.prompts),
            "of": self.total,
            "ablation": self.ablation,
            "nodes": self.circuit.n_nodes - gone,
            **{name: self._measured(found) for name, found in sides.items()},
            "chosen": {
                "text": chosen.corrupted if member == "corrupted" else chosen.clean,
                "answer": self._token(int(self.prompts.answer[row])),
                "other": self._token(int(self.prompts.other[row])),
                **{name: self._guess(found[row], row) for name, found in sides.items()},
            },
        }

    def _measured(self, logits: Tensor) -> dict[str, Any]:
        losses = two_answer_loss(logits, self.prompts).double().view(-1, 2).mean(1).numpy()
        low, high = bootstrap(losses, resamples=400)
        return {
            "loss": _finite(float(losses.mean())),
            "interval": [_finite(low), _finite(high)],
            "accuracy": float(is_right(logits, self.prompts).double().mean()),
        }

    def _guess(self, logits: Tensor, row: int) -> dict[str, Any]:
        chances = logits.softmax(0)
        right, wrong = self.prompts.answer[row], self.prompts.other[row]
        top = chances.topk(min(TOP, len(chances))).indices.tolist()
        return {
            "difference": _finite(float(logits[right] - logits[wrong])),
            "top": [{"text": self._token(t), "p": _finite(float(chances[t]))} for t in top],
        }

    def _token(self, token: int) -> str:
        return self.model.tokenizer.token(token)


NO_SWITCHES = Switches(frozenset(), {})


def _finite(value: float) -> float:
    if not abs(value) < float("inf"):
        raise DataError("with these values the model gives no finite answer: hold them nearer to 0")
    return round(value, 6)

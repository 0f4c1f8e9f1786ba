"""Where circuit nodes are tested: the circuit alone, on its own prompts, with nodes changed.

Everything outside the circuit has its ablation value, so a node's part in the circuit shows
undiluted. Half of the pairs are for hypotheses (calibration, signs), the other half for tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacewing.ablation.editor import cut_model
from lacewing.ablation.masks import Masks, masks_of, replacing
from lacewing.ablation.values import AblationValues, ablation_values_of
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Ablation, Circuit
from lacewing.errors import DataError
from lacewing.explain import calls
from lacewing.explain.change import Alone, Change, after, hooks
from lacewing.explain.columns import Columns
from lacewing.explain.library import Library
from lacewing.explain.predicate import Predicate
from lacewing.explain.text import lexed
from lacewing.model.sites import parse_node
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.scoring import two_answer_loss

DRAWS = 5
"""Random halves of what is outside the circuit."""
FEWEST = 8
"""Pairs of prompts without which nothing can be tested."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A circuit on its prompts."""

    whole: Model
    """The circuit's model as it is."""
    model: Model
    """The same with the edges cut that the circuit lacks."""
    circuit: Circuit
    prompts: Prompts
    columns: Columns
    """Truth over the prompts' tokens, one sequence after the other."""
    there: Bool[Tensor, "sequence token"]
    """Which places of the padded prompts hold a token."""
    ablation_values: AblationValues
    """What stands for the rest of the model."""
    seed: int = 0
    """Draws what else runs in `halves`."""

    @classmethod
    def of(
        cls, model: Model, circuit: Circuit, library: Library, pairs: int, seed: int = 0
    ) -> "Stage":
        """The first pairs of a circuit's test prompts.

        Raises:
            DataError: the circuit has too few pairs.
        """
        if len(circuit.pairs) < FEWEST:
            raise DataError(
                f"the circuit for {circuit.task} has {len(circuit.pairs)} pairs of prompts; "
                f"testing what its nodes mean needs {FEWEST}: prune it again"
            )
        chosen = circuit.pairs[: max(pairs, FEWEST)]
        prompts = encode(chosen, model.tokenizer, model.network.config.context)
        spared = model.network.spared
        rows = [
            row[spared : int(end) + 1].tolist()
            for row, end in zip(prompts.tokens, prompts.last, strict=True)
        ]
        text = lexed(rows, library.text.pieces, library.text.language)
        place = torch.arange(prompts.tokens.shape[1])[None]
        there = (place <= prompts.last[:, None]) & (place >= spared)
        ablation: Ablation = "zero" if circuit.ablation == "zero" else "mean"
        cut = cut_model(model, circuit, ablation)
        values = ablation_values_of(model, ablation)
        return cls(model, cut, circuit, prompts, Columns(text), there, values, seed)

    def truth(self, predicate: Predicate) -> Bool[Tensor, "sequence token"]:
        """Where a predicate holds in the padded prompts."""
        return self.spread(torch.from_numpy(self.columns.truth(predicate))).bool()

    def spread(self, flat: Tensor) -> Float[Tensor, "sequence token"] | Tensor:
        """Values of all tokens one after the other, as padded sequences."""
        out = torch.zeros(self.there.shape, dtype=flat.dtype)
        out[self.there] = flat
        return out

    def logits(
        self,
        changes: Sequence[Change] = (),
        base: Mapping[str, SiteHook] | None = None,
    ) -> Float[Tensor, "sequence vocab"]:
        """Logits of the circuit with nodes changed after the others got their ablation values."""
        if base is None and self._alone is not None:
            return calibrated(self._alone.logits(changes), self.circuit.calibration)
        ground = self.base if base is None else base
        edits = after(ground, hooks(changes))
        logits = calls.answers(self.model, self.prompts.tokens, self.prompts.last, edits)
        # The circuit's calibration belongs to the circuit; with nothing ablated the model runs.
        return calibrated(logits, self.circuit.calibration) if ground else logits

    @cached_property
    def base(self) -> Mapping[str, SiteHook]:
        """Edits that leave the circuit alone."""
        masks = masks_of(self.model.network, self.circuit.nodes)
        return alone(self.model, masks, self.ablation_values)

    @cached_property
    def _alone(self) -> Alone | None:
        """The circuit alone, compiled; models of others are run by hooks."""
        if self.model.is_open:
            return None
        return Alone(self.model, self.circuit, self.ablation_values, self.prompts)

    @cached_property
    def full(self) -> Float[np.ndarray, " pair"]:
        """Losses of the circuit as it is."""
        return self.losses()

    @cached_property
    def running(self) -> Float[np.ndarray, " pair"]:
        """Losses of the model with nothing ablated."""
        return self.losses(base={})

    @cached_property
    def margins(self) -> Float[np.ndarray, " sequence"]:
        """Margins of the circuit as it is."""
        return self.margin()

    @cached_property
    def halves(self) -> Sequence[tuple[Mapping[str, SiteHook], Float[np.ndarray, " pair"]]]:
        """Random halves of what is outside the circuit left running, with the losses then."""
        dice = np.random.default_rng(self.seed)
        inside = masks_of(self.model.network, self.circuit.nodes)
        values = ablation_values_of(self.model, self.circuit.ablation)
        found = []
        for _ in range(DRAWS):
            masks = {k: m | torch.from_numpy(dice.random(len(m)) < 0.5) for k, m in inside.items()}
            base = alone(self.model, masks, values)
            found.append((base, self.losses(base=base)))
        return found

    def losses(
        self,
        changes: Sequence[Change] = (),
        base: Mapping[str, SiteHook] | None = None,
    ) -> Float[np.ndarray, " pair"]:
        """Mean task loss of every pair."""
        logits = self.logits(changes, base)
        return two_answer_loss(logits, self.prompts).double().view(-1, 2).mean(1).numpy()

    def margin(self, changes: Sequence[Change] = ()) -> Float[np.ndarray, " sequence"]:
        """How much each prompt's right answer beats its partner's, in nats."""
        return self.margins_of(self.logits(changes))

    def margins_of(self, logits: Float[Tensor, "sequence vocab"]) -> Float[np.ndarray, " sequence"]:
        """The same, of given logits."""
        right = logits.gather(1, self.prompts.answer[:, None])
        wrong = logits.gather(1, self.prompts.other[:, None])
        return (right - wrong)[:, 0].double().numpy()

    def values(self, node: str) -> Float[Tensor, "sequence token"]:
        """The node's values in the circuit."""
        key, channel = parse_node(node)
        seen: list[Tensor] = []

        def keep(value: Tensor) -> Tensor:
            seen.append(value[..., channel].float().clone())
            return value

        edits = after(self.base, {key: keep})
        calls.answers(self.model, self.prompts.tokens, self.prompts.last, edits)
        return seen[0]

    @property
    def half(self) -> int:
        """Pairs before this one are for hypotheses."""
        return len(self.prompts) // 2


def alone(model: Model, masks: Masks, values: AblationValues) -> dict[str, SiteHook]:
    """Edits that give what is outside of masks its ablation value, where tokens are not spared."""
    edits, spared = replacing(masks, values), model.network.spared

    def later(hook: SiteHook) -> SiteHook:
        return lambda value: torch.cat([value[:, :spared], hook(value[:, spared:])], dim=1)

    return {key: later(hook) for key, hook in edits.items()} if spared else edits

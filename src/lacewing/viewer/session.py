"""One opened circuit with its model and test prompts in memory, ready to be asked."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from lacewing.ablation.masks import masks_of
from lacewing.ablation.prefixes import UniquePrefixes, unique_prefixes
from lacewing.ablation.run import ablated_logits
from lacewing.ablation.values import ablation_values_of
from lacewing.circuit.calibration import calibrated
from lacewing.circuit.circuit import Ablation, Circuit
from lacewing.errors import DataError
from lacewing.model.hooks import edit
from lacewing.model.sites import parse_node
from lacewing.model.store import Model
from lacewing.model.transformer import SiteHook
from lacewing.statistics import bootstrap
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.scoring import is_right, two_answer_loss
from lacewing.viewer.answers import Answered, Ask, Asked, Edit, Guess, Likely, Measured
from lacewing.viewer.edits import Changes, Prepared, edited, prepare
from lacewing.viewer.reading import TaskTokens
from lacewing.viewer.running import logits_at, next_logits, running
from lacewing.viewer.things import Found
from lacewing.viewer.turns import Turns

TOP = 10
"""Tokens shown of a distribution."""


@dataclass
class Session:
    """An opened circuit."""

    found: Found
    model: Model
    circuit: Circuit
    prompts: Prompts
    """Its test pairs; the first of them where nodes are latents."""
    turns: Turns
    pieces: list[UniquePrefixes] = field(init=False, repr=False)
    _known: dict[str, Tensor] = field(default_factory=dict)
    """Logits at the answers: of the full model, and of the circuit under each ablation."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def tokens(self) -> TaskTokens:
        """The tokens that the labels of nodes may name."""
        return TaskTokens.of(self.model, self.circuit)

    def __post_init__(self) -> None:
        with self.turns.person():
            self.pieces = unique_prefixes(self.model.network, self.prompts)

    def ask(self, ask: Ask) -> Asked:
        """Measure an edited circuit on the test prompts, and answer the chosen one.

        Raises:
            DataError: an edit or a prompt that does not exist.
            BusyError: others are being served.
        """
        start = time.perf_counter()
        changes = Changes.of(ask.edits, self.model)
        ablation = ask.ablation or self.circuit.ablation
        with self.turns.person():
            plain = self._circuit_logits(ablation)
            circuit = edited(self.circuit, self.model, changes)
            prepared = prepare(circuit, self.model, ablation, changes)
            logits = self._run(prepared, ablation) if ask.edits else plain
            chosen = self._chosen(ask, prepared, logits)
        done = self._measured(logits)
        return Asked(
            **done.model_dump(),
            pairs=len(self.prompts),
            ablation=ablation,
            nodes=circuit.n_nodes,
            edges=circuit.n_edges,
            unedited=self._measured(plain),
            full=self._full_measured(),
            chosen=chosen,
            milliseconds=1000 * (time.perf_counter() - start),
        )

    def losses(
        self, edits: Sequence[Edit], prompts: Prompts, pieces: list[UniquePrefixes]
    ) -> Tensor:
        """Task loss per sequence of the edited circuit under its own ablation; takes no turn."""
        changes = Changes.of(edits, self.model)
        circuit = edited(self.circuit, self.model, changes)
        prepared = prepare(circuit, self.model, self.circuit.ablation, changes)
        logits = self._run(prepared, self.circuit.ablation, prompts, pieces)
        return two_answer_loss(logits, prompts)

    def unedited(self) -> Tensor:
        """Task loss per test prompt of the circuit as it is; takes no turn."""
        return two_answer_loss(self._circuit_logits(self.circuit.ablation), self.prompts)

    def answer_pair(self, pair: int, member: str) -> Answered:
        """A test prompt, answered by the full model, the circuit, and the model without it."""
        sequence = self.sequence(pair, member)
        with self.turns.person():
            return self._answer(*self._pair_tokens(sequence), sequence)

    def answer_text(self, text: str) -> Answered:
        """A typed prompt, answered by the full model, the circuit, and the model without it."""
        tokens, dropped = self.encode(text)
        with self.turns.person():
            return self._answer(text, tokens, dropped, None)

    def measured_circuit(self, edits: Sequence[Edit], ablation: Ablation | None) -> Circuit:
        """The edited circuit as one to save, with its loss on the test prompts.

        Raises:
            DataError: a node is held at a value, which no circuit can say.
        """
        changes = Changes.of(edits, self.model)
        if changes.values:
            raise DataError("a circuit holds no set values: undo them, then save")
        circuit = replace(
            edited(self.circuit, self.model, changes), ablation=ablation or self.circuit.ablation
        )
        if not circuit.n_nodes:
            raise DataError("nothing is left of the circuit: undo some edits, then save")
        with self.turns.person():
            prepared = prepare(circuit, self.model, circuit.ablation, NO_CHANGES)
            loss = self._whole_loss(prepared, circuit.ablation)
        losses = {k: v for k, v in self.circuit.losses.items() if k == "full"}
        changed = [edit.model_dump(exclude_none=True) for edit in edits]
        return replace(
            circuit,
            losses=losses | {"circuit": loss},
            edited_from=self.found.id,
            edits=changed,
        )

    def _whole_loss(self, prepared: Prepared, ablation: Ablation) -> float:
        """The task loss on all test pairs of the circuit."""
        prompts, pieces = self.prompts, self.pieces
        if len(prompts) < len(self.circuit.pairs):
            context = self.model.network.config.context
            prompts = encode(self.circuit.pairs, self.model.tokenizer, context)
            pieces = unique_prefixes(self.model.network, prompts)
        logits = self._run(prepared, ablation, prompts, pieces)
        return float(two_answer_loss(logits, prompts).double().mean())

    def warm(self) -> None:
        """Run what the first questions need, in small background turns."""
        parts = []
        for piece in range(0, len(self.prompts), 16):
            with self.turns.background():
                few = self.prompts.take(range(piece, min(piece + 16, len(self.prompts))))
                parts.append(ablated_logits(self.model, few, None))
        with self._lock:
            self._known["full"] = torch.cat(parts)
        with self.turns.background():
            self._circuit_logits(self.circuit.ablation)

    def encode(self, text: str) -> tuple[list[int], int]:
        """Tokens of a text, the last that fit, and how many were left out.

        Raises:
            DataError: the text has no tokens.
        """
        tokens = self.model.tokenizer.encode(text)
        if not tokens:
            raise DataError("the prompt is empty: type at least one character")
        context = self.model.network.config.context
        return tokens[-context:], max(0, len(tokens) - context)

    def sequence(self, pair: int, member: str) -> int:
        """The row of a test prompt.

        Raises:
            DataError: fewer pairs are asked.
        """
        if not 0 <= pair < len(self.prompts):
            raise DataError(f"there is no pair {pair} here: {len(self.prompts)} are asked")
        return 2 * pair + (member == "corrupted")

    def _run(
        self,
        prepared: Prepared,
        ablation: Ablation,
        prompts: Prompts | None = None,
        pieces: list[UniquePrefixes] | None = None,
    ) -> Tensor:
        """Calibrated logits at the answers of the test prompts, or of others."""
        prompts = prompts or self.prompts
        model, masks = prepared.model, dict(prepared.masks)
        if ablation != "resample":
            asked = self.pieces if pieces is None else pieces
            logits = logits_at(model.network, masks, model.means, asked)
        else:
            hooks: dict[str, SiteHook] = {}
            for node in prepared.values:  # held values are no prompt's: they are set by a hook
                key, channel = parse_node(node)
                masks[key] = masks[key].clone()
                masks[key][channel] = True
                hooks[key] = _holding(prepared, key)
            with edit(model.network, hooks):
                logits = ablated_logits(model, prompts, masks, "resample")
        return calibrated(logits, self.circuit.calibration)

    def _circuit_logits(self, ablation: Ablation) -> Tensor:
        """The circuit's logits on the test prompts, from memory after the first time."""
        if ablation not in self._known:
            prepared = prepare(self.circuit, self.model, ablation, NO_CHANGES)
            self._known[ablation] = self._run(prepared, ablation)
        return self._known[ablation]

    def _measured(self, logits: Tensor) -> Measured:
        losses = two_answer_loss(logits, self.prompts).double().view(-1, 2).mean(1).numpy()
        return Measured(
            loss=float(losses.mean()),
            accuracy=float(is_right(logits, self.prompts).double().mean()),
            interval=bootstrap(losses, resamples=400),
        )

    def _full_measured(self) -> Measured:
        with self._lock:
            logits = self._known.get("full")
        if logits is None:
            return Measured(loss=self.circuit.losses.get("full"), accuracy=None, interval=None)
        return self._measured(logits)

    def _chosen(self, ask: Ask, prepared: Prepared, logits: Tensor) -> Answered | None:
        """The chosen prompt's answer, with that of the edited circuit."""
        if ask.text is not None:
            tokens, dropped = self.encode(ask.text)
            answered = self._answer(ask.text, tokens, dropped, None)
            live = running(prepared.model.network, prepared.masks, prepared.model.means)
            row = calibrated(next_logits(live, tokens), self.circuit.calibration)[0]
            answered.edited = self._guess(row, None)
            return answered
        if ask.pair is None:
            return None
        sequence = self.sequence(ask.pair, ask.member)
        answered = self._answer(*self._pair_tokens(sequence), sequence)
        answered.edited = self._guess(logits[sequence], sequence)
        return answered

    def _pair_tokens(self, sequence: int) -> tuple[str, list[int], int]:
        pair = self.prompts.pairs[sequence // 2]
        tokens = self.prompts.tokens[sequence, : int(self.prompts.last[sequence]) + 1].tolist()
        return (pair.corrupted if sequence % 2 else pair.clean), tokens, 0

    def _answer(self, text: str, tokens: list[int], dropped: int, sequence: int | None) -> Answered:
        network, prompts = self.model.network, self.prompts
        ablation_values = ablation_values_of(self.model, self.circuit.ablation)
        alone = prepare(self.circuit, self.model, self.circuit.ablation, NO_CHANGES)
        live = running(alone.model.network, alone.masks, ablation_values)
        complement = masks_of(network, self.circuit.nodes, complement=True)
        rest = running(network, complement, ablation_values)
        circuit = calibrated(next_logits(live, tokens), self.circuit.calibration)
        vocabulary = self.model.tokenizer
        return Answered(
            text=text,
            tokens=[{"id": t, "text": vocabulary.token(t)} for t in tokens],
            dropped=dropped,
            answer=None if sequence is None else int(prompts.answer[sequence]),
            other=None if sequence is None else int(prompts.other[sequence]),
            full=self._guess(next_logits(network, tokens)[0], sequence),
            circuit=self._guess(circuit[0], sequence),
            without=self._guess(next_logits(rest, tokens)[0], sequence),
        )

    def _guess(self, logits: Tensor, sequence: int | None) -> Guess:
        p = logits.softmax(0)

        def likely(token: int) -> Likely:
            return Likely(
                token=token,
                text=self.model.tokenizer.token(token),
                p=round(float(p[token]), 6),
                logit=round(float(logits[token]), 5),
            )

        loss = None
        if sequence is not None:
            right, wrong = self.prompts.answer[sequence], self.prompts.other[sequence]
            loss = float(torch.nn.functional.softplus(logits[wrong] - logits[right]))
        return Guess(
            top=[likely(t) for t in p.topk(min(TOP, len(p))).indices.tolist()],
            answers=[likely(t) for t in self.circuit.answers],
            loss=loss,
        )


NO_CHANGES = Changes(frozenset(), frozenset(), frozenset(), {})


def _holding(prepared: Prepared, key: str) -> SiteHook:
    """A hook that holds the values set at a site."""
    held = [(parse_node(n)[1], v) for n, v in prepared.values.items() if parse_node(n)[0] == key]
    channels = torch.tensor([channel for channel, _ in held])
    values = torch.tensor([value for _, value in held])

    def hook(value: Tensor) -> Tensor:
        value = value.clone()
        value[..., channels] = values
        return value

    return hook

"""Attack: a circuit that is understood says where the full model fails.

    saved circuit + natural edits -> prompts on which the circuit turns from right to wrong
    the full model on these       -> hit: right before, wrong after
    controls                      -> random edits of the same size: of any kind; of the same kind;
                                     of the same kind on the same prompts

The search sees the full model's margins on the prompts as they are, and what the circuit says of
every edit. The edits keep the right answer right by construction (see
`attacks/edits`). The paper's two attacks, longer lists and an unmatched bracket in a comment, are
of these kinds (method section 9.6).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from lacewing.attacks.edits import WHY
from lacewing.attacks.material import material
from lacewing.attacks.search import Candidate, Scale, Search, answer_margins, chosen, matched, turns
from lacewing.circuit.circuit import Circuit
from lacewing.errors import ConfigError, DataError
from lacewing.model.store import Model
from lacewing.programs.reference import Reference
from lacewing.progress import progress
from lacewing.statistics import LEVEL, rate_ratio, wilson
from lacewing.tasks.batch import encode
from lacewing.tasks.pair import Pair
from lacewing.tasks.task import seeded

CONTROLS = {
    "random": "random edits of other prompts, any kind, same size",
    "same_kind": "random edits of other prompts, same kind and size",
    "same_prompt": "random edits of the same prompts, same kind and size",
}
RESAMPLES = 4000


@dataclass(frozen=True)
class Attempt:
    """One edited prompt, tried on the full model."""

    kind: str
    pieces: tuple[str, ...]
    prompt: str
    right: str
    wrong: str
    size: int
    """Tokens put in."""
    circuit_before: float
    """The circuit's margin for the right answer on the prompt as it was, nats."""
    circuit: float
    """And on the edited one."""
    predicted: float
    """What the full model's margin on it should be by that, nats."""
    before: float
    """The full model's margin on the prompt as it was, nats."""
    after: float
    """And on the edited one."""
    source: str

    @property
    def counts(self) -> bool:
        """Whether the full model was right before."""
        return self.before > 0

    @property
    def hit(self) -> bool:
        """Whether it was right before and errs now."""
        return self.before > 0 >= self.after


@dataclass(frozen=True)
class Rate:
    """How many of some edits the full model, right before, errs on."""

    hits: int
    n: int
    rate: float
    interval: tuple[float, float]
    """Wilson, 95 %."""


@dataclass(frozen=True)
class Attacks:
    """The attacks on one circuit's model, and their controls."""

    task: str
    model_id: str
    seed: int
    proposals: int
    """Edited prompts that the circuit was asked about."""
    predicted: int
    """Of these, on how many the circuit turns from right to wrong, and the model with it."""
    attacks: tuple[Attempt, ...]
    random: tuple[Attempt, ...]
    """Random edits of other prompts, of any kind: same member and size."""
    same_kind: tuple[Attempt, ...]
    """The same, of the attack's kind."""
    same_prompt: tuple[Attempt, ...]
    """Random edits of the attacked prompts: same kind and size."""

    def rates(self) -> dict[str, Rate]:
        """Hit rates of the attacks and both controls."""
        return {name: rate(getattr(self, name)) for name in ("attacks", *CONTROLS)}

    def ratio(self, control: str) -> dict[str, Any]:
        """The attacks' hit rate over a control's; None where the control never hits."""
        ours, theirs = rate(self.attacks), rate(getattr(self, control))
        value = ours.rate / theirs.rate if theirs.hits else None
        both = (ours.hits, ours.n), (theirs.hits, theirs.n)
        return {"value": value, "interval": rate_ratio(*both, RESAMPLES, self.seed)}

    def as_json(self) -> dict[str, Any]:
        """Plain values, as saved."""
        kinds = sorted({a.kind for a in self.attacks})
        plain = {
            name: [asdict(a) | {"hit": a.hit, "why": WHY[a.kind]} for a in getattr(self, name)]
            for name in ("attacks", *CONTROLS)
        }
        return {
            "task": self.task,
            "model_id": self.model_id,
            "seed": self.seed,
            "level": LEVEL,
            "groups": {"attacks": "attacks that the circuit chose"} | CONTROLS,
            "proposals": self.proposals,
            "predicted": self.predicted,
            "rates": {name: asdict(found) for name, found in self.rates().items()},
            "ratio": {name: self.ratio(name) for name in CONTROLS},
            "by_kind": {
                kind: {
                    name: asdict(rate([a for a in getattr(self, name) if a.kind == kind]))
                    for name in ("attacks", *CONTROLS)
                }
                for kind in kinds
            },
            **plain,
        }


def attack(
    model: Model,
    circuit: Circuit,
    pairs: Sequence[Pair] | None = None,
    *,
    budget: int = 4000,
    tests: int = 100,
    seed: int = 0,
    corpus: str | None = None,
    quiet: bool = False,
) -> Attacks:
    """Find edits on which the circuit errs, and test them and random ones on the full model.

    Args:
        model: The model the circuit was found in.
        circuit: The circuit.
        pairs: Test pairs, which are edited; by default its own.
        budget: Edited pairs that the circuit is asked about.
        tests: Attacks to try on the full model, at most one per pair.
        seed: Of edits, controls and intervals.
        corpus: Where pieces come from; by default the model's corpus.
        quiet: Report no progress.

    Raises:
        ConfigError: a budget or number of tests below 1; a circuit of resample ablation.
        DataError: the corpus has nothing to make edits of, or no pair can be edited.
        MismatchError: the circuit belongs to another model.

    Example:
        >>> model, circuit = load("builtin:taught-tiny"), Circuit.load("runs/indent")
        >>> found = attack(model, circuit, budget=64, tests=4, quiet=True)
        >>> found.rates()["attacks"].n <= 4
        True
    """
    if budget < 2 or tests < 1:
        raise ConfigError(f"a budget of {budget} and {tests} tests are too few: at least 2 and 1")
    pairs, reference = circuit.pairs if pairs is None else pairs, Reference(model, circuit)
    longest = model.network.config.context
    pieces = material(corpus or model.corpus, seed)
    full = _full_margins(model, list(pairs))
    search = Search(tuple(pairs), reference, model.tokenizer, longest, pieces, full, seed)
    if not search.usable:
        raise DataError(
            f"none of the {len(pairs)} test pairs of {circuit.task} can be edited: the lines above "
            "their decisions are no whole statements"
        )
    with progress(f"attack {circuit.task}", budget, "edits", not quiet) as bar:
        pool = search.random(budget // 2, bar.update)
        rest = budget - budget // 2
        more = search.guided(pool, rest, lambda done: bar.update(budget // 2 + done))
    every = [*pool, *more]
    found = chosen(every, search.scale, tests)
    predicted = sum(turns(c, search.scale) for c in every)
    taken = {c.edit for c in found}
    spare = [c for c in pool if c.edit not in taken]
    others = {
        name: matched(found, spare, seeded(seed, "control"), name == "same_kind")
        for name in ("random", "same_kind")
    }
    same = search.alike(found)

    def tried(candidates: Sequence[Candidate]) -> tuple[Attempt, ...]:
        return _attempts(model, candidates, search.scale)

    return Attacks(
        task=circuit.task,
        model_id=model.id,
        seed=seed,
        proposals=len(every),
        predicted=int(predicted),
        attacks=tried(found),
        random=tried(others["random"]),
        same_kind=tried(others["same_kind"]),
        same_prompt=tried(same),
    )


def _attempts(model: Model, candidates: Sequence[Candidate], scale: Scale) -> tuple[Attempt, ...]:
    """The full model's margins on some edited prompts."""
    if not candidates:
        return ()
    after = _full_margins(model, [c.edit.pair for c in candidates])
    found = []
    for candidate, margins in zip(candidates, after, strict=True):
        pair, first = candidate.edit.pair, candidate.member == 0
        answers = pair.clean_answer, pair.corrupted_answer
        found.append(
            Attempt(
                kind=candidate.edit.kind,
                pieces=candidate.edit.pieces,
                prompt=pair.clean if first else pair.corrupted,
                right=answers[candidate.member],
                wrong=answers[1 - candidate.member],
                size=candidate.size,
                circuit_before=float(scale.circuit[candidate.place]),
                circuit=candidate.margin,
                predicted=candidate.predicted,
                before=float(scale.full[candidate.place]),
                after=float(margins[candidate.member]),
                source=pair.source,
            )
        )
    return tuple(found)


@torch.inference_mode()
def _full_margins(model: Model, pairs: Sequence[Pair]) -> np.ndarray:
    """The full model's margins for the right answer, [pair, member]."""
    prompts = encode(pairs, model.tokenizer, model.network.config.context)
    pieces = []
    for start in range(0, len(prompts), 128):
        part = prompts.take(range(start, min(start + 128, len(prompts))))
        pieces.append(answer_margins(model.network(part.tokens, at=part.last), part))
    return np.concatenate(pieces)


def rate(attempts: Sequence[Attempt]) -> Rate:
    """The hit rate of some attempts, among those the full model was right on before."""
    counted = [a for a in attempts if a.counts]
    hits, n = sum(a.hit for a in counted), len(counted)
    return Rate(hits, n, hits / n if n else 0.0, wilson(hits, n))

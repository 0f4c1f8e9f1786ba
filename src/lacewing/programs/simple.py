"""A program short enough to read: what hardly varies is frozen, what hardly matters is left out.

    AbsTopK            a fixed threshold where that brings it nearer, else left out
    norms              a constant each
    positions of heads without anything live, the mass of patterns, the embedding beside what
    kept nodes wrote, the bigram table: their means
    tables             the strongest tokens alone, as few as do

Everything is chosen on validation prompts, to stay near the circuit's margins; how near it came is
measured on test prompts by whoever prints it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from lacewing.programs.lines import (
    Drop,
    Keep,
    Line,
    Linear,
    Look,
    Plan,
    Scale,
    Table,
    Term,
    Threshold,
    Values,
    without_idle,
)

SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 48)
"""Entries a table is cut to, the fewest first."""
WORSE = 1.3
"""Factor by which cutting all tables may raise the disagreement, each its share of it."""
BETTER = 0.97
"""Factor by which a threshold has to lower it."""
ROUNDS = 3
STEPS = (0.7, 0.85, 0.95, 1.05, 1.18, 1.4)
"""Factors tried for a norm's constant, round by round with a smaller reach."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Prompts to choose on, and what the circuit says there."""

    ids: Int[np.ndarray, "batch token"]
    last: Int[np.ndarray, " batch"]
    wanted: Float[np.ndarray, "batch wanted"]
    """The circuit's logits of the answers."""

    @property
    def real(self) -> np.ndarray:
        """Which places hold tokens, not padding."""
        return np.arange(self.ids.shape[1]) <= self.last[:, None]

    def values(self, plan: Plan) -> Values:
        """Everything a plan computes on these prompts."""
        values: Values = {"ids": self.ids}
        for line in plan.lines:
            line.run(values)
        return values

    def error(self, plan: Plan) -> float:
        """Root mean square difference of the answers' relative logits, nats.

        Differences that are the same on all prompts do not count; `_centred` removes them.
        """
        gap = plan.run(self.ids, self.last) - self.wanted
        gap = gap - gap.mean(1, keepdims=True)
        return float(np.sqrt(np.square(gap - gap.mean(0)).mean()))


def simple_plan(plan: Plan, sample: Sample, counts: Float[np.ndarray, " vocab"]) -> Plan:
    """The simplified program of an exact one.

    Args:
        plan: The exact program.
        sample: Validation prompts.
        counts: How common every token is; tables keep the tokens of largest count x value^2.
    """
    plan = _thresholds(plan, sample)
    plan = _frozen_tables(plan, sample)
    plan, scales = _constant_scales(plan, sample)
    plan = _fitted(plan, scales, sample)
    plan = _centred(_cut_tables(plan, sample, counts), sample)
    return _with(plan, _inlined(list(plan.lines), set(plan.answers.values())))


def _with(plan: Plan, lines: Sequence[Line]) -> Plan:
    return dataclasses.replace(plan, lines=without_idle(list(lines), plan.answers))


def _thresholds(plan: Plan, sample: Sample) -> Plan:
    """AbsTopK as thresholds, as far as they are worth a line."""
    exact = sample.values(plan)
    bare = _with(plan, [line for line in plan.lines if not isinstance(line, Keep | Drop)])
    before, best = sample.values(bare), sample.error(bare)
    for line in plan.lines:
        if isinstance(line, Keep | Drop):
            for name in line.made():
                size = _split(np.abs(before[name])[sample.real], exact[name][sample.real] != 0)
                at = max(i for i, other in enumerate(bare.lines) if name in other.made())
                lines = [*bare.lines[: at + 1], Threshold(name, size), *bare.lines[at + 1 :]]
                tried = dataclasses.replace(bare, lines=tuple(lines))
                error = sample.error(tried)
                if error < BETTER * best:
                    bare, best = tried, error
    return bare


def _split(sizes: np.ndarray, kept: np.ndarray) -> float:
    """The threshold that best parts what was kept from what was not."""
    order = np.argsort(sizes, kind="stable")
    sizes, kept = sizes[order], kept[order]
    wrong = np.concatenate([[0], np.cumsum(kept)])  # kept ones below the threshold
    wrong = wrong + np.concatenate([np.cumsum(~kept[::-1])[::-1], [0]])  # others above it
    place = int(np.argmin(wrong))
    return float(sizes[place - 1]) if place else 0.0


def _frozen_tables(plan: Plan, sample: Sample) -> Plan:
    """Helper tables and masses become their means over the prompts."""
    values, real = sample.values(plan), sample.real
    rows = np.arange(len(sample.ids))
    late = {"embedding", "bigram"}

    def mean(name: str, value: np.ndarray) -> float:
        if name.partition(" ")[0] in late:
            return float(value[rows, sample.last].mean())
        return float(value[real].mean())

    frozen = {
        line.name: mean(line.name, values[line.name])
        for line in plan.lines
        if isinstance(line, Table) and not line.node
    }
    masses = {
        line.name: float(values[line.name].sum(-1)[real].mean())
        for line in plan.lines
        if isinstance(line, Look)
    }
    read_later = _read_embeddings(plan)
    frozen = {name: value for name, value in frozen.items() if name not in read_later}
    lines: list[Line] = []
    for line in plan.lines:
        if isinstance(line, Linear):
            line = _substituted(line, frozen, masses)
        elif isinstance(line, Scale) and line.table in frozen:
            constant = line.constant + frozen[line.table]
            line = dataclasses.replace(line, table=None, constant=constant)
        lines.append(line)
    return _with(plan, lines)


def _read_embeddings(plan: Plan) -> set[str]:
    """Embedding tables that a later block reads for themselves, not beside a write."""
    return {
        line.terms[0].name or ""
        for line in plan.lines
        if isinstance(line, Linear) and line.over is not None and len(line.terms) == 1
    }


def _substituted(line: Linear, frozen: dict[str, float], masses: dict[str, float]) -> Linear:
    """A sum with some of its summands made constant."""
    terms, bias = [], line.bias
    for term in line.terms:
        if term.look is None and term.name in frozen:
            bias += term.weight * frozen[term.name]
        elif term.name is None:
            bias += term.weight * masses[term.look or ""]
        else:
            terms.append(term)
    return dataclasses.replace(line, terms=tuple(terms), bias=bias)


def _constant_scales(plan: Plan, sample: Sample) -> tuple[Plan, dict[str, float]]:
    """The plan without its norms, and what each of them was typically."""
    values, rows = sample.values(plan), np.arange(len(sample.ids))
    scales = {}
    for line in plan.lines:
        if isinstance(line, Scale):
            value = values[line.name]
            chosen = value[rows, sample.last] if line.name == "rms final" else value[sample.real]
            scales[line.name] = float(np.exp(np.log(chosen).mean()))
    return plan, scales


def _divided(plan: Plan, scales: dict[str, float]) -> Plan:
    """The plan with its divisions carried out."""
    lines: list[Line] = []
    for line in plan.lines:
        if isinstance(line, Linear) and line.over in scales:
            by = 1 / scales[line.over]
            terms = tuple(dataclasses.replace(t, weight=t.weight * by) for t in line.terms)
            line = dataclasses.replace(line, terms=terms, bias=line.bias * by, over=None)
        lines.append(line)
    return _with(plan, lines)


def _fitted(plan: Plan, scales: dict[str, float], sample: Sample) -> Plan:
    """The norms' constants, moved one by one to where the disagreement is least."""

    def tried(scales: dict[str, float]) -> tuple[float, Plan]:
        made = _divided(plan, scales)
        return sample.error(made), made

    best, made = tried(scales)
    for turn in range(ROUNDS):
        for name in scales:
            for factor in STEPS:
                moved = scales | {name: scales[name] * factor ** (0.5**turn)}
                error, other = tried(moved)
                if error < best:
                    best, made, scales = error, other, moved
    return made


def _centred(plan: Plan, sample: Sample) -> Plan:
    """The answers' constants, such that no answer is favoured on average."""
    got = plan.run(sample.ids, sample.last)
    shift = (sample.wanted - got).mean(0)
    of = {name: float(s) for name, s in zip(plan.answers.values(), shift, strict=True)}
    lines = [
        dataclasses.replace(line, bias=line.bias + of[line.name])
        if isinstance(line, Linear) and line.name in of
        else line
        for line in plan.lines
    ]
    return _with(plan, lines)


def _cut_tables(plan: Plan, sample: Sample, counts: np.ndarray) -> Plan:
    """Tables of as few entries as hardly change the disagreement; one mean where that will do."""
    best = sample.error(plan)
    tables = sum(isinstance(line, Table) for line in plan.lines)
    each = WORSE ** (1 / max(tables, 1))
    for index, line in enumerate(plan.lines):
        if isinstance(line, Table):
            for choice in _shorter(line, counts, sample):
                lines = [*plan.lines[:index], choice, *plan.lines[index + 1 :]]
                cut = dataclasses.replace(plan, lines=tuple(lines))
                error = sample.error(cut)
                if error <= best * each:
                    plan, best = cut, max(error, best)
                    break
    return plan


def _shorter(line: Table, counts: np.ndarray, sample: Sample) -> list[Line]:
    """Shorter versions of a table, the shortest first."""
    if line.by_position:
        seen = line.values[: sample.ids.shape[1]] @ sample.real.mean(0) / sample.real.mean(0).sum()
        return [Linear(line.name, (), float(seen), node=line.node)]
    mass = np.square(line.values) * counts
    order = np.argsort(-mass, kind="stable")
    shorter: list[Line] = []
    for size in SIZES:
        if size < np.count_nonzero(line.values):
            values = np.zeros_like(line.values)
            values[order[:size]] = line.values[order[:size]]
            shorter.append(dataclasses.replace(line, values=values))
    return shorter


def _inlined(lines: list[Line], answers: set[str]) -> list[Line]:
    """Sums that stand for no node become part of the sums that use them."""
    sums: dict[str, Linear] = {}
    kept: list[Line] = []
    for line in lines:
        if isinstance(line, Linear):
            line = _merged(line, sums)
            plain = not line.node and not line.gelu and line.over is None
            if plain and line.name not in answers:
                sums[line.name] = line
        kept.append(line)
    return kept


def _merged(line: Linear, sums: dict[str, Linear]) -> Linear:
    """A sum with the sums among its summands written out."""
    weights: dict[tuple[str | None, str | None], float] = {}
    bias = line.bias
    for term in line.terms:
        inner = sums.get(term.name or "") if term.look is None else None
        if inner is None:
            parts: Sequence[Term] = [dataclasses.replace(term, weight=1.0)]
        else:
            parts, bias = inner.terms, bias + term.weight * inner.bias
        for part in parts:
            place = part.name, part.look
            weights[place] = weights.get(place, 0.0) + term.weight * part.weight
    terms = tuple(Term(weight, *place) for place, weight in weights.items())
    return dataclasses.replace(line, terms=terms, bias=bias)

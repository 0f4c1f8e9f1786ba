"""The lines a circuit's program is made of: each can be run here and printed as Python.

    Table    quote = QUOTE[ids]                       a number per token id, or per position
    Linear   v201 = 0.3 * quote - 0.1 * pos8 + 0.2    a weighted sum, then GELU or a division
    Scale    rms = np.sqrt((SQUARES[ids] + x10**2) / 320 + EPS)
    Look     look6 = attend(0.18 * pairs(q, k), SINK) who looks at whom in one head
    Keep     v201, v210 = top(3, [v201, v210], ...)   AbsTopK as far as it is not certain
    Drop     quote = drop(quote, QUOTE_DROPPED)        AbsTopK that token and position decide

Here values are [batch, token] and patterns [batch, token, token]; the printed program runs one
sequence, without the batch axis. Both are float64.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from lacewing.errors import DataError

Values = dict[str, np.ndarray]
"""What every name stands for while a program runs; `ids` are the token ids."""

SLACK = 1e-6
"""Share by which another must be larger to count, so that no value loses against itself."""


def gelu(x: np.ndarray) -> np.ndarray:
    """The exact GELU."""
    erf = np.vectorize(math.erf, otypes=[float])
    return np.asarray(0.5 * x * (1 + erf(x / math.sqrt(2))))


@dataclass(frozen=True)
class Term:
    """One summand: weight x name, or weight x (pattern @ name), or weight x (pattern's mass)."""

    weight: float
    name: str | None
    look: str | None = None
    """The attention pattern that mixes the values over earlier tokens."""

    def names(self) -> tuple[str, ...]:
        """What it needs."""
        return tuple(filter(None, (self.name, self.look)))

    def run(self, values: Values) -> np.ndarray:
        """Its value, [batch, token]."""
        if self.look is None:
            return self.weight * values[self.name or ""]
        pattern = values[self.look]
        if self.name is None:
            return self.weight * pattern.sum(-1)
        return self.weight * np.einsum("bts,bs->bt", pattern, values[self.name])


@dataclass(frozen=True)
class Line:
    """What every line has."""

    name: str
    note: str = field(default="", kw_only=True)
    """Comment behind the line."""

    def made(self) -> tuple[str, ...]:
        """Names it makes."""
        return (self.name,)

    def needed(self) -> tuple[str, ...]:
        """Names it uses."""
        raise NotImplementedError

    def run(self, values: Values) -> None:
        """Compute it for a batch."""
        raise NotImplementedError


@dataclass(frozen=True)
class Table(Line):
    """A number per token id, or per position."""

    values: Float[np.ndarray, " vocab"]
    by_position: bool = False
    node: str = ""
    """The kept node this line stands for, if it is one."""

    def needed(self) -> tuple[str, ...]:
        """Nothing but the ids."""
        return ()

    def run(self, values: Values) -> None:
        """Look the values up."""
        ids = values["ids"]
        if self.by_position:
            row = self.values[np.arange(ids.shape[1])]
            values[self.name] = np.broadcast_to(row, ids.shape)
        else:
            values[self.name] = self.values[ids]


@dataclass(frozen=True)
class Linear(Line):
    """A weighted sum, then GELU or a division."""

    terms: tuple[Term, ...]
    bias: float = 0.0
    gelu: bool = False
    over: str | None = None
    """Name of what the sum is divided by."""
    node: str = ""
    """The kept node this line stands for, if it is one."""

    def needed(self) -> tuple[str, ...]:
        """The summands and the divisor."""
        return (*(n for t in self.terms for n in t.names()), *filter(None, [self.over]))

    def run(self, values: Values) -> None:
        """Sum up."""
        total = np.full(values["ids"].shape, float(self.bias))
        for term in self.terms:
            total = total + term.run(values)
        if self.over is not None:
            total = total / values[self.over]
        values[self.name] = gelu(total) if self.gelu else total


@dataclass(frozen=True)
class Scale(Line):
    """The root mean square of the residual stream: what a norm divides by."""

    table: str | None
    """Name of the table with the squares of all that depends on the token alone."""
    constant: float
    """Squares of all that is constant."""
    live: tuple[str, ...]
    """Names of the channels that vary."""
    width: int
    eps: float

    def needed(self) -> tuple[str, ...]:
        """The squares' table and the channels."""
        return (*filter(None, [self.table]), *self.live)

    def run(self, values: Values) -> None:
        """Root of the mean square."""
        total = np.full(values["ids"].shape, self.constant)
        if self.table is not None:
            total = total + values[self.table]
        for name in self.live:
            total = total + values[name] ** 2
        values[self.name] = np.sqrt(total / self.width + self.eps)


@dataclass(frozen=True)
class Look(Line):
    """The attention pattern of one head: logits are a sum of products of queries and keys."""

    pairs: tuple[tuple[float, str, str], ...]
    """Weight, query, key."""
    keys: tuple[tuple[float, str], ...]
    """Weight and key, where the query is constant."""
    queries: tuple[tuple[float, str], ...]
    """Weight and query, where the key is constant; they matter only against a sink."""
    constant: float
    sink: float | None
    """Logit of the sink; None where there is none."""

    def needed(self) -> tuple[str, ...]:
        """Queries and keys."""
        both = [n for _, *names in self.pairs for n in names]
        return (*both, *(n for _, n in self.keys), *(n for _, n in self.queries))

    def run(self, values: Values) -> None:
        """Causal softmax; its rows sum to less than 1 where there is a sink."""
        batch, length = values["ids"].shape
        logits = np.full((batch, length, length), self.constant)
        for weight, query, key in self.pairs:
            logits = logits + weight * values[query][:, :, None] * values[key][:, None, :]
        for weight, key in self.keys:
            logits = logits + weight * values[key][:, None, :]
        for weight, query in self.queries:
            logits = logits + weight * values[query][:, :, None]
        logits = np.where(np.tri(length, dtype=bool), logits, -np.inf)
        top = logits.max(-1, keepdims=True)
        if self.sink is not None:
            top = np.maximum(top, self.sink)
        weights = np.exp(logits - top)
        total = weights.sum(-1, keepdims=True)
        if self.sink is not None:
            total = total + np.exp(self.sink - top)
        values[self.name] = weights / total


@dataclass(frozen=True)
class Drop(Line):
    """AbsTopK where it depends on the token and its position alone: where a value is lost."""

    codes: Int[np.ndarray, " fixed"]
    """Token id x context + position, ascending."""
    context: int

    def needed(self) -> tuple[str, ...]:
        """The value itself."""
        return (self.name,)

    def run(self, values: Values) -> None:
        """Zero it there."""
        ids = values["ids"]
        lost = np.isin(ids * self.context + np.arange(ids.shape[1]), self.codes)
        values[self.name] = np.where(lost, 0.0, values[self.name])


@dataclass(frozen=True)
class Threshold(Line):
    """AbsTopK with a fixed threshold: zero where the value is no larger than `size`."""

    size: float

    def needed(self) -> tuple[str, ...]:
        """The value itself."""
        return (self.name,)

    def run(self, values: Values) -> None:
        """Zero what is small."""
        value = values[self.name]
        values[self.name] = np.where(np.abs(value) > self.size, value, 0.0)


@dataclass(frozen=True)
class Keep(Line):
    """AbsTopK on some values: zero where `room` or more others are larger.

    What is certain (always larger, never larger) is counted already. `name` is that of the table
    of bounds, where there is one: [vocab, rivals + 1], the size a value needs to survive in the
    company of so many larger rivals.
    """

    kept: tuple[str, ...]
    room: int
    rivals: tuple[Linear, ...] = ()
    """Others that vary, as formulas."""
    fixed: Float[np.ndarray, " fixed"] = field(default_factory=lambda: np.zeros(0))
    """Magnitudes of others that do not."""
    bounds: Float[np.ndarray, "vocab wanted"] | None = None
    scale: str | None = None
    """With bounds: what the kept values were divided by."""
    others: tuple[tuple[float, str, bool], ...] = ()
    """With bounds: weight, name, and whether it has been divided by the scale as well."""
    before: tuple[int, ...] = ()
    """With bounds: how many of the others, for every kept value, go first where both are equal."""

    def made(self) -> tuple[str, ...]:
        """The values it thins out."""
        return self.kept

    def needed(self) -> tuple[str, ...]:
        """The values, and all their rivals."""
        inside = [n for rival in self.rivals for n in rival.needed()]
        beside = [n for _, n, _ in self.others]
        return (*self.kept, *inside, *beside, *filter(None, [self.scale]))

    def run(self, values: Values) -> None:
        """Zero what does not survive."""
        if self.bounds is not None:
            self._run_bounds(values)
            return
        own = [np.abs(values[name]) for name in self.kept]
        others = []
        for rival in self.rivals:
            scratch = dict(values)
            rival.run(scratch)
            others.append(np.abs(scratch[rival.name]))
        for name, size in zip(self.kept, own, strict=True):
            above = sum((other > size * (1 + SLACK)).astype(int) for other in (*own, *others))
            above = above + (self.fixed > size[..., None] * (1 + SLACK)).sum(-1)
            values[name] = np.where(above < self.room, values[name], 0.0)

    def _run_bounds(self, values: Values) -> None:
        assert self.bounds is not None
        scale = values[self.scale or ""]
        bounds = self.bounds[values["ids"]]
        others = [
            np.abs(w * values[name]) * (scale if divided else 1.0)
            for w, name, divided in self.others
        ]
        thinned = {}
        for name, before in zip(self.kept, self.before, strict=True):
            size = np.abs(values[name]) * scale
            above = np.zeros_like(size, int)
            for number, other in enumerate(others):
                above += other > size * (1 - SLACK if number < before else 1 + SLACK)
            bound = np.take_along_axis(bounds, above[..., None], axis=-1)[..., 0]
            thinned[name] = np.where(size * (1 + SLACK) >= bound, values[name], 0.0)
        values |= thinned


@dataclass(frozen=True)
class Plan:
    """A program: its lines in order, and how the answers' logits follow from them."""

    lines: tuple[Line, ...]
    answers: Mapping[int, str]
    """Name of the line that holds each answer token's logit."""
    context: int
    """Longest sequence."""
    idle: tuple[str, ...] = ()
    """Kept nodes that nothing depends on."""

    def run(
        self, ids: Int[np.ndarray, "batch token"], last: Int[np.ndarray, " batch"]
    ) -> Float[np.ndarray, "batch wanted"]:
        """Logits of the answers, in the order of `answers`, after each sequence's last token.

        Args:
            ids: Token ids, padded on the right.
            last: Index of each sequence's last token.

        Raises:
            DataError: a sequence is longer than the program's context.
        """
        if ids.shape[1] > self.context:
            raise DataError(
                f"{ids.shape[1]} tokens, but the program knows {self.context} positions"
            )
        values: Values = {"ids": ids}
        for line in self.lines:
            line.run(values)
        rows = np.arange(len(ids))
        return np.stack([values[name][rows, last] for name in self.answers.values()], axis=1)


def without_idle(lines: list[Line], wanted: Mapping[int, str]) -> tuple[Line, ...]:
    """The lines that something wanted depends on."""
    needed, kept = set(wanted.values()), []
    for line in reversed(lines):
        if needed.intersection(line.made()):
            kept.append(line)
            needed.update(line.needed())
    return tuple(reversed(kept))


def nodes_of(lines: tuple[Line, ...]) -> Iterator[str]:
    """The kept nodes that lines stand for."""
    for line in lines:
        if isinstance(line, Table | Linear) and line.node:
            yield line.node

"""What a block reads of the residual stream: norm, AbsTopK, and the kept channels.

Before anything kept has been written, a read is a function of the token alone: one table. After,
it is (embedding + constants + writes) x gain / rms, where the squares of all channels that depend
on the token alone are one number per token.

AbsTopK compares magnitudes before the division, which does not change their order:

    static    |embedding + constants| x gain: known for every token, so the sizes that decide when
              0, 1, 2 ... others are larger are a short row per token
    live      channels that kept nodes write to: compared one by one
    position  channels beside the residual stream: multiplied by the rms, then compared one by one,
              unless they are certainly larger or smaller than anything in question

Of equal sizes AbsTopK keeps the first channel. Weights of 16 bits make equal ones: the same size at
two position channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lacewing.programs.lines import Drop, Keep, Line, Linear, Scale, Table, Term
from lacewing.programs.rivals import Bounds, magnitudes


@dataclass(frozen=True)
class Stage:
    """One read of the residual stream."""

    key: str
    """Site key."""
    kept: np.ndarray
    """Kept channels; those at or above the residual width are positions."""
    gain: np.ndarray
    """Of the norm."""
    static: np.ndarray
    """[vocab, channel] embedding and constants."""
    embedding: np.ndarray
    """[vocab, channel]"""
    filled: np.ndarray
    """[channel] constants alone."""
    written: Mapping[int, list[str]]
    """Kept writes into every live channel."""
    positions: np.ndarray | None
    """[token, channel] normed position channels."""
    keep: int | None
    """How many AbsTopK keeps; None where it does not act."""
    eps: float

    @property
    def width(self) -> int:
        """Residual channels."""
        return len(self.gain)

    @property
    def live(self) -> list[int]:
        """Channels with kept writes, ascending."""
        return sorted(self.written)

    def current(self, channel: int) -> str:
        """Name of a live channel's value at this stage."""
        return f"x {self.key}.{channel}"

    @property
    def scale(self) -> str:
        """Name of the root mean square."""
        return f"rms {self.key}"


def read_lines(stage: Stage, bounds: Bounds) -> list[Line]:
    """The lines of one read; bounds of what they make are added.

    Args:
        stage: The read.
        bounds: Of every name so far.
    """
    if not stage.live:
        return _tables(stage, bounds)
    lines: list[Line] = []
    for channel in stage.live:
        lines += _live_channel(stage, channel, bounds)
    low, high = _scale_bounds(stage, bounds)
    rest = np.delete(np.arange(stage.width), stage.live)
    squares = f"squares {stage.key}"
    lines.append(Table(squares, np.square(stage.static[:, rest]).sum(1)))
    names = tuple(stage.current(c) for c in stage.live)
    lines.append(Scale(stage.scale, squares, 0.0, names, stage.width, stage.eps))
    for channel in stage.kept.tolist():
        lines += _read(stage, channel, low, high, bounds)
    thinning = _thinning(stage, low, high, bounds) if stage.keep is not None else []
    if thinning:
        for channel in stage.kept.tolist():
            name = f"{stage.key}.{channel}"
            bounds[name] = min(bounds[name][0], 0.0), max(bounds[name][1], 0.0)
    return lines + thinning


def _live_channel(stage: Stage, channel: int, bounds: Bounds) -> list[Line]:
    """A channel that kept nodes write to."""
    embedding = f"embedding {channel}"
    writes = stage.written[channel]
    terms = (Term(1.0, embedding), *(Term(1.0, write) for write in writes))
    name, column = stage.current(channel), stage.static[:, channel]
    low = sum(bounds[write][0] for write in writes)
    high = sum(bounds[write][1] for write in writes)
    bounds[f"writes {stage.key}.{channel}"] = low, high
    bounds[name] = float(column.min() + low), float(column.max() + high)
    return [
        Table(embedding, stage.embedding[:, channel]),
        Linear(name, terms, float(stage.filled[channel])),
    ]


def _live_bounds(stage: Stage, channel: int, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a live channel, per token."""
    low, high = bounds[f"writes {stage.key}.{channel}"]
    column = stage.static[:, channel]
    return column + low, column + high


def _scale_bounds(stage: Stage, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the root mean square, per token."""
    rest = np.delete(np.arange(stage.width), stage.live)
    low = high = np.square(stage.static[:, rest]).sum(1)
    for channel in stage.live:
        least, largest = magnitudes(*_live_bounds(stage, channel, bounds))
        low, high = low + least**2, high + largest**2
    return np.sqrt(low / stage.width + stage.eps), np.sqrt(high / stage.width + stage.eps)


def _read(
    stage: Stage, channel: int, low: np.ndarray, high: np.ndarray, bounds: Bounds
) -> list[Line]:
    """One kept read before AbsTopK."""
    name = f"{stage.key}.{channel}"
    if channel >= stage.width:
        assert stage.positions is not None
        column = stage.positions[:, channel - stage.width]
        bounds[name] = float(column.min()), float(column.max())
        return [Table(name, column, by_position=True, node=name)]
    gain = float(stage.gain[channel])
    if channel in stage.written:
        ends = np.stack(_live_bounds(stage, channel, bounds))
        term, offset, lines = Term(gain, stage.current(channel)), 0.0, []
    else:
        ends = stage.static[None, :, channel]
        embedding = f"embedding {channel}"
        term, offset = Term(gain, embedding), gain * float(stage.filled[channel])
        lines = [Table(embedding, stage.embedding[:, channel])]
    corners = np.stack([gain * e / s for e in ends for s in (low, high)])
    # Whatever else is in the stream, no channel exceeds the norm's reach.
    reach = abs(gain) * stage.width**0.5
    bounds[name] = float(max(corners.min(), -reach)), float(min(corners.max(), reach))
    return [*lines, Linear(name, (term,), offset, over=stage.scale, node=name)]


def _tables(stage: Stage, bounds: Bounds) -> list[Line]:
    """Reads of the embedding alone: one table each, norm and AbsTopK already in it."""
    scale = np.sqrt(np.square(stage.static).mean(1) + stage.eps)
    seen = stage.static * stage.gain / scale[:, None]
    places = np.zeros((1, 0)) if stage.positions is None else stage.positions
    lines: list[Line] = []
    for channel in stage.kept.tolist():
        name = f"{stage.key}.{channel}"
        beside = channel >= stage.width
        column = places[:, channel - stage.width] if beside else seen[:, channel]
        lost = _lost(stage, np.abs(seen), np.abs(places), channel)
        if not beside:
            column = np.where(lost.all(1), 0.0, column)
            lost &= ~lost.all(1, keepdims=True)
        lines.append(Table(name, column, by_position=beside, node=name))
        if lost.any():
            token, place = np.nonzero(lost)
            codes = token * lost.shape[1] + place
            lines.append(Drop(name, codes, lost.shape[1]))
        bounds[name] = float(min(column.min(), 0)), float(max(column.max(), 0))
    return lines


def _lost(stage: Stage, seen: np.ndarray, places: np.ndarray, channel: int) -> np.ndarray:
    """Where AbsTopK takes a channel of the first read, [vocab, position]."""
    shape = len(seen), len(places)
    if stage.keep is None:
        return np.zeros(shape, dtype=bool)
    if channel < stage.width:
        size = seen[:, channel]
        above = (seen > size[:, None]).sum(1)[:, None]
        above = above + (seen[:, :channel] == size[:, None]).sum(1)[:, None]
        above = above + np.stack([(row > size[:, None]).sum(1) for row in places], axis=1)
        return (above >= stage.keep) & (size[:, None] > 0)
    place = channel - stage.width
    own = places[:, place]
    above = (places > own[:, None]).sum(1) + (places[:, :place] == own[:, None]).sum(1)
    order = np.sort(seen, axis=1)
    larger = [stage.width - np.searchsorted(row, own, side="left") for row in order]
    return (above + np.stack(larger) >= stage.keep) & (own > 0)


def _thinning(stage: Stage, low: np.ndarray, high: np.ndarray, bounds: Bounds) -> list[Line]:
    """AbsTopK of a read, with the tables it needs; nothing where it never takes a kept channel."""
    assert stage.keep is not None
    live = stage.live
    static = np.abs(np.delete(stage.static * stage.gain, live, axis=1))
    order = -np.sort(-static, axis=1)
    dynamic = _rivals(stage, low, high, bounds)
    floor = _ranked(order, stage.keep - 1)
    ceiling = _ranked(order, stage.keep - 1 - len(dynamic))
    above = [bool((least > ceiling).all()) for _, least, *_ in dynamic]
    open_ = [
        rival
        for rival, over in zip(dynamic, above, strict=True)
        if not over and not (rival[2] < floor).all()
    ]
    room = stage.keep - sum(above)
    bounds_table = np.stack([_ranked(order, room - 1 - j) for j in range(len(open_) + 1)], axis=1)
    sure = np.ones(len(order), dtype=bool)
    for channel in stage.kept.tolist():
        least, largest = _kept_magnitudes(stage, channel, low, high, bounds)
        sure &= (least >= bounds_table[:, -1]) | (largest == 0)
    if sure.all():
        return []
    bounds_table[sure] = 0
    kept = tuple(f"{stage.key}.{c}" for c in stage.kept)
    others = tuple((weight, name, divided) for (weight, name, divided), *_ in open_)
    tables = [line for *_, line in open_ if line is not None]
    first = [channel for *_, channel, _ in open_]
    cut = Keep(
        f"cut {stage.key}",
        kept,
        room,
        bounds=bounds_table,
        scale=stage.scale,
        others=others,
        before=tuple(sum(rival < channel for rival in first) for channel in stage.kept.tolist()),
    )
    return [*tables, cut]


_Rival = tuple[tuple[float, str, bool], np.ndarray, np.ndarray, int, Line | None]


def _rivals(stage: Stage, low: np.ndarray, high: np.ndarray, bounds: Bounds) -> list[_Rival]:
    """All of a read that varies with more than the token, with bounds of its size and channel."""
    found: list[_Rival] = []
    for channel in stage.live:
        gain = float(stage.gain[channel])
        ends = (gain * end for end in _live_bounds(stage, channel, bounds))
        least, largest = magnitudes(*np.sort(np.stack(list(ends)), axis=0))
        found.append(((gain, stage.current(channel), False), least, largest, channel, None))
    if stage.positions is not None:
        for number, column in enumerate(np.abs(stage.positions).T):
            name = f"position {number}"
            line = Table(name, stage.positions[:, number], by_position=True)
            least, largest = column.min() * low, column.max() * high
            found.append(((1.0, name, True), least, largest, stage.width + number, line))
    return found


def _kept_magnitudes(
    stage: Stage, channel: int, low: np.ndarray, high: np.ndarray, bounds: Bounds
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a kept channel's size before the division, per token."""
    if channel >= stage.width:
        assert stage.positions is not None
        column = np.abs(stage.positions[:, channel - stage.width])
        return column.min() * low, column.max() * high
    gain = abs(float(stage.gain[channel]))
    if channel in stage.written:
        least, largest = magnitudes(*_live_bounds(stage, channel, bounds))
        return gain * least, gain * largest
    size = gain * np.abs(stage.static[:, channel])
    return size, size


def _ranked(order: np.ndarray, place: int) -> np.ndarray:
    """The size at a place of every token's order, from 0; unreachable above the first."""
    if place < 0:
        return np.full(len(order), np.inf)
    if place >= order.shape[1]:
        return np.zeros(len(order))
    return order[:, place]

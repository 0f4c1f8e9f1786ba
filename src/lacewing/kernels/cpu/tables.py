"""Pieces of a masked pass, callable from numba: a tile of tokens stays in a table in the cache.

A table is `[channel, TILE]` in float32, as in `vector`; a line is `[TILE]`, one number per token.
Arguments are addresses and numbers of channels, and nothing is checked.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from lacewing.kernels.cpu.lanes import (
    FLOAT,
    FLOAT_BYTES,
    FLOATS,
    INT32,
    INT64,
    INTS,
    LANES,
    TILE,
    at,
    exponential,
    floats,
    fma,
    ints,
    load_vector,
    pointer,
    splat,
    store_vector,
    table_row,
    total,
    unary,
)

intrinsic: Any = extending.intrinsic  # its own types know no call
VECTORS = TILE // LANES
BITS = 0x7FFFFFFF
"""All of a float32 but its sign: as an integer it orders as the magnitude does."""


def _signature(count: int) -> Any:
    return types.void(*[types.intp] * count)


@intrinsic
def most(typing: Any, row: Any, vectors: Any) -> Any:
    """The largest magnitude of a row of so many vectors, as an integer pattern."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        def larger(best: Any, bits: Any) -> Any:
            return b.select(b.icmp_signed(">", bits, best), bits, best)

        row, vectors = arguments
        return _reduced(b, row, vectors, larger, "smax")

    return types.int64(types.intp, types.intp), generate


@intrinsic
def reaching(typing: Any, row: Any, vectors: Any, least: Any) -> Any:
    """How many entries of a row have a magnitude of at least `least`, a pattern."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        row, vectors, least = arguments
        first = b.trunc(least, INT32)
        first = b.insert_element(ir.Constant(INTS, ir.Undefined), first, ir.Constant(INT32, 0))
        every = b.shuffle_vector(first, first, ints([0] * LANES))

        def counted(sum_: Any, bits: Any) -> Any:
            return b.sub(sum_, b.sext(b.icmp_signed(">=", bits, every), INTS))

        return _reduced(b, row, vectors, counted, "add")

    return types.int64(types.intp, types.intp, types.int64), generate


def _reduced(
    b: ir.IRBuilder, row: Any, vectors: Any, joined: Callable[[Any, Any], Any], last: str
) -> Any:
    """What comes of the patterns of a row, vector after vector, and then of all lanes."""
    held = cgutils.alloca_once_value(b, ints([0] * LANES))
    b.store(ints([0] * LANES), held)
    with cgutils.for_range(b, vectors) as loop:
        loaded = load_vector(b, at(b, row, loop.index, LANES * FLOAT_BYTES), INTS, FLOAT_BYTES)
        b.store(joined(b.load(held), b.and_(loaded, ints([BITS] * LANES))), held)
    kind = ir.FunctionType(INT32, [INTS])
    name = f"llvm.vector.reduce.{last}.v16i32"
    return b.zext(
        b.call(cgutils.get_or_insert_function(b.module, kind, name), [b.load(held)]), INT64
    )


@intrinsic
def drop_below(typing: Any, table: Any, count: Any, least: Any) -> Any:
    """Zero what has a smaller magnitude than least[token]."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, count, least = arguments
        cuts = _line(b, least, INTS)
        with cgutils.for_range(b, count) as loop:
            rows, kept = table_row(b, table, loop.index), []
            for row, bits, cut in zip(rows, _patterns(b, table, loop.index), cuts, strict=True):
                kept.append(b.select(b.icmp_signed(">=", bits, cut), row, floats(0.0)))
            _put(b, _row(b, table, loop.index), kept)
        return context.get_dummy_value()

    return _signature(3), generate


@intrinsic
def squares(typing: Any, table: Any, count: Any, line: Any) -> Any:
    """line[token] = the sum of all channels' squares."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, count, line = arguments

        def added(channel: Any, sums: list[Any]) -> list[Any]:
            rows = table_row(b, table, channel)
            return [fma(b, row, row, sum_) for row, sum_ in zip(rows, sums, strict=True)]

        _summed(b, count, line, added)
        return context.get_dummy_value()

    return _signature(3), generate


@intrinsic
def along(typing: Any, slope: Any, table: Any, gain: Any, count: Any, line: Any) -> Any:
    """line[token] = the sum over channels of slope gain table."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        slope, table, gain, count, line = arguments

        def added(channel: Any, sums: list[Any]) -> list[Any]:
            factor = _number(b, gain, channel)
            pairs = zip(table_row(b, slope, channel), table_row(b, table, channel), strict=True)
            return [
                fma(b, b.fmul(x, factor), y, sum_) for (x, y), sum_ in zip(pairs, sums, strict=True)
            ]

        _summed(b, count, line, added)
        return context.get_dummy_value()

    return _signature(5), generate


@intrinsic
def scale_by(typing: Any, table: Any, gain: Any, count: Any, line: Any) -> Any:
    """Table *= line gain."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, gain, count, line = arguments
        sizes = _line(b, line, FLOATS)
        with cgutils.for_range(b, count) as loop:
            factor, rows = _number(b, gain, loop.index), table_row(b, table, loop.index)
            scaled = [b.fmul(b.fmul(x, s), factor) for x, s in zip(rows, sizes, strict=True)]
            _put(b, _row(b, table, loop.index), scaled)
        return context.get_dummy_value()

    return _signature(4), generate


@intrinsic
def norm_slope(
    typing: Any, slope: Any, table: Any, gain: Any, count: Any, size: Any, moved: Any
) -> Any:
    """Slope = size (slope gain - moved table), the gradient of a root-mean-square norm."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        slope, table, gain, count, size, moved = arguments
        sizes, moves = _line(b, size, FLOATS), _line(b, moved, FLOATS)
        with cgutils.for_range(b, count) as loop:
            factor, found = _number(b, gain, loop.index), []
            rows = zip(
                table_row(b, slope, loop.index),
                table_row(b, table, loop.index),
                sizes,
                moves,
                strict=True,
            )
            for x, y, s, m in rows:
                found.append(b.fmul(s, b.fsub(b.fmul(x, factor), b.fmul(m, y))))
            _put(b, _row(b, slope, loop.index), found)
        return context.get_dummy_value()

    return _signature(6), generate


@intrinsic
def fill_off(typing: Any, table: Any, count: Any, on: Any, fill: Any) -> Any:
    """Put fill[channel] where on[channel] (int32) is 0."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, count, on, fill = arguments
        with cgutils.for_range(b, count) as loop, b.if_then(_is_off(b, on, loop.index)):
            _put(b, _row(b, table, loop.index), [_number(b, fill, loop.index)] * VECTORS)
        return context.get_dummy_value()

    return _signature(4), generate


@intrinsic
def mask_slopes(typing: Any, slope: Any, table: Any, count: Any, fill: Any, sums: Any) -> Any:
    """sums[channel] += sum over tokens of (table - fill) slope."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        slope, table, count, fill, sums = arguments
        with cgutils.for_range(b, count) as loop:
            mean, sum_ = _number(b, fill, loop.index), floats(0.0)
            rows = zip(
                table_row(b, slope, loop.index), table_row(b, table, loop.index), strict=True
            )
            for x, y in rows:
                sum_ = fma(b, x, b.fsub(y, mean), sum_)
            place = pointer(b, at(b, sums, loop.index, FLOAT_BYTES), FLOAT)
            b.store(b.fadd(b.load(place), total(b, sum_)), place)
        return context.get_dummy_value()

    return _signature(5), generate


@intrinsic
def pass_on(typing: Any, slope: Any, table: Any, count: Any, on: Any, sparse: Any, out: Any) -> Any:
    """Out = slope where a channel is on; with `sparse`, zero where its entry in the table is 0.

    Rows of channels that are off are not written.
    """

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        slope, table, count, on, sparse, out = arguments
        every = b.icmp_signed("==", sparse, ir.Constant(sparse.type, 0))
        with cgutils.for_range(b, count) as loop, b.if_then(b.not_(_is_off(b, on, loop.index))):
            rows, kept = table_row(b, slope, loop.index), []
            for x, y in zip(rows, table_row(b, table, loop.index), strict=True):
                there = b.or_(b.fcmp_unordered("!=", y, floats(0.0)), _all(b, every))
                kept.append(b.select(there, x, floats(0.0)))
            _put(b, _row(b, out, loop.index), kept)
        return context.get_dummy_value()

    return _signature(6), generate


@intrinsic
def zero_off(typing: Any, table: Any, count: Any, on: Any) -> Any:
    """Zero the rows of channels that are off."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, count, on = arguments
        with cgutils.for_range(b, count) as loop, b.if_then(_is_off(b, on, loop.index)):
            _put(b, _row(b, table, loop.index), [floats(0.0)] * VECTORS)
        return context.get_dummy_value()

    return _signature(3), generate


@intrinsic
def gelu(typing: Any, table: Any, count: Any, out: Any) -> Any:
    """Out = table times the normal distribution's share below it."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, count, out = arguments
        with cgutils.for_range(b, count) as loop:
            rows = table_row(b, table, loop.index)
            _put(b, _row(b, out, loop.index), [b.fmul(x, _share(b, x)[0]) for x in rows])
        return context.get_dummy_value()

    return _signature(3), generate


@intrinsic
def gelu_slope(typing: Any, slope: Any, table: Any, count: Any, on: Any) -> Any:
    """Slope *= the derivative of `gelu` at the table, in the rows of channels that are on."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        slope, table, count, on = arguments
        with cgutils.for_range(b, count) as loop, b.if_then(b.not_(_is_off(b, on, loop.index))):
            found = []
            rows = zip(
                table_row(b, slope, loop.index), table_row(b, table, loop.index), strict=True
            )
            for x, y in rows:
                share, bell = _share(b, y)
                density = b.fmul(bell, floats(0.3989422804014327))
                found.append(b.fmul(x, fma(b, y, density, share)))
            _put(b, _row(b, slope, loop.index), found)
        return context.get_dummy_value()

    return _signature(4), generate


ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: erf to 1.5e-7."""


def _share(b: ir.IRBuilder, x: Any) -> tuple[Any, Any]:
    """The normal distribution's share below x, and exp(-x^2 / 2)."""
    size = unary(b, "fabs", b.fmul(x, floats(0.7071067811865476)))
    part = b.fdiv(floats(1.0), fma(b, size, floats(0.3275911), floats(1.0)))
    bell = exponential(b, b.fneg(b.fmul(size, size)))
    sum_ = floats(ERF[0])
    for coefficient in ERF[1:]:
        sum_ = fma(b, sum_, part, floats(coefficient))
    tail = b.fmul(b.fmul(sum_, part), b.fmul(bell, floats(0.5)))  # beyond x or -x
    below = b.fcmp_ordered("<", x, floats(0.0))
    return b.select(below, tail, b.fsub(floats(1.0), tail)), bell


def _summed(
    b: ir.IRBuilder, count: Any, line: Any, added: Callable[[Any, list[Any]], list[Any]]
) -> None:
    """A sum over channels for every token, kept in registers."""
    held = [cgutils.alloca_once_value(b, floats(0.0)) for _ in range(VECTORS)]
    with cgutils.for_range(b, count) as loop:
        for place, sum_ in zip(held, added(loop.index, [b.load(h) for h in held]), strict=True):
            b.store(sum_, place)
    _put(b, line, [b.load(place) for place in held])


def _row(b: ir.IRBuilder, table: Any, channel: Any) -> Any:
    return at(b, table, channel, TILE * FLOAT_BYTES)


def _line(b: ir.IRBuilder, place: Any, kind: Any) -> list[Any]:
    places = [at(b, place, i * LANES, FLOAT_BYTES) for i in range(VECTORS)]
    return [load_vector(b, one, kind, FLOAT_BYTES) for one in places]


def _put(b: ir.IRBuilder, place: Any, vectors: list[Any]) -> None:
    for i, vector in enumerate(vectors):
        store_vector(b, vector, at(b, place, i * LANES, FLOAT_BYTES), FLOAT_BYTES)


def _patterns(b: ir.IRBuilder, table: Any, channel: Any) -> list[Any]:
    rows = table_row(b, table, channel)
    return [b.and_(b.bitcast(row, INTS), ints([BITS] * LANES)) for row in rows]


def _number(b: ir.IRBuilder, numbers: Any, n: Any) -> Any:
    return splat(b, b.load(pointer(b, at(b, numbers, n, FLOAT_BYTES), FLOAT)))


def _is_off(b: ir.IRBuilder, on: Any, n: Any) -> Any:
    number = b.load(pointer(b, at(b, on, n, FLOAT_BYTES), INT32))
    return b.icmp_signed("==", number, ir.Constant(INT32, 0))


def _all(b: ir.IRBuilder, flag: Any) -> Any:
    """One flag in every lane."""
    kind = ir.VectorType(ir.IntType(1), LANES)
    first = b.insert_element(ir.Constant(kind, ir.Undefined), flag, ir.Constant(INT32, 0))
    return b.shuffle_vector(first, first, ints([0] * LANES))

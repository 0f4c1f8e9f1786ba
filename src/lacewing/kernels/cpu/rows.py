"""Pieces of attention and of the loss, callable from numba: sixteen tokens side by side.

A strip is an array `[row, LANES]` in float32: one vector per row, each lane another token.
Arguments are addresses and numbers of elements, and nothing is checked.
"""

from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from lacewing.kernels.cpu.lanes import (
    FLOAT,
    FLOAT_BYTES,
    FLOATS,
    HALVES,
    INT64,
    LANES,
    address,
    at,
    element,
    exponential,
    floats,
    fma,
    larger,
    load_vector,
    narrow,
    pointer,
    splat,
    store_vector,
    total,
    widen,
)

intrinsic: Any = extending.intrinsic  # its own types know no call
VECTOR_BYTES = LANES * FLOAT_BYTES
HIDDEN = -1e30
"""A score that no exponential sees."""


def _signature(count: int) -> Any:
    return types.void(*[types.intp] * count)


@intrinsic
def scores(
    typing: Any, table: Any, pitch: Any, rows: Any, stride: Any, n: Any, out: Any, step: Any
) -> Any:
    """out[i] += sum over sixteen lines c of table[c] rows[i, c]; rows of `out` are `step` apart."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, pitch, rows, stride, count, out, step = arguments
        held = _lines(b, table, pitch)
        with cgutils.for_range(b, count) as loop:
            row = at(b, rows, b.mul(loop.index, stride), FLOAT_BYTES)
            place = at(b, out, b.mul(loop.index, step), FLOAT_BYTES)
            # Two sums, because one would wait for itself.
            sums = [_load(b, place), floats(0.0)]
            for channel, line in enumerate(held):
                weight = splat(b, b.load(pointer(b, at(b, row, channel, FLOAT_BYTES), FLOAT)))
                sums[channel % 2] = fma(b, weight, line, sums[channel % 2])
            _store(b, b.fadd(*sums), place)
        return context.get_dummy_value()

    return _signature(7), generate


@intrinsic
def mix(typing: Any, strip: Any, n: Any, rows: Any, stride: Any, table: Any, pitch: Any) -> Any:
    """table[c] += sum over i of strip[i] rows[i, c], for sixteen channels c."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        strip, count, rows, stride, table, pitch = arguments
        sums = [cgutils.alloca_once_value(b, line) for line in _lines(b, table, pitch)]
        with cgutils.for_range(b, count) as loop:
            row = at(b, rows, b.mul(loop.index, stride), FLOAT_BYTES)
            own = _load(b, at(b, strip, loop.index, VECTOR_BYTES))
            for channel, sum_ in enumerate(sums):
                weight = splat(b, b.load(pointer(b, at(b, row, channel, FLOAT_BYTES), FLOAT)))
                b.store(fma(b, weight, own, b.load(sum_)), sum_)
        for channel, sum_ in enumerate(sums):
            place = b.add(table, b.mul(pitch, ir.Constant(INT64, channel * FLOAT_BYTES)))
            _store(b, b.load(sum_), place)
        return context.get_dummy_value()

    return _signature(6), generate


@intrinsic
def hide_later(typing: Any, strip: Any) -> Any:
    """Of sixteen rows, key by key: hide row r from the lanes (queries) before it."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        (strip,) = arguments
        for row in range(LANES):
            place = at(b, strip, row, VECTOR_BYTES)
            bits = [ir.Constant(ir.IntType(1), lane < row) for lane in range(LANES)]
            mask = ir.Constant(ir.VectorType(ir.IntType(1), LANES), bits)
            _store(b, b.select(mask, floats(HIDDEN), _load(b, place)), place)
        return context.get_dummy_value()

    return _signature(1), generate


@intrinsic
def soften(typing: Any, strip: Any, n: Any, first: Any, top: Any, sum_: Any) -> Any:
    """Strip = exp(strip - top); top is the largest of `first` and the rows, sum_ their sum.

    `first` is one vector, which joins the sum but not the strip: a sink's logits.
    """

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        strip, count, first, top, sum_ = arguments
        sink = _load(b, first)
        most = cgutils.alloca_once_value(b, sink)
        with cgutils.for_range(b, count) as loop:
            row = _load(b, at(b, strip, loop.index, VECTOR_BYTES))
            b.store(larger(b, row, b.load(most)), most)
        highest = b.load(most)
        whole = cgutils.alloca_once_value(b, exponential(b, b.fsub(sink, highest)))
        with cgutils.for_range(b, count) as loop:
            place = at(b, strip, loop.index, VECTOR_BYTES)
            power = exponential(b, b.fsub(_load(b, place), highest))
            _store(b, power, place)
            b.store(b.fadd(b.load(whole), power), whole)
        _store(b, highest, top)
        _store(b, b.load(whole), sum_)
        return context.get_dummy_value()

    return _signature(5), generate


@intrinsic
def slopes(typing: Any, strip: Any, gradient: Any, n: Any, level: Any, moved: Any) -> Any:
    """Strip = exp(strip - level); gradient = strip (gradient - moved), one of each per lane."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        strip, gradient, count, level, moved = arguments
        down, off = _load(b, level), _load(b, moved)
        with cgutils.for_range(b, count) as loop:
            place = at(b, strip, loop.index, VECTOR_BYTES)
            other = at(b, gradient, loop.index, VECTOR_BYTES)
            weight = exponential(b, b.fsub(_load(b, place), down))
            _store(b, weight, place)
            _store(b, b.fmul(weight, b.fsub(_load(b, other), off)), other)
        return context.get_dummy_value()

    return _signature(5), generate


@intrinsic
def widen_row(typing: Any, rows: Any, start: Any, count: Any, target: Any) -> Any:
    """`count` vectors of `rows`, from element `start` on, as float32 at `target`."""
    size, kind = element(rows)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array, start, count, target = arguments
        source = at(b, address(context, b, rows, array), start, size)
        with cgutils.for_range(b, count) as loop:
            vector = load_vector(b, at(b, source, loop.index, LANES * size), kind, size)
            wide = widen(b, vector) if kind is HALVES else vector
            _store(b, wide, at(b, target, loop.index, VECTOR_BYTES))
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, types.intp), generate


@intrinsic
def narrow_row(typing: Any, source: Any, count: Any, rows: Any, start: Any) -> Any:
    """`count` vectors of float32 at `source`, into `rows` from element `start` on."""
    size, kind = element(rows)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, count, array, start = arguments
        target = at(b, address(context, b, rows, array), start, size)
        with cgutils.for_range(b, count) as loop:
            vector = _load(b, at(b, source, loop.index, VECTOR_BYTES))
            place = at(b, target, loop.index, LANES * size)
            store_vector(b, narrow(b, vector) if kind is HALVES else vector, place, size)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, rows, types.intp), generate


@intrinsic
def softmax_row(typing: Any, rows: Any, start: Any, count: Any, scale: Any, out: Any) -> Any:
    """Log-sum-exp of `count` vectors of `rows` from `start` on; out = scale softmax, likewise."""
    size, kind = element(rows)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array, start, count, scale, result = arguments
        source = at(b, address(context, b, rows, array), start, size)
        target = at(b, address(context, b, out, result), start, size)

        def read(i: Any) -> Any:
            vector = load_vector(b, at(b, source, i, LANES * size), kind, size)
            return widen(b, vector) if kind is HALVES else vector

        most = cgutils.alloca_once_value(b, read(ir.Constant(INT64, 0)))
        with cgutils.for_range(b, count) as loop:
            b.store(larger(b, read(loop.index), b.load(most)), most)
        top = _largest(b, b.load(most))
        whole = cgutils.alloca_once_value(b, floats(0.0))
        with cgutils.for_range(b, count) as loop:
            power = exponential(b, b.fsub(read(loop.index), splat(b, top)))
            b.store(b.fadd(b.load(whole), power), whole)
        sum_ = total(b, b.load(whole))
        factor = splat(b, b.fdiv(scale, sum_))
        with cgutils.for_range(b, count) as loop:
            power = exponential(b, b.fsub(read(loop.index), splat(b, top)))
            share = b.fmul(power, factor)
            place = at(b, target, loop.index, LANES * size)
            store_vector(b, narrow(b, share) if kind is HALVES else share, place, size)
        kind_of_log = ir.FunctionType(FLOAT, [FLOAT])
        log = cgutils.get_or_insert_function(b.module, kind_of_log, "llvm.log.f32")
        return b.fadd(b.call(log, [sum_]), top)

    return types.float32(rows, types.intp, types.intp, types.float32, out), generate


def _lines(b: ir.IRBuilder, table: Any, pitch: Any) -> list[Any]:
    """Sixteen lines of a table, `pitch` elements apart."""
    step = ir.Constant(INT64, FLOAT_BYTES)
    return [
        _load(b, b.add(table, b.mul(b.mul(pitch, step), ir.Constant(INT64, channel))))
        for channel in range(LANES)
    ]


def _largest(b: ir.IRBuilder, vector: Any) -> Any:
    """The largest lane."""
    best = b.extract_element(vector, ir.Constant(ir.IntType(32), 0))
    for lane in range(1, LANES):
        other = b.extract_element(vector, ir.Constant(ir.IntType(32), lane))
        best = b.select(b.fcmp_ordered(">", other, best), other, best)
    return best


def _load(b: ir.IRBuilder, place: Any) -> Any:
    return load_vector(b, place, FLOATS, FLOAT_BYTES)


def _store(b: ir.IRBuilder, vector: Any, place: Any) -> None:
    store_vector(b, vector, place, FLOAT_BYTES)

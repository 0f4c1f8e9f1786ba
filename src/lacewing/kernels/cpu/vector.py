"""Pieces of loops that must fill the vector registers, callable from numba.

numba's own vectoriser does not transpose in registers and does not keep rows of sums in them. So
these pieces are spelled out as vector operations (see `lanes`).

Arguments are arrays, addresses (`array.ctypes.data`) and numbers of elements, and nothing is
checked. A table holds tokens in float32, channel by channel: `table[channel, token]`.
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
    INT32,
    INT64,
    INTS,
    LANES,
    TILE,
    address,
    at,
    element,
    fma,
    ints,
    load_index,
    load_vector,
    narrow,
    pointer,
    splat,
    store_vector,
    table_row,
    total,
    transposed,
    widen,
)

intrinsic: Any = extending.intrinsic  # its own types know no call
PRODUCT = types.void(types.intp, types.intp, types.intp, types.intp, types.float32, types.intp)
SUPPORT = types.void(types.intp, types.intp, types.intp, types.intp, types.intp)


@intrinsic
def load_block(typing: Any, rows: Any, start: Any, stride: Any, target: Any, pitch: Any) -> Any:
    """Sixteen tokens of sixteen channels, from `rows` (from element `start`) into a table."""
    size, kind = element(rows)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array, start, stride, target, pitch = arguments
        source = at(b, address(context, b, rows, array), start, size)
        vectors = []
        for token in range(LANES):
            place = at(b, source, b.mul(stride, ir.Constant(INT64, token)), size)
            vector = load_vector(b, place, kind, size)
            vectors.append(widen(b, vector) if kind is HALVES else vector)
        for channel, vector in enumerate(transposed(b, vectors)):
            place = at(b, target, b.mul(pitch, ir.Constant(INT64, channel)), FLOAT_BYTES)
            store_vector(b, vector, place, FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(rows, *[types.intp] * 4), generate


@intrinsic
def store_block(typing: Any, source: Any, pitch: Any, rows: Any, start: Any, stride: Any) -> Any:
    """Sixteen channels of sixteen tokens, from a table into `rows` (from element `start`)."""
    size, kind = element(rows)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, pitch, array, start, stride = arguments
        target = at(b, address(context, b, rows, array), start, size)
        vectors = []
        for channel in range(LANES):
            place = at(b, source, b.mul(pitch, ir.Constant(INT64, channel)), FLOAT_BYTES)
            vectors.append(load_vector(b, place, FLOATS, FLOAT_BYTES))
        for token, vector in enumerate(transposed(b, vectors)):
            place = at(b, target, b.mul(stride, ir.Constant(INT64, token)), size)
            store_vector(b, narrow(b, vector) if kind is HALVES else vector, place, size)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, rows, types.intp, types.intp), generate


@intrinsic
def sparse_row(
    typing: Any, values: Any, indices: Any, count: Any, table: Any, start: Any, target: Any
) -> Any:
    """target[token] = start + sum over n of values[n] table[indices[n], token]."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        values, indices, count, table, start, target = arguments
        sums = [cgutils.alloca_once_value(b, splat(b, start)) for _ in range(TILE // LANES)]
        with cgutils.for_range(b, count) as loop:
            weight = splat(b, b.load(pointer(b, at(b, values, loop.index, FLOAT_BYTES), FLOAT)))
            row = table_row(b, table, load_index(b, indices, loop.index))
            for sum_, x in zip(sums, row, strict=True):
                b.store(fma(b, weight, x, b.load(sum_)), sum_)
        for i, sum_ in enumerate(sums):
            store_vector(b, b.load(sum_), at(b, target, i * LANES, FLOAT_BYTES), FLOAT_BYTES)
        return context.get_dummy_value()

    return PRODUCT, generate


@intrinsic
def add_totals(typing: Any, table: Any, count: Any, target: Any) -> Any:
    """target[channel] += sum over tokens of table[channel], for `count` channels."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, count, target = arguments
        with cgutils.for_range(b, count) as loop:
            first, second, third, fourth = table_row(b, table, loop.index)
            whole = total(b, b.fadd(b.fadd(first, second), b.fadd(third, fourth)))
            place = pointer(b, at(b, target, loop.index, FLOAT_BYTES), FLOAT)
            b.store(b.fadd(b.load(place), whole), place)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@intrinsic
def support_row(
    typing: Any, gradient: Any, indices: Any, count: Any, table: Any, target: Any
) -> Any:
    """target[n] += sum over tokens of gradient[token] table[indices[n], token]."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        gradient, indices, count, table, target = arguments
        own = table_row(b, gradient, ir.Constant(INT64, 0))
        with cgutils.for_range(b, count) as loop:
            sums = ir.Constant(FLOATS, [0.0] * LANES)
            row = table_row(b, table, load_index(b, indices, loop.index))
            for x, y in zip(own, row, strict=True):
                sums = fma(b, x, y, sums)
            place = pointer(b, at(b, target, loop.index, FLOAT_BYTES), FLOAT)
            b.store(b.fadd(b.load(place), total(b, sums)), place)
        return context.get_dummy_value()

    return SUPPORT, generate


@intrinsic
def at_least(typing: Any, rows: Any, start: Any, least: Any) -> Any:
    """Bits of the sixteen int32 entries from `start` on whose |float| pattern reaches `least`."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array, start, least = arguments
        place = at(b, address(context, b, rows, array), start, FLOAT_BYTES)
        pattern = b.and_(load_vector(b, place, INTS, FLOAT_BYTES), ints([0x7FFFFFFF] * LANES))
        one = b.insert_element(ir.Constant(INTS, ir.Undefined), least, ir.Constant(INT32, 0))
        every = b.shuffle_vector(one, one, ints([0] * LANES))
        reached = b.icmp_signed(">=", pattern, every)
        return b.zext(b.bitcast(reached, ir.IntType(LANES)), INT64)

    return types.int64(rows, types.intp, types.int32), generate


@intrinsic
def first_bit(typing: Any, mask: Any) -> Any:
    """The place of the lowest bit that is set; `mask` is not zero."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return b.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def as_pointer(typing: Any, place: Any) -> Any:
    """An address as a pointer to int32."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return b.inttoptr(arguments[0], INT32.as_pointer())

    return types.CPointer(types.int32)(types.int64), generate


@intrinsic
def as_floats(typing: Any, place: Any) -> Any:
    """An address as a pointer to float32."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return b.inttoptr(arguments[0], FLOAT.as_pointer())

    return types.CPointer(types.float32)(types.int64), generate


@intrinsic
def as_float(typing: Any, x: Any) -> Any:
    """A float32 as it is; the bits of a bfloat16, an int16, as the float32 they stand for."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if x != types.int16:
            return arguments[0]
        return b.bitcast(b.shl(b.zext(arguments[0], INT32), ir.Constant(INT32, 16)), FLOAT)

    return types.float32(x), generate

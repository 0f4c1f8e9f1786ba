"""Vectors of sixteen floats in LLVM code: loads, stores, sums, a transposition, an exponential.

LLVM turns them into what the processor has (AVX-512, AVX2, NEON); no compiler is needed on the
user's machine. Addresses are integers, and nothing is checked.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

LANES, TILE = 16, 64
"""Floats of a vector; tokens of a table."""

FLOAT, INT16, INT32, INT64 = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)
HALVES = ir.VectorType(INT16, LANES)
FLOAT_BYTES, HALF_BYTES = 4, 2


def element(rows: Any) -> tuple[int, Any]:
    """Bytes of an element, and a vector of them: int16 arrays hold the bits of bfloat16."""
    return (HALF_BYTES, HALVES) if rows.dtype == types.int16 else (FLOAT_BYTES, FLOATS)


def address(context: Any, b: ir.IRBuilder, kind: Any, array: Any) -> Any:
    """Where an array's elements begin."""
    return b.ptrtoint(context.make_array(kind)(context, b, array).data, INT64)


def transposed(b: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """Sixteen vectors, transposed: at every stage one bit of row and lane is exchanged."""
    for bit in (1, 2, 4, 8):
        after = list(rows)
        for i in range(LANES):
            if not i & bit:
                upper, lower = rows[i], rows[i | bit]
                first = [j if not j & bit else LANES + (j ^ bit) for j in range(LANES)]
                second = [j | bit if not j & bit else LANES + j for j in range(LANES)]
                after[i] = b.shuffle_vector(upper, lower, ints(first))
                after[i | bit] = b.shuffle_vector(upper, lower, ints(second))
        rows = after
    return rows


def widen(b: ir.IRBuilder, halves: Any) -> Any:
    """bfloat16 bits to float32."""
    return b.bitcast(b.shl(b.zext(halves, INTS), ints([16] * LANES)), FLOATS)


def narrow(b: ir.IRBuilder, floats: Any) -> Any:
    """float32 to bfloat16 bits, rounded to even (NaN is not looked for)."""
    bits = b.bitcast(floats, INTS)
    odd = b.and_(b.lshr(bits, ints([16] * LANES)), ints([1] * LANES))
    rounded = b.add(b.add(bits, ints([0x7FFF] * LANES)), odd)
    return b.trunc(b.lshr(rounded, ints([16] * LANES)), HALVES)


def table_row(b: ir.IRBuilder, table: Any, channel: Any) -> list[Any]:
    """All tokens of one channel of a table."""
    base = at(b, table, channel, TILE * FLOAT_BYTES)
    places = [at(b, base, i * LANES, FLOAT_BYTES) for i in range(TILE // LANES)]
    return [load_vector(b, place, FLOATS, FLOAT_BYTES) for place in places]


def total(b: ir.IRBuilder, vector: Any) -> Any:
    """The sum of a vector's lanes, by halves."""
    for half in (8, 4, 2, 1):
        other = b.shuffle_vector(vector, vector, ints([(j + half) % LANES for j in range(LANES)]))
        vector = b.fadd(vector, other)
    return b.extract_element(vector, ir.Constant(INT32, 0))


def fma(b: ir.IRBuilder, x: Any, y: Any, z: Any) -> Any:
    """X y + z, rounded once."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    return b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.fma.v16f32"), [x, y, z])


def splat(b: ir.IRBuilder, value: Any) -> Any:
    """One number in every lane."""
    nothing = ir.Constant(FLOATS, ir.Undefined)
    first = b.insert_element(nothing, value, ir.Constant(INT32, 0))
    return b.shuffle_vector(first, nothing, ints([0] * LANES))


def ints(values: list[int]) -> Any:
    """A constant vector of integers."""
    return ir.Constant(INTS, [ir.Constant(INT32, v) for v in values])


def at(b: ir.IRBuilder, address: Any, count: Any, size: int) -> Any:
    """The address `count` elements of `size` bytes further on."""
    if isinstance(count, int):
        return b.add(address, ir.Constant(INT64, count * size))
    return b.add(address, b.mul(count, ir.Constant(INT64, size)))


def pointer(b: ir.IRBuilder, address: Any, kind: Any) -> Any:
    """An address as a pointer."""
    return b.inttoptr(address, kind.as_pointer())


def load_index(b: ir.IRBuilder, indices: Any, n: Any) -> Any:
    """The n-th of int32 numbers, as int64."""
    return b.sext(b.load(pointer(b, at(b, indices, n, FLOAT_BYTES), INT32)), INT64)


def load_vector(b: ir.IRBuilder, address: Any, kind: Any, align: int) -> Any:
    """One vector from an address that is a multiple of `align`."""
    loaded = b.load(pointer(b, address, kind))
    loaded.align = align
    return loaded


def store_vector(b: ir.IRBuilder, vector: Any, address: Any, align: int) -> None:
    """One vector to an address that is a multiple of `align`."""
    b.store(vector, pointer(b, address, vector.type)).align = align


def floats(value: float) -> Any:
    """The same number in every lane."""
    return ir.Constant(FLOATS, [value] * LANES)


def unary(b: ir.IRBuilder, name: str, x: Any) -> Any:
    """An LLVM operation on one vector."""
    kind = ir.FunctionType(FLOATS, [FLOATS])
    return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.{name}.v16f32"), [x])


def larger(b: ir.IRBuilder, x: Any, y: Any) -> Any:
    """The larger of two, lane by lane."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


LOWEST = -87.0
"""Below this the exponential is taken to stop falling, at 2e-38."""
LOG2E, LN2_HIGH, LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
EXPONENTIAL = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1)
"""Coefficients of r^7 to r^3 of exp(r) for |r| <= ln 2 / 2 (Cephes, expf)."""


def exponential(b: ir.IRBuilder, x: Any) -> Any:
    """Exp of every lane to 2 units in the last place; arguments above 88 are not expected."""
    x = larger(b, x, floats(LOWEST))
    turns = unary(b, "rint", b.fmul(x, floats(LOG2E)))
    rest = fma(b, turns, floats(-LN2_HIGH), x)
    rest = fma(b, turns, floats(-LN2_LOW), rest)
    sum_ = floats(EXPONENTIAL[0])
    for coefficient in (*EXPONENTIAL[1:], 0.5):
        sum_ = fma(b, sum_, rest, floats(coefficient))
    sum_ = b.fadd(fma(b, sum_, b.fmul(rest, rest), rest), floats(1.0))
    power = b.shl(b.add(b.fptosi(turns, INTS), ints([127] * LANES)), ints([23] * LANES))
    return b.fmul(sum_, b.bitcast(power, FLOATS))

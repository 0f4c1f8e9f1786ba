"""The kernels of sink_attention: what each program does with its block of queries or keys."""

import triton.language as tl

from lacewing.kernels.cuda.launch import jit

ROWS = 128
"""Rows that one program of `prepare` handles."""
LOG2_E = tl.constexpr(1.4426950408889634)


@jit
def rows_of(
    base: tl.tensor,
    at: tl.tensor,
    stride: tl.tensor,
    length: tl.tensor,
    WIDTH: tl.constexpr,
    BLOCK_D: tl.constexpr,
) -> tl.tensor:
    """Some tokens of one head, zero beyond the last token and the last channel."""
    channel = tl.arange(0, BLOCK_D)
    inside = at[:, None] < length
    if WIDTH != BLOCK_D:
        inside = inside & (channel[None, :] < WIDTH)
    return tl.load(base + at[:, None] * stride + channel[None, :], mask=inside, other=0.0)


@jit
def put_rows(
    base: tl.tensor,
    at: tl.tensor,
    stride: tl.tensor,
    length: tl.tensor,
    value: tl.tensor,
    WIDTH: tl.constexpr,
    BLOCK_D: tl.constexpr,
) -> None:
    """Store what `rows_of` would load."""
    channel = tl.arange(0, BLOCK_D)
    inside = at[:, None] < length
    if WIDTH != BLOCK_D:
        inside = inside & (channel[None, :] < WIDTH)
    place = base + at[:, None] * stride + channel[None, :]
    tl.store(place, value.to(base.dtype.element_ty), mask=inside)


@jit
def head_at(
    base: tl.tensor, pair: tl.tensor, heads: tl.tensor, of_batch: tl.tensor, of_head: tl.tensor
) -> tl.tensor:
    """Where one head of one sequence begins."""
    return base + (pair // heads).to(tl.int64) * of_batch + (pair % heads).to(tl.int64) * of_head


@jit
def forward(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    sink: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    q_b: tl.tensor,
    q_h: tl.tensor,
    q_t: tl.tensor,
    k_b: tl.tensor,
    k_h: tl.tensor,
    k_t: tl.tensor,
    v_b: tl.tensor,
    v_h: tl.tensor,
    v_t: tl.tensor,
    o_b: tl.tensor,
    o_h: tl.tensor,
    o_t: tl.tensor,
    heads: tl.tensor,
    length: tl.tensor,
    scale: tl.tensor,
    SINK: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """A block of queries over all keys up to it."""
    blocks = tl.cdiv(length, BLOCK_Q)
    pair = tl.program_id(0) // blocks
    start = (tl.program_id(0) % blocks) * BLOCK_Q
    at = start + tl.arange(0, BLOCK_Q)
    queries = rows_of(head_at(q, pair, heads, q_b, q_h), at, q_t, length, WIDTH, BLOCK_D)
    keys, values = head_at(k, pair, heads, k_b, k_h), head_at(v, pair, heads, v_b, v_h)
    if SINK:
        top = tl.zeros([BLOCK_Q], tl.float32) + tl.load(sink + pair % heads) * LOG2_E
        total = tl.zeros([BLOCK_Q], tl.float32) + 1.0
    else:
        top = tl.zeros([BLOCK_Q], tl.float32) - float("inf")
        total = tl.zeros([BLOCK_Q], tl.float32)
    mixed = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    full = start // BLOCK_K * BLOCK_K  # every query of the block sees every key before this
    for block in range(0, full, BLOCK_K):
        key_at = block + tl.arange(0, BLOCK_K)
        key = rows_of(keys, key_at, k_t, length, WIDTH, BLOCK_D)
        score = tl.dot(queries, tl.trans(key), input_precision=PRECISION) * (scale * LOG2_E)
        new = tl.maximum(top, tl.max(score, 1))
        weight = tl.exp2(score - new[:, None])
        fade = tl.exp2(top - new)
        value = rows_of(values, key_at, v_t, length, WIDTH, BLOCK_D)
        mixed = mixed * fade[:, None]
        mixed += tl.dot(weight.to(value.dtype), value, input_precision=PRECISION)
        total, top = total * fade + tl.sum(weight, 1), new
    for block in range(full, tl.minimum(start + BLOCK_Q, length), BLOCK_K):
        key_at = block + tl.arange(0, BLOCK_K)
        key = rows_of(keys, key_at, k_t, length, WIDTH, BLOCK_D)
        score = tl.dot(queries, tl.trans(key), input_precision=PRECISION) * (scale * LOG2_E)
        score = tl.where(key_at[None, :] <= at[:, None], score, float("-inf"))
        new = tl.maximum(top, tl.max(score, 1))
        weight = tl.exp2(score - new[:, None])
        fade = tl.exp2(top - new)
        value = rows_of(values, key_at, v_t, length, WIDTH, BLOCK_D)
        mixed = mixed * fade[:, None]
        mixed += tl.dot(weight.to(value.dtype), value, input_precision=PRECISION)
        total, top = total * fade + tl.sum(weight, 1), new
    mixed = mixed / total[:, None]
    put_rows(head_at(out, pair, heads, o_b, o_h), at, o_t, length, mixed, WIDTH, BLOCK_D)
    tl.store(lse + pair.to(tl.int64) * length + at, top + tl.log2(total), mask=at < length)


@jit
def prepare(
    out: tl.tensor,
    grad: tl.tensor,
    sink: tl.tensor,
    lse: tl.tensor,
    delta: tl.tensor,
    part: tl.tensor,
    o_b: tl.tensor,
    o_h: tl.tensor,
    o_t: tl.tensor,
    g_b: tl.tensor,
    g_h: tl.tensor,
    g_t: tl.tensor,
    heads: tl.tensor,
    length: tl.tensor,
    SINK: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
) -> None:
    """Each row's <gradient, output>, and a block's share of the sink's gradient."""
    blocks = tl.cdiv(length, BLOCK_Q)
    pair = tl.program_id(0) // blocks
    at = (tl.program_id(0) % blocks) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    mixed = rows_of(head_at(out, pair, heads, o_b, o_h), at, o_t, length, WIDTH, BLOCK_D)
    slope = rows_of(head_at(grad, pair, heads, g_b, g_h), at, g_t, length, WIDTH, BLOCK_D)
    product = tl.sum(mixed.to(tl.float32) * slope.to(tl.float32), 1)
    row = pair.to(tl.int64) * length + at
    tl.store(delta + row, product, mask=at < length)
    if SINK:
        logit = tl.load(sink + pair % heads) * LOG2_E
        weight = tl.exp2(logit - tl.load(lse + row, mask=at < length, other=float("inf")))
        tl.store(part + tl.program_id(0), -tl.sum(weight * product, 0))


@jit
def slopes(
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    d: tl.tensor,
    norm: tl.tensor,
    inner: tl.tensor,
    scale: tl.tensor,
    seen: tl.tensor,
    PRECISION: tl.constexpr,
) -> tl.tensor:
    """Attention weights from <a, b>, queries with keys; their scores' gradient from <c, d>."""
    score = tl.dot(a, tl.trans(b), input_precision=PRECISION) * (scale * LOG2_E)
    weight = tl.where(seen, tl.exp2(score - norm), 0.0)
    return weight, weight * (tl.dot(c, tl.trans(d), input_precision=PRECISION) - inner)


@jit
def backward_keys(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    grad: tl.tensor,
    lse: tl.tensor,
    delta: tl.tensor,
    dk: tl.tensor,
    dv: tl.tensor,
    q_b: tl.tensor,
    q_h: tl.tensor,
    q_t: tl.tensor,
    k_b: tl.tensor,
    k_h: tl.tensor,
    k_t: tl.tensor,
    v_b: tl.tensor,
    v_h: tl.tensor,
    v_t: tl.tensor,
    g_b: tl.tensor,
    g_h: tl.tensor,
    g_t: tl.tensor,
    o_b: tl.tensor,
    o_h: tl.tensor,
    o_t: tl.tensor,
    heads: tl.tensor,
    length: tl.tensor,
    scale: tl.tensor,
    WIDTH: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """The gradients of a block of keys and values, from all queries at or after it."""
    blocks = tl.cdiv(length, BLOCK_K)
    pair = tl.program_id(0) // blocks
    start = (tl.program_id(0) % blocks) * BLOCK_K
    key_at = start + tl.arange(0, BLOCK_K)
    key = rows_of(head_at(k, pair, heads, k_b, k_h), key_at, k_t, length, WIDTH, BLOCK_D)
    value = rows_of(head_at(v, pair, heads, v_b, v_h), key_at, v_t, length, WIDTH, BLOCK_D)
    queries, grads = head_at(q, pair, heads, q_b, q_h), head_at(grad, pair, heads, g_b, g_h)
    norms, inners = lse + pair.to(tl.int64) * length, delta + pair.to(tl.int64) * length
    of_key = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    of_value = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    for block in range(start // BLOCK_Q * BLOCK_Q, length, BLOCK_Q):
        at = block + tl.arange(0, BLOCK_Q)
        query = rows_of(queries, at, q_t, length, WIDTH, BLOCK_D)
        slope = rows_of(grads, at, g_t, length, WIDTH, BLOCK_D)
        # Rows beyond the last token have no weight anywhere.
        norm = tl.load(norms + at, mask=at < length, other=float("inf"))
        inner = tl.load(inners + at, mask=at < length, other=0.0)
        seen = key_at[:, None] <= at[None, :]
        weight, ds = slopes(
            key, query, value, slope, norm[None, :], inner[None, :], scale, seen, PRECISION
        )
        of_value += tl.dot(weight.to(slope.dtype), slope, input_precision=PRECISION)
        of_key += tl.dot(ds.to(query.dtype), query, input_precision=PRECISION)
    put_rows(
        head_at(dk, pair, heads, o_b, o_h), key_at, o_t, length, of_key * scale, WIDTH, BLOCK_D
    )
    put_rows(head_at(dv, pair, heads, o_b, o_h), key_at, o_t, length, of_value, WIDTH, BLOCK_D)


@jit
def backward_queries(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    grad: tl.tensor,
    lse: tl.tensor,
    delta: tl.tensor,
    dq: tl.tensor,
    q_b: tl.tensor,
    q_h: tl.tensor,
    q_t: tl.tensor,
    k_b: tl.tensor,
    k_h: tl.tensor,
    k_t: tl.tensor,
    v_b: tl.tensor,
    v_h: tl.tensor,
    v_t: tl.tensor,
    g_b: tl.tensor,
    g_h: tl.tensor,
    g_t: tl.tensor,
    o_b: tl.tensor,
    o_h: tl.tensor,
    o_t: tl.tensor,
    heads: tl.tensor,
    length: tl.tensor,
    scale: tl.tensor,
    WIDTH: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """The gradient of a block of queries, from all keys up to it."""
    blocks = tl.cdiv(length, BLOCK_Q)
    pair = tl.program_id(0) // blocks
    start = (tl.program_id(0) % blocks) * BLOCK_Q
    at = start + tl.arange(0, BLOCK_Q)
    query = rows_of(head_at(q, pair, heads, q_b, q_h), at, q_t, length, WIDTH, BLOCK_D)
    slope = rows_of(head_at(grad, pair, heads, g_b, g_h), at, g_t, length, WIDTH, BLOCK_D)
    keys, values = head_at(k, pair, heads, k_b, k_h), head_at(v, pair, heads, v_b, v_h)
    row = pair.to(tl.int64) * length + at
    norm = tl.load(lse + row, mask=at < length, other=float("inf"))
    inner = tl.load(delta + row, mask=at < length, other=0.0)
    of_query = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    for block in range(0, tl.minimum(start + BLOCK_Q, length), BLOCK_K):
        key_at = block + tl.arange(0, BLOCK_K)
        key = rows_of(keys, key_at, k_t, length, WIDTH, BLOCK_D)
        value = rows_of(values, key_at, v_t, length, WIDTH, BLOCK_D)
        seen = key_at[None, :] <= at[:, None]
        _, ds = slopes(
            query, key, slope, value, norm[:, None], inner[:, None], scale, seen, PRECISION
        )
        of_query += tl.dot(ds.to(key.dtype), key, input_precision=PRECISION)
    put_rows(head_at(dq, pair, heads, o_b, o_h), at, o_t, length, of_query * scale, WIDTH, BLOCK_D)

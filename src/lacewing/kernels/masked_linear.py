"""A sparse linear map between two sites that have masks, as one operation.

    x -> norm, positions beside -> AbsTopK -> mask -> W x + b -> AbsTopK -> mask -> + base

It is what `rms_norm`, `abs_topk`, `gate` and `sparse_linear` do one after the other, and gives what
they give up to the rounding of sums, always in float32. Two things make it faster. Nothing between
the steps is written to memory but what the backward pass needs. And the product and its gradient
only go through the weights of channels that are on: what is off adds a constant, and no gradient
passes it. The gradients of the masks themselves are those of all channels, on or off.

Between two maps values stay in tiles, [tile, channel, 64 tokens], as the loops work on them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lacewing.kernels.abs_topk import abs_topk_reference
from lacewing.kernels.jit import CHUNKS, jitted, numbers
from lacewing.kernels.rms_norm import EPSILON
from lacewing.kernels.sparse_linear import LANES, TILE, Nonzeros, SparseWeight

Activation = Literal["none", "gelu", "relu"]
ACTIVATIONS = {"none": 0, "gelu": 1, "relu": 2}
"""As the loops know them."""


@dataclass(frozen=True)
class Site:
    """The mask of one site, or of several that lie side by side."""

    step: Float[Tensor, " channel"]
    """1 where it is on, 0 elsewhere; gets the gradient of that, as if it were a number."""
    fill: Float[Tensor, " channel"]
    """What stands for a channel that is off."""

    @cached_property
    def on(self) -> np.ndarray:
        """Which channels are on, as int32."""
        return (self.step.detach() > 0).int().numpy()


@dataclass(frozen=True)
class Between:
    """What lies between the inputs of a map and its outputs."""

    weight: SparseWeight
    bias: Float[Tensor, " row"]
    activation: Activation = "none"
    """What the inputs go through first."""
    gain: Float[Tensor, " channel"] | None = None
    """Of the norm that they go through; none for no norm."""
    beside: Float[Tensor, "tile column lane"] | None = None
    """What stands beside them after that, in tiles."""
    read: Site | None = None
    """The mask of the inputs, if they are a site."""
    keep: int = 0
    """How many of them AbsTopK leaves; 0 for all."""
    written: Site | None = None
    """The mask of the outputs, if they are a site or several."""
    parts: tuple[int, ...] = (0,)
    """How many AbsTopK leaves of each part of the outputs; 0 for all. All are of one width."""
    passed: Bool[Tensor, " row"] | None = None
    """Which outputs a gradient can come back to where they are no site; by default all."""


def masked_linear(
    x: Tensor, between: Between, base: Float[Tensor, "tile row lane"] | None = None
) -> Float[Tensor, "tile row lane"]:
    """The outputs, in tiles.

    Args:
        x: Inputs: in tiles, or as [token channel]; float32, on a CPU, and no wider than `covers`
            says yes to.
        between: The map and its masks.
        base: Added to the outputs.
    """
    steps = [site.step if site else None for site in (between.read, between.written)]
    found: tuple[Tensor] = _MaskedLinear.apply(x, *steps, base, between, 0)  # type: ignore[no-untyped-call]
    return found[0]


def masked_linear_reference(
    x: Float[Tensor, "token channel"],
    between: Between,
    weight: Float[Tensor, "row column"],
    base: Float[Tensor, "token row"] | None = None,
) -> Float[Tensor, "token row"]:
    """The same of rows, with one operation for each step."""
    x = {"none": lambda x: x, "gelu": F.gelu, "relu": F.relu}[between.activation](x)
    if between.gain is not None:
        x = F.rms_norm(x, between.gain.shape, between.gain)
    if between.beside is not None:
        x = torch.cat([x, rows_of(between.beside, torch.arange(len(x)))], dim=1)
    if between.keep:
        x = abs_topk_reference(x, between.keep)
    out = F.linear(_masked(x, between.read), weight, between.bias)
    parts = zip(out.chunk(len(between.parts), dim=1), between.parts, strict=True)
    out = torch.cat([abs_topk_reference(part, k) if k else part for part, k in parts], dim=1)
    out = _masked(out, between.written)
    return out if base is None else out + base


def _masked(x: Tensor, site: Site | None) -> Tensor:
    return x if site is None else site.step * x + (1 - site.step) * site.fill


def masked_parts(
    x: Float[Tensor, "tile channel lane"], between: Between, tokens: int
) -> tuple[Float[Tensor, "token row"], ...]:
    """The outputs, one tensor for each part, token by token.

    Args:
        x: Inputs, in tiles.
        between: The map and its masks.
        tokens: How many tokens there are.
    """
    steps = [site.step if site else None for site in (between.read, between.written)]
    found: tuple[Tensor, ...] = _MaskedLinear.apply(x, *steps, None, between, tokens)  # type: ignore[no-untyped-call]
    return found


def covers(*widths: int) -> bool:
    """Whether the loops take maps between sites of these widths."""
    return all(width % LANES == 0 for width in widths)


def tiled(rows: Float[Tensor, "token channel"]) -> Float[Tensor, "tile channel lane"]:
    """Rows as tiles, the last one filled up with zeros."""
    padded = F.pad(rows, (0, 0, 0, -len(rows) % TILE))
    return padded.view(-1, TILE, rows.shape[1]).transpose(1, 2).contiguous()


def rows_of(tiles: Float[Tensor, "tile channel lane"], at: Int64[Tensor, " token"]) -> Tensor:
    """Some tokens of tiles, as rows."""
    return tiles[at // TILE, :, at % TILE]


class _MaskedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        read_step: Tensor | None,
        written_step: Tensor | None,
        base: Tensor | None,
        between: Between,
        tokens: int,
    ) -> tuple[Tensor, ...]:
        from lacewing.kernels.cpu import masked_linear as loops

        matrix, read, written = between.weight.by_row, between.read, between.written
        (many, width), start = matrix.shape, between.bias.detach().numpy().copy()
        if read is not None:
            matrix = part_of(matrix, read.on, read.fill, start)
        x = x.detach().contiguous()
        tiles = len(x) if x.ndim == 3 else -(-len(x) // TILE)
        gain = torch.empty(0) if between.gain is None else between.gain.detach()
        size = torch.empty(tiles if len(gain) else 0, TILE)
        seen = torch.empty(tiles if read else 0, width, TILE)
        out = torch.empty(0 if tokens else tiles, many, TILE)
        parts = len(between.parts)
        out_rows = torch.empty(parts if tokens else 0, tokens, many // parts)
        raw = torch.empty(tiles if written else 0, many, TILE)
        jitted(loops.forward)(
            *_inputs(x, between),
            numbers(_tiles(between.beside)),
            numbers(gain),
            np.float32(EPSILON),
            between.keep,
            matrix.pointer,
            matrix.index,
            matrix.value,
            start,
            np.array(between.parts, dtype=np.int64),
            *_mask(written),
            *(numbers(t) for t in (_tiles(base), seen, size, raw, out, out_rows)),
            CHUNKS,
        )
        kept = len(gain) or between.activation != "none"
        ctx.save_for_backward(x if kept else x[:0], size, seen, raw)
        ctx.between, ctx.shape = between, x.shape  # type: ignore[attr-defined]
        return tuple(out_rows) if tokens else (out,)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        from lacewing.kernels.cpu import masked_linear as loops

        x, size, seen, raw = ctx.saved_tensors  # type: ignore[attr-defined]
        between: Between = ctx.between  # type: ignore[attr-defined]
        matrix, read, written = between.weight.by_column, between.read, between.written
        lit = written.on if written else None
        if between.passed is not None:
            lit = between.passed.int().numpy()
        if lit is not None:
            start = np.zeros(matrix.shape[0], dtype=np.float32)
            matrix = part_of(matrix, lit, torch.zeros(len(lit)), start)
        none, wanted = torch.empty(0, 0), ctx.needs_input_grad  # type: ignore[attr-defined]
        plain = grads[0].ndim == 2
        given = [numbers(grad.contiguous()) for grad in grads] if plain else []
        shape = ctx.shape  # type: ignore[attr-defined]
        slope = torch.empty(shape if wanted[0] else (0, *shape[1:]))
        as_tiles = slope if slope.ndim == 3 else torch.empty(0, 0, 0)
        row_sums = torch.zeros(CHUNKS, matrix.shape[1])
        read_sums = torch.zeros(CHUNKS, matrix.shape[0])
        jitted(loops.backward)(
            (*given, *[numbers(none)] * (3 - len(given))),
            numbers(torch.empty(0, 0, 0) if plain else grads[0].contiguous()),
            numbers(raw),
            np.array(between.parts, dtype=np.int64),
            *_mask(written),
            matrix.pointer,
            matrix.index,
            matrix.value,
            numbers(seen),
            between.keep,
            *_mask(read),
            *_inputs(x, between)[1:],
            numbers(torch.empty(0) if between.gain is None else between.gain.detach()),
            numbers(size),
            numbers(as_tiles),
            numbers(slope if slope.ndim == 2 else none),
            numbers(row_sums),
            numbers(read_sums),
        )
        found = [read_sums.sum(0) if read else None, row_sums.sum(0) if written else None]
        base = grads[0] if wanted[3] else None
        return slope if wanted[0] else None, *found, base, None, None


def part_of(
    matrix: Nonzeros, lit: np.ndarray, fill: Tensor, start: Float[np.ndarray, " row"]
) -> Nonzeros:
    """The columns of a matrix that are lit; what the others add is added to `start`.

    Args:
        matrix: Row by row.
        lit: Which columns stay, as int32.
        fill: What the others are multiplied with.
        start: One number per row.
    """
    from lacewing.kernels.cpu import masked_linear as loops

    pointer = np.zeros_like(matrix.pointer)
    index, value = np.empty_like(matrix.index), np.empty_like(matrix.value)
    arrays = matrix.pointer, matrix.index, matrix.value, lit, numbers(fill.detach())
    jitted(loops.part_on, parallel=False)(*arrays, pointer, index, value, start)
    return Nonzeros(matrix.shape, pointer, index, value)


def _mask(site: Site | None) -> tuple[np.ndarray, np.ndarray]:
    if site is None:
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    return site.on, numbers(site.fill.detach().contiguous())


def _inputs(x: Tensor, between: Between) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows or tiles, and a number for what they go through."""
    rows = numbers(x if x.ndim == 2 else torch.empty(0, 0))
    return (
        rows,
        numbers(x if x.ndim == 3 else torch.empty(0, 0, 0)),
        ACTIVATIONS[between.activation],
    )


def _tiles(tiles: Tensor | None) -> Tensor:
    return torch.empty(0, 0, 0) if tiles is None else tiles.detach().contiguous()

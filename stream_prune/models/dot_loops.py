"""Compiled loops for :mod:`.pairwise_dots`: example by example, all of one in the nearest cache.

Both ways are sums of scaled rows: the products of one vector with others are their columns, scaled
by its entries; its gradient is the other vectors, scaled by their pairs' gradients. Such a sum is
taken 16 numbers at a time, whatever the sizes: what it writes beyond its end is overwritten by what
comes next, and the last one's ends in 16 numbers of slack.
"""

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor

from stream_prune.compiled_loops import compiled

LANES = 16
SUMS = 4
"""Independent sums: one alone would wait for each of its additions."""

_ONE = np.uint64(1)  # places without a sign are not asked whether they count from the end


def dots(vector: Tensor, others: Tensor, zeros: int) -> Tensor:
    """[B, D + P + zeros]: ``vector`` [B, D], its products with and among ``others`` [B, F, D]."""
    rows, vectors = len(vector), others.shape[1] + 1
    columns = vector.shape[1] + vectors * (vectors - 1) // 2 + zeros
    flat = torch.empty(rows * columns + LANES)
    _dots(_array(vector), _array(others), columns, flat.numpy())
    return flat[: rows * columns].view(rows, columns)


def dots_backward(vector: Tensor, others: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of ``vector`` [B, D] and ``others`` [B, F, D] of one of what :func:`dots` gave."""
    of_vector = torch.empty(vector.numel() + LANES)
    of_others = torch.empty(others.numel() + LANES)
    _gradients(
        _array(vector), _array(others), _array(gradient), of_vector.numpy(), of_others.numpy()
    )
    return of_vector[:-LANES].view_as(vector), of_others[:-LANES].view_as(others)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


@intrinsic  # type: ignore[untyped-decorator]
def _add_scaled(
    typing_context: Any,
    scales: Any,
    first_scale: Any,
    rows: Any,
    first_row: Any,
    stride: Any,
    count: Any,
    out: Any,
    place: Any,
) -> Any:
    """``out[place : place + 16]`` = the sum of ``count`` scales times as many rows of 16.

    Places are flat ones in contiguous arrays of float32; rows lie ``stride`` apart. Written for
    the processor's vectors: left to numba, whether arrays overlap is asked anew for every sum.
    """
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(argument: int) -> Any:
            array = context.make_array(signature.args[argument])
            start = array(context, builder, arguments[argument]).data
            return builder.gep(start, [arguments[argument + 1]])

        scale, row, target = pointer(0), pointer(2), pointer(6)
        stride, count = arguments[4:6]
        vector, number = ir.VectorType(ir.FloatType(), LANES), count.type
        undefined, first = vector(ir.Undefined), ir.IntType(32)(0)
        everywhere = ir.VectorType(ir.IntType(32), LANES)([0] * LANES)
        sums = [cgutils.alloca_once(builder, vector) for _ in range(SUMS)]
        for each in sums:
            builder.store(vector([0.0] * LANES), each)

        def add(to: Any, k: Any) -> None:
            one = builder.insert_element(undefined, builder.load(builder.gep(scale, [k])), first)
            scales = builder.shuffle_vector(one, undefined, everywhere)
            start = builder.gep(row, [builder.mul(k, stride)])
            numbers = builder.load(builder.bitcast(start, vector.as_pointer()), align=4)
            product = builder.fmul(scales, numbers, flags=("contract",))
            builder.store(builder.fadd(builder.load(to), product, flags=("contract",)), to)

        whole = builder.and_(count, number(-SUMS))
        with cgutils.for_range_slice(builder, number(0), whole, number(SUMS)) as (k, _):
            for i, each in enumerate(sums):
                add(each, builder.add(k, number(i)))
        with cgutils.for_range_slice(builder, whole, count, number(1)) as (k, _):
            add(sums[0], k)
        a, b, c, d = (builder.load(each) for each in sums)
        total = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
        builder.store(total, builder.bitcast(target, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(scales, first_scale, rows, first_row, stride, count, out, place), emit


@compiled
def _dots(vector: np.ndarray, others: np.ndarray, columns: int, out: np.ndarray) -> None:
    batch, tables, dim = others.shape
    width = (tables + LANES) // LANES * LANES
    turned = np.zeros(dim * width, np.float32)  # [D, F + 1], filled up
    for b in range(batch):
        place = b * columns
        for d in range(dim):
            turned[d * width] = out[place + d] = vector[b, d]
        for f in range(tables):
            for d in range(dim):
                turned[d * width + f + 1] = others[b, f, d]
        place += dim
        for f in range(tables):
            start = (b * tables + f) * dim
            for j in range(0, f + 1, LANES):
                _add_scaled(others, start, turned, j, width, dim, out, place + j)
            place += f + 1
        for zero in range(place, (b + 1) * columns):
            out[zero] = 0


@compiled
def _gradients(
    vector: np.ndarray,
    others: np.ndarray,
    gradient: np.ndarray,
    of_vector: np.ndarray,
    of_others: np.ndarray,
) -> None:
    batch, tables, dim = others.shape
    n = tables + 1
    rest = tables * dim
    flat = others.reshape(batch, rest)
    vectors = np.zeros(n * dim + LANES, np.float32)  # [F + 1, D]; a sum reads past a vector's end
    pairs = np.zeros(n * n, np.float32)  # symmetric, with zeros on the diagonal
    start, step = np.uint64(dim), np.uint64(n)
    for b in range(batch):
        for d in range(dim):
            vectors[d] = vector[b, d]
        for k in range(rest):
            vectors[dim + k] = flat[b, k]
        pair = start
        for i in range(1, n):
            below, above = np.uint64(i) * step, np.uint64(i)
            for _ in range(i):
                pairs[below] = pairs[above] = gradient[b, pair]
                pair, below, above = pair + _ONE, below + _ONE, above + step
        for d in range(0, dim, LANES):
            _add_scaled(pairs, 0, vectors, d, dim, n, of_vector, b * dim + d)
        for d in range(dim):
            of_vector[b * dim + d] += gradient[b, d]
        for f in range(tables):
            for d in range(0, dim, LANES):
                place = (b * tables + f) * dim + d
                _add_scaled(pairs, (f + 1) * n, vectors, d, dim, n, of_others, place)

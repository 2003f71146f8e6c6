"""Pooling as operations: the largest or the average of the cells in each window.

Where several cells of a window are the largest, the derivative goes to the first of them in
row-major order, and NaN is larger than everything, as in PyTorch. Averages are summed in float32 at
least.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.nn.pool_slices import (
    least,
    max_of_slices,
    slices_add_faster,
    slices_are_faster,
    sum_of_slices,
)
from ansatz.nn.pool_window import Pool
from ansatz.nn.precision import at_least_float32, floating_dtype_of


@functools.partial(jax.jit, static_argnums=1)
def max_pool(x: jax.Array, pool: Pool) -> jax.Array:
    """The largest cell of each window; padding is smaller than everything."""
    # JAX has no derivative for dilated windows.
    if any(d != 1 for d in pool.dilation) or slices_are_faster(pool):
        return max_of_slices(x, pool)
    return max_of_windows(x, pool)


def max_of_windows(x: jax.Array, pool: Pool) -> jax.Array:
    """The largest cell of each window by XLA's operation for windows."""
    return _reduce_window(x, pool, jax.lax.max, least(x))


@functools.partial(jax.jit, static_argnums=(1, 2))
def avg_pool(x: jax.Array, pool: Pool, count_include_pad: bool) -> jax.Array:
    """The average of each window; padding counts as zeros, or not at all."""
    placed = pool.placed(x)
    sums = sum_of_slices if slices_add_faster(pool) else sum_of_windows
    total = sums(at_least_float32(x), pool)
    counted = [
        _counted(n, k, s, pads if count_include_pad else (0, 0), pads[0], count)
        for n, k, s, pads, count in zip(
            placed.lengths, pool.size, pool.stride, placed.pads, placed.counts, strict=True
        )
    ]
    cells = functools.reduce(np.multiply.outer, counted)
    shape = [1] * x.ndim
    for axis, count in zip(placed.axes, placed.counts, strict=True):
        shape[axis] = count
    y: jax.Array = total / cells.reshape(shape).astype(total.dtype)
    return y.astype(floating_dtype_of(x))


def _counted(
    length: int, size: int, stride: int, pads: tuple[int, int], before: int, count: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many cells each window averages over, along one axis."""
    start = np.arange(count) * stride - before
    end = np.minimum(start + size, length + pads[1])
    return np.asarray(end - np.maximum(start, -pads[0]))


def sum_of_windows(x: jax.Array, pool: Pool) -> jax.Array:
    """The sum of each window by XLA's operation for windows."""
    return _reduce_window(x, pool, jax.lax.add, 0)


def _reduce_window(
    x: jax.Array,
    pool: Pool,
    combine: Callable[[Any, Any], Any],
    start: float | int,
) -> jax.Array:
    placed = pool.placed(x)
    size, stride, dilation = [1] * x.ndim, [1] * x.ndim, [1] * x.ndim
    pads = [(0, 0)] * x.ndim
    for i, axis in enumerate(placed.axes):
        size[axis], stride[axis] = pool.size[i], pool.stride[i]
        dilation[axis], pads[axis] = pool.dilation[i], placed.beyond[i]
    # A NumPy scalar is a constant by which JAX recognises a maximum or a sum.
    initial = np.asarray(start, x.dtype)[()]
    y: jax.Array = jax.lax.reduce_window(
        x, initial, combine, size, stride, pads, window_dilation=dilation
    )
    return y


# -- windows that share out the axis -------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def adaptive_max_pool(
    x: jax.Array, axes: tuple[int, ...], counts: tuple[int | None, ...], keepdims: bool = True
) -> jax.Array:
    """The largest cell of each of `counts` windows that share out the axes.

    Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
    `⌈(i + 1) n / m⌉`.
    """
    # From the last axis on, so that the first of several largest cells is the row-major first.
    for axis, count in reversed(tuple(zip(axes, counts, strict=True))):
        if count is not None:
            windows, _ = _shared_out(x, axis, count)
            x = _first_largest(windows, axis + 1)
    return x if keepdims else x.squeeze(axes)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def adaptive_avg_pool(
    x: jax.Array, axes: tuple[int, ...], counts: tuple[int | None, ...], keepdims: bool = True
) -> jax.Array:
    """The average of each of `counts` windows that share out the axes."""
    y = at_least_float32(x)
    for axis, count in zip(axes, counts, strict=True):
        if count is not None:
            windows, belongs = _shared_out(y, axis, count)
            if belongs is None:
                y = windows.mean(axis + 1)
                continue
            shape = [1] * windows.ndim
            shape[axis : axis + 2] = belongs.shape
            # What is zero here may be infinite there, so it is left out instead of multiplied.
            kept = jnp.where(belongs.reshape(shape), windows, 0)
            sizes = belongs.sum(1).reshape(shape[: axis + 1] + shape[axis + 2 :])
            y = kept.sum(axis + 1) / sizes.astype(y.dtype)
    y = y.astype(floating_dtype_of(x))
    return y if keepdims else y.squeeze(axes)


def _shared_out(
    x: jax.Array, axis: int, count: int
) -> tuple[jax.Array, np.ndarray[tuple[int, int], np.dtype[np.bool]] | None]:
    """The axis as two, `(windows, cells)`, and which cells belong to a window if not all do.

    Windows of unequal length are filled up with their own last cell.
    """
    n = x.shape[axis]
    if n % count == 0:
        shape = (*x.shape[:axis], count, n // count, *x.shape[axis + 1 :])
        return x.reshape(shape), None
    i = np.arange(count)
    start, end = i * n // count, -(-(i + 1) * n // count)
    cells = start[:, None] + np.arange((end - start).max())
    belongs = cells < end[:, None]
    return jnp.take(x, np.minimum(cells, end[:, None] - 1), axis=axis), belongs


def _first_largest(x: jax.Array, axis: int) -> jax.Array:
    """The maximum along an axis, with the derivative at the first place that has it."""
    place = jnp.argmax(x, axis, keepdims=True)
    here = jax.lax.broadcasted_iota(place.dtype, x.shape, axis) == place
    chosen: jax.Array = jnp.where(here, x, jnp.zeros((), x.dtype))
    return chosen.sum(axis, dtype=x.dtype)

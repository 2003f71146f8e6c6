"""Pooling as operations: the largest or the average of the cells in each sliding window.

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
from ansatz.nn.sizes import are_numbers


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


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def avg_pool(
    x: jax.Array, pool: Pool, count_include_pad: bool, divisor: int | None = None
) -> jax.Array:
    """The average of each window; padding counts as zeros, or not at all.

    With a `divisor` it is the sum of each window, divided by that.
    """
    placed = pool.placed(x)
    sums = sum_of_slices if slices_add_faster(pool) else sum_of_windows
    total = sums(at_least_float32(x), pool)
    if divisor is not None:
        return (total / divisor).astype(floating_dtype_of(x))
    counted = [
        _counted(n, k, s, pads if count_include_pad else (0, 0), pads[0], count)
        for n, k, s, pads, count in zip(
            placed.lengths, pool.size, pool.stride, placed.pads, placed.counts, strict=True
        )
    ]
    cells = functools.reduce(lambda a, b: a[..., None] * b, counted)
    shape = [1] * x.ndim
    for axis, count in zip(placed.axes, placed.counts, strict=True):
        shape[axis] = count
    y: jax.Array = total / cells.reshape(shape).astype(total.dtype)
    return y.astype(floating_dtype_of(x))


def _counted(
    length: int, size: int, stride: int, pads: tuple[int, int], before: int, count: int
) -> Any:
    """How many cells each window averages over, along one axis."""
    numbers: Any = np if are_numbers(length) else jnp  # Constants where they can be.
    start = numbers.arange(count) * stride - before
    end = numbers.minimum(start + size, length + pads[1])
    return end - numbers.maximum(start, -pads[0])


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

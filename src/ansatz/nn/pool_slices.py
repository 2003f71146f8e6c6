"""Pooling by slices: one shifted copy of the input for each cell of the window.

XLA's operation for windows is slow on CPUs, above all the derivative of the maximum. This file has
other ways to the same numbers, which `pool.py` takes on CPUs, and for dilated windows everywhere
because JAX has no derivative for those. Both are ordinary functions under every transformation, and
can be differentiated in either mode and as often as one likes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.nn.pool_window import Placed, Pool
from ansatz.nn.shifted import padded, shifted
from ansatz.nn.spatial import channel_axis

_MOST_CELLS = 32
"""Windows with more cells than these take longer to compile by slices than they save."""


def slices_are_faster(pool: Pool) -> bool:
    """Whether this file computes a pool faster than XLA's operation for windows."""
    return jax.default_backend() == "cpu" and max(pool.size) <= _MOST_CELLS


def slices_add_faster(pool: Pool) -> bool:
    """Whether this file sums up windows faster than XLA's operation for windows.

    Measured on two cores: 1.1 to 10 times, but for windows that do not overlap, channels last,
    the derivative takes up to five times as long.
    """
    apart = all(s >= k for k, s in zip(pool.size, pool.stride, strict=True))
    if apart and channel_axis(pool.layout) == -1:
        return False
    return jax.default_backend() == "cpu" and math.prod(pool.size) <= _MOST_CELLS


def least(x: jax.Array) -> float | int:
    """What is not larger than anything that `x` may hold."""
    if x.dtype == jnp.bool_:
        return False
    return -math.inf if jnp.issubdtype(x.dtype, jnp.floating) else int(np.iinfo(x.dtype).min)


def max_of_slices(x: jax.Array, pool: Pool) -> jax.Array:
    """The largest cell of each window."""
    placed = pool.placed(x)
    x = padded(x, placed.axes, placed.beyond, least(x))
    along = list(
        zip(placed.axes, pool.size, pool.stride, pool.dilation, placed.counts, strict=True)
    )
    if channel_axis(pool.layout) == -1 and all(s >= k for _, k, s, _, _ in along):
        # Each cell is in one window at most, so one pass over memory does.
        return _largest(x, along)
    # The last axis comes first: of several largest cells the row-major first shall be found.
    for axis in reversed(along):
        x = _largest(x, (axis,))
    return x


def sum_of_slices(x: jax.Array, pool: Pool) -> jax.Array:
    """The sum of each window."""
    placed = pool.placed(x)
    x = padded(x, placed.axes, placed.beyond, 0)
    return functools.reduce(jax.lax.add, _cells(x, _along(pool, placed)))


Along = tuple[int, int, int, int, int]
"""An axis, and the size, stride, dilation and number of places of the window along it."""


def _along(pool: Pool, placed: Placed) -> tuple[Along, ...]:
    return tuple(
        zip(placed.axes, pool.size, pool.stride, pool.dilation, placed.counts, strict=True)
    )


def _cells(x: jax.Array, along: Sequence[Along]) -> list[jax.Array]:
    axes, size, stride, dilation, counts = zip(*along, strict=True)
    return [cell for _, cell in shifted(x, axes, size, stride, dilation, counts)]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _largest(x: jax.Array, along: tuple[Along, ...]) -> jax.Array:
    y, _ = _largest_and_where(x, along)
    return y


@_largest.defjvp
def _derivative(
    along: tuple[Along, ...], primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The tangent of the first of the largest cells.

    Differentiating the comparisons instead would keep one mask for each cell of the window, and
    send the derivative through all of them in turn: 2 to 15 times slower for 3×3 windows.
    """
    y, where = _largest_and_where(*primals, along)
    chosen = [
        jnp.where(where == i, cell, jnp.zeros((), cell.dtype))
        for i, cell in enumerate(_cells(*tangents, along))
    ]
    dy: jax.Array = functools.reduce(jax.lax.add, chosen)
    return y, dy


def _largest_and_where(x: jax.Array, along: Sequence[Along]) -> tuple[jax.Array, jax.Array]:
    y, *others = _cells(x, along)
    where = jnp.zeros(y.shape, jnp.int16)
    for i, cell in enumerate(others, 1):
        larger = cell > y
        if jnp.issubdtype(x.dtype, jnp.floating):
            larger |= jnp.isnan(cell)
        y, where = jnp.where(larger, cell, y), jnp.where(larger, jnp.int16(i), where)
    return y, where

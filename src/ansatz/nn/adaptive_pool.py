"""Pooling to a given size as operations: windows that share out an axis.

Window `i` of `m` over `n` cells reaches from `⌊i n / m⌋` up to, but not including,
`⌈(i + 1) n / m⌉`. Where several cells of a window are the largest, the derivative goes to the first
of them in row-major order, and NaN is larger than everything, as in PyTorch. Averages are summed in
float32 at least.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sizes import are_numbers

Combine = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]
"""Combines the cells along axes; the last argument says which are there, `None` for all."""


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def adaptive_max_pool(
    x: jax.Array, axes: tuple[int, ...], counts: tuple[int | None, ...], keepdims: bool = True
) -> jax.Array:
    """The largest cell of each of `counts` windows that share out the axes."""

    def largest(x: jax.Array, axes: tuple[int, ...], there: Any) -> jax.Array:
        return _first_largest(x, axes)  # What is not there repeats what is.

    # From the last axis on, so that the first of several largest cells is the row-major first.
    y = _over_windows(x, axes[::-1], counts[::-1], largest)
    return y if keepdims else y.squeeze(axes)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def adaptive_avg_pool(
    x: jax.Array, axes: tuple[int, ...], counts: tuple[int | None, ...], keepdims: bool = True
) -> jax.Array:
    """The average of each of `counts` windows that share out the axes."""

    def average(x: jax.Array, axes: tuple[int, ...], there: Any) -> jax.Array:
        return x.mean(axes, where=there)

    y = _over_windows(at_least_float32(x), axes, counts, average).astype(floating_dtype_of(x))
    return y if keepdims else y.squeeze(axes)


def _over_windows(
    x: jax.Array, axes: tuple[int, ...], counts: tuple[int | None, ...], combine: Combine
) -> jax.Array:
    if all(count == 1 for count in counts):
        return jnp.expand_dims(combine(x, tuple(sorted(axes)), None), axes)
    for axis, count in zip(axes, counts, strict=True):
        if count is not None:
            x = _along(x, axis, count, combine)
    return x


_MOST_SLICES = 32
"""More slices than these take longer to compile than they save."""


def _along(x: jax.Array, axis: int, count: int, combine: Combine) -> jax.Array:
    """The windows along one axis, which may be of unequal length and overlap."""
    # Where the windows stand repeats itself, `period` cells and `phases` windows on.
    n = x.shape[axis]
    repeats = math.gcd(n, count)
    period, phases = n // repeats, count // repeats
    phase = np.arange(phases)
    start, end = phase * period // phases, -(-(phase + 1) * period // phases)
    cells = axis
    if repeats > 1:
        x = x.reshape(*x.shape[:axis], repeats, period, *x.shape[axis + 1 :])
        cells = axis + 1
    if phases <= _MOST_SLICES:
        parts = [
            combine(jax.lax.slice_in_dim(x, int(a), int(b), axis=cells), (cells,), None)
            for a, b in zip(start, end, strict=True)
        ]
        y = jnp.stack(parts, cells)
    else:
        # Windows of unequal length are filled up with their own last cell.
        seen = start[:, None] + np.arange((end - start).max())
        there = np.expand_dims(seen < end[:, None], tuple(range(2, x.ndim - cells + 1)))
        x = jnp.take(x, np.minimum(seen, end[:, None] - 1), axis=cells)
        y = combine(x, (cells + 1,), there)
    return y if repeats == 1 else y.reshape(*y.shape[:axis], count, *y.shape[axis + 2 :])


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _first_largest(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """The maximum along axes, with the derivative at the first place that has it.

    That of `jnp.max` is shared among all places that have it, and takes longer to compute.
    """
    return x.max(axes)


@_first_largest.defjvp
def _derivative(
    axes: tuple[int, ...], primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    y = x.max(axes, keepdims=True)
    has_it = x == y
    if jnp.issubdtype(x.dtype, jnp.floating):
        has_it |= jnp.isnan(x)
    # Of floats XLA finds the largest far faster than of integers; up to here they are exact.
    cells = math.prod(x.shape[axis] for axis in axes)
    dtype = jnp.float32 if are_numbers(cells) and cells < 2**24 else jnp.int32
    place, places = jnp.zeros((), dtype), 1
    for axis in reversed(axes):
        place = place + places * jax.lax.broadcasted_iota(dtype, x.shape, axis)
        places *= x.shape[axis]
    first = -jnp.where(has_it, -place, -cells).max(axes, keepdims=True)
    chosen = jnp.where(place == first, dx, jnp.zeros((), dx.dtype))
    return y.squeeze(axes), chosen.sum(axes)

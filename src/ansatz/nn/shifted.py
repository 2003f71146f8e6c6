"""Windows as shifted copies: for each cell of a window, what it sees at all places at once.

XLA has operations for windows, which on CPUs are slow where the work for each cell is small. Then
it is faster to cut the input into one strided slice for each cell of the window and to combine
these slice by slice: XLA fuses that into one loop, and so does its derivative.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from ansatz.nn.spatial import Pads


def shifted(
    x: jax.Array,
    axes: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    counts: Sequence[int],
) -> Iterator[tuple[tuple[int, ...], jax.Array]]:
    """Each cell of the window, in row-major order, with what it sees at all places.

    Args:
        x: the input, padded already.
        axes: along which axes the window slides.
        size: how many cells the window has along each of them.
        stride: how many cells it moves on.
        dilation: how far apart its cells are.
        counts: at how many places it stands.
    """
    for cell in itertools.product(*map(range, size)):
        start, limit, step = [0] * x.ndim, list(x.shape), [1] * x.ndim
        for axis, i, s, d, count in zip(axes, cell, stride, dilation, counts, strict=True):
            start[axis], limit[axis], step[axis] = i * d, i * d + (count - 1) * s + 1, s
        yield cell, jax.lax.slice(x, start, limit, step)


def padded(x: jax.Array, axes: Sequence[int], pads: Pads, value: float | int) -> jax.Array:
    """`x` with `value` added before and after the axes; negative pads cut off."""
    config = [(0, 0, 0)] * x.ndim
    for axis, (before, after) in zip(axes, pads, strict=True):
        config[axis] = (before, after, 0)
    if all(entry == (0, 0, 0) for entry in config):
        return x
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), config)

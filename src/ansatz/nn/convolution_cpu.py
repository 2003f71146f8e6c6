"""Convolution on CPUs: other ways to the same numbers, where XLA's own way is slow.

`slide_on_cpu` computes what `sliding.slide` computes. Which way it takes depends on static shapes
alone. All of them work under every transformation, in forward and in reverse mode, and can be
differentiated as often as one likes.

The thresholds were measured with jax 0.10.2 on two cores in float32, ways in turns in one process,
the fastest of 5 to 15 rounds. Ratios of the time of `slide` to that of the other way:

| input, kernel, outputs | forward | gradient of input | gradient of weight |
| --- | --- | --- | --- |
| 32×32×32×64, 1×1, 128: `slide_pointwise` | 1.7 | 1.6 | 2.4 |
| 32×16×16×64, 3×3, depthwise: `slide_depthwise` | 10 | 9 | 2.3 |
| 8×56×56×96, 3×3, stride 2, depthwise | 8.7 | 34 | 1.4 |
| 256×28×28×1, 5×5, 6: `slide_rows` | 3.1 | 12 | 2.2 |
| 256×14×14×6, 5×5, 16: `slide_rows` | 0.9 | 1.5 | 0.8 |
| 32×32×32×3, 3×3, 32: `slide_rows` | 0.6 | 0.2 | 0.6 |

| gradient of weight in pieces: `slide_pieces` | 2 pieces | 4 pieces | 8 pieces |
| --- | --- | --- | --- |
| 256×28×28×1, 5×5, 6 | 1.8 | 2.2 | 2.5 |
| 128×16×16×16, 3×3, 32 | 1.0 | 1.1 | 2.2 |
| 32×32×32×3, 3×3, 64 | 0.5 | 0.8 | 0.7 |
| 32×32×32×16, 3×3, 16 | 0.8 | 0.8 | 0.3 |
| 32×32×32×64, 3×3, 64 | 0.8 | 1.1 | 1.2 |
| 32×16×16×128, 3×3, 128 | 1.2 | 1.4 | 1.2 |
| 32×8×8×256, 3×3, 256 | 1.2 | 1.1 | 0.6 |
| 8×56×56×64, 3×3, stride 2, 128 | 0.6 | 0.8 | 1.0 |
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ansatz.nn.shifted import padded, shifted
from ansatz.nn.sliding import Sliding, slide
from ansatz.nn.spatial import extents, places, spatial_axes, spatial_sizes


def slide_on_cpu(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The sum of products of `sliding.slide`, computed in the way that is fast on CPUs."""
    if is_pointwise(weight, sliding):
        return slide_pointwise(x, weight, sliding)
    if is_depthwise(weight, sliding):
        return slide_depthwise(x, weight, sliding)
    if sliding.groups == 1 and all(spread == 1 for spread in sliding.spread):
        return slide_by_parts(x, weight, sliding)
    return slide(x, weight, sliding)


# -- one cell ------------------------------------------------------------------------------------


def is_pointwise(weight: jax.Array, sliding: Sliding) -> bool:
    """Whether each output sees one cell, so that the convolution is a product of matrices."""
    return (
        math.prod(weight.shape[2:]) == 1
        and sliding.groups == 1
        and sliding.channels_last
        and not any(map(any, sliding.pads))
        and all(spread == 1 for spread in sliding.spread)
    )


def slide_pointwise(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The product of the cells that are seen with the weight as a matrix."""
    steps = (slice(None), *(slice(None, None, s) for s in sliding.stride), slice(None))
    x = x[steps]
    y = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ weight.reshape(weight.shape[:2]).T
    return y.reshape(*x.shape[:-1], weight.shape[0])


# -- one channel in each group -------------------------------------------------------------------


def is_depthwise(weight: jax.Array, sliding: Sliding) -> bool:
    """Whether each output sees one channel, through a window small enough to take it apart."""
    return (
        sliding.groups > 1
        and weight.shape[1] == 1
        and math.prod(weight.shape[2:]) <= _MOST_CELLS
        and all(spread == 1 for spread in sliding.spread)
    )


_MOST_CELLS = 64
"""Windows with more cells take longer to compile cell by cell than they save."""


def slide_depthwise(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The sum of shifted copies of the input, each times one weight for each channel."""
    axes, size = spatial_axes(sliding.layout), weight.shape[2:]
    x = padded(x, axes, sliding.pads, 0)
    lengths, extent = spatial_sizes(x, sliding.layout), extents(size, sliding.dilation)
    counts = places("a convolution", lengths, extent, sliding.stride, ((0, 0),) * len(size))
    channels = -1 if sliding.channels_last else 1
    # Each channel of the input gives `outputs // groups` neighbouring ones of the output.
    repeats = weight.shape[0] // sliding.groups
    shape = [1] * x.ndim
    shape[channels] = weight.shape[0]
    y = jnp.zeros((), x.dtype)
    for cell, seen in shifted(x, axes, size, sliding.stride, sliding.dilation, counts):
        if repeats > 1:
            seen = jnp.repeat(seen, repeats, channels, total_repeat_length=weight.shape[0])
        y = y + seen * weight[(slice(None), 0, *cell)].reshape(shape)
    return y


# -- any convolution, differentiated part by part ------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def slide_by_parts(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """A convolution whose two derivatives are computed each in its own way.

    The tangent is the same sum of products of `(dx, weight)` plus that of `(x, dweight)`, so each
    of the two may be written in any way that has a fast transpose. Since the rule is made of
    ordinary functions, higher derivatives and forward mode hold.
    """
    if x.shape[-1] == 1 and bands_are_small(x, weight, sliding):
        return slide_rows(x, weight, sliding)
    return slide(x, weight, sliding)


def _derivative(
    sliding: Sliding, primals: tuple[jax.Array, jax.Array], tangents: tuple[Any, Any]
) -> tuple[jax.Array, Any]:
    x, weight = primals
    dx, dweight = tangents
    y = slide_by_parts(x, weight, sliding)
    parts = []
    if not isinstance(dx, SymbolicZero):
        by_rows = bands_are_small(x, weight, sliding)
        parts.append((slide_rows if by_rows else slide)(dx, weight, sliding))
    if not isinstance(dweight, SymbolicZero):
        parts.append(slide_pieces(x, dweight, sliding))
    return y, functools.reduce(jax.lax.add, parts) if parts else jnp.zeros_like(y)


slide_by_parts.defjvp(_derivative, symbolic_zeros=True)


def slide_pieces(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The convolution of pieces of the batch, whose transpose is a sum of small convolutions."""
    pieces = math.gcd(x.shape[0], _wanted_pieces(x, weight, sliding))
    if pieces <= 1:
        return slide(x, weight, sliding)
    return jnp.concatenate([slide(piece, weight, sliding) for piece in jnp.split(x, pieces)])


def _wanted_pieces(x: jax.Array, weight: jax.Array, sliding: Sliding) -> int:
    channels = weight.shape[1]
    cells = math.prod(spatial_sizes(x, sliding.layout))
    if x.shape[0] >= 128 and (channels == 1 or cells <= 256):
        return 8
    return 4 if channels >= 32 and all(s == 1 for s in sliding.stride) else 1


def bands_are_small(x: jax.Array, weight: jax.Array, sliding: Sliding) -> bool:
    """Whether `slide_rows` spends little of its time on multiplying with zeros."""
    if sliding.layout != "NHWC" or sliding.dilation != (1, 1) or weight.shape[1] > 8:
        return False
    return x.shape[2] + sum(sliding.pads[1]) <= 7 * weight.shape[3]


def slide_rows(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """A product of matrices: the rows of an image that a window sees, with a banded matrix.

    The matrix holds the weight once for each place along the row, and zeros elsewhere.
    """
    x = padded(x, (1, 2), sliding.pads, 0)
    batch, height, width, channels = x.shape
    outputs, _, high, wide = weight.shape
    down, right = places(
        "a convolution", (height, width), (high, wide), sliding.stride, ((0, 0), (0, 0))
    )
    seen = np.arange(right) * sliding.stride[1] + np.arange(wide)[:, None]
    stands = np.arange(width)[None, :, None] == seen[:, None, :]  # (cell, column, place)
    band = jnp.einsum("ocij,jwp->iwcpo", weight, stands.astype(weight.dtype))
    band = band.reshape(high * width * channels, right * outputs)
    steps = shifted(x, (1,), (high,), sliding.stride[:1], (1,), (down,))
    rows = jnp.concatenate([row for _, row in steps], axis=2)
    y = rows.reshape(batch * down, high * width * channels) @ band
    return y.reshape(batch, down, right, outputs)

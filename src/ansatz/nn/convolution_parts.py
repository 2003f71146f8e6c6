"""One dense convolution on CPUs, in the ways that are fast, for each of its two derivatives.

`slide_dense` computes what `sliding.slide` computes, for one group and an input without zeros
between its cells. The thresholds were measured as those of `convolution_cpu.py`, which brings all
other convolutions to this one. Ratios of the time of `slide` to that of the other way:

| input, kernel, outputs | forward | gradient of input | gradient of weight |
| --- | --- | --- | --- |
| 256×28×28×1, 5×5, 6: `slide_rows` | 3.1 | 12 | 2.2 |
| 256×14×14×6, 5×5, 16: `slide_rows` | 0.9 | 1.5 | 0.8 |
| 32×32×32×3, 3×3, 32: `slide_rows` | 0.6 | 0.2 | 0.6 |

| stride 1, same size | `slide_overhanging` | transpose of `slide_lengthened` | `slide_in_turns` |
| --- | --- | --- | --- |
| 32×32×32×64, 3×3, 64 | 1.5 | 1.5 | 1.7 |
| 8×56×56×64, 3×3, 64 | 1.5 | | |
| 32×16×16×64, 3×3, 96 | 1.7 | | |
| 8×32×32×64, 5×5, 64 | 1.7 | | |
| 8×28×28×128, 3×3, 128 | 1.0 | | |
| 8×32×128×64, 3×3, 64 | 0.7 | | |
| 32×32×32×3, 3×3, 64 | 0.6 | | |

| small images: `slide_strips` against `slide_overhanging` | forward | forward, both gradients |
| --- | --- | --- |
| 32×32×32×64, 3×3, 64 | 1.2 | 1.1 |
| 32×16×16×64, 3×3, 64 | 1.0 | 1.1 |
| 64×14×14×64, 3×3, 64 | 1.1 | 1.05 |
| 128×32×32×32, 3×3, 32 | 0.7 | 1.0 |
| eight layers of the first row with BatchNorm | | 1.1 |

| gradient of weight in pieces: `slide_pieces` | 4 pieces | 8 pieces | 16 pieces |
| --- | --- | --- | --- |
| 256×28×28×1, 5×5, 6 | 2.2 | 2.5 | |
| 256×24×24×6, 5×5, 16, no padding | 1.0 | 5.7 | |
| 32×32×32×3, 3×3, 64 | 1.4 | 1.4 | 1.2 |
| 128×32×32×3, 3×3, 32 | 2.4 | 2.2 | 3.1 |
| 32×32×32×16, 3×3, 16 | 1.2 | 0.9 | 0.6 |
| 64×32×32×16, 3×3, 16 | 1.3 | 1.3 | 0.9 |
| 128×32×32×16, 3×3, 32 | 1.3 | 2.1 | 2.4 |
| 16×64×64×16, 3×3, 16 | 0.7 | 0.5 | 0.3 |
| 32×16×16×128, 3×3, 128 | 1.4 | 1.2 | |
| 32×8×8×256, 3×3, 256 | 1.1 | 0.6 | |
| 8×56×56×64, 3×3, stride 2, 128 | 0.8 | 1.0 | |
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ansatz.core import processors
from ansatz.nn.shifted import padded, shifted
from ansatz.nn.sizes import are_numbers
from ansatz.nn.sliding import Sliding, slide
from ansatz.nn.spatial import extents, places, spatial_sizes


def slide_dense(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The sum of products of `sliding.slide`, with one group and nothing between the cells.

    Args:
        x: the input, channels last.
        weight: shape `(out, in, *kernel)`, of the dtype of `x`.
        sliding: how the window slides; its padding is not negative, and not more than the window
            reaches.
    """
    # `jax.export` has sizes that are symbols, which compare with no number. And where there are
    # several devices, the batch may be divided among them: pieces of it would be sent around.
    if not are_numbers(*x.shape[1:]) or jax.device_count() > 1:
        return slide(x, weight, sliding)
    images = images_in_a_strip(x, weight, sliding)
    if images > 1:
        return slide_strips(x, weight, sliding, images)
    return slide_by_parts(x, weight, sliding)


# -- differentiated part by part -----------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def slide_by_parts(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """A convolution whose two derivatives are computed each in its own way.

    The tangent is the same sum of products of `(dx, weight)` plus that of `(x, dweight)`, so each
    of the two may be written in any way that has a fast transpose. Since the rule is made of
    ordinary functions, higher derivatives and forward mode hold.
    """
    if x.shape[-1] == 1 and bands_are_small(x, weight, sliding):
        return slide_rows(x, weight, sliding)
    if is_left_to_one_thread(x, weight, sliding):
        return slide_overhanging(x, weight, sliding)
    return slide(x, weight, sliding)


def _derivative(
    sliding: Sliding, primals: tuple[jax.Array, jax.Array], tangents: tuple[Any, Any]
) -> tuple[jax.Array, Any]:
    x, weight = primals
    dx, dweight = tangents
    y = slide_by_parts(x, weight, sliding)
    parts = []
    if not isinstance(dx, SymbolicZero):
        parts.append(_way_back_to_input(x, weight, sliding)(dx, weight, sliding))
    if not isinstance(dweight, SymbolicZero):
        parts.append(_way_back_to_weight(x, weight, sliding)(x, dweight, sliding))
    return y, functools.reduce(jax.lax.add, parts) if parts else jnp.zeros_like(y)


slide_by_parts.defjvp(_derivative, symbolic_zeros=True)


def _way_back_to_input(
    x: jax.Array, weight: jax.Array, sliding: Sliding
) -> Callable[[jax.Array, jax.Array, Sliding], jax.Array]:
    if bands_are_small(x, weight, sliding):
        return slide_rows
    if transpose_is_left_to_one_thread(x, weight, sliding):
        return slide_lengthened
    return slide


def _way_back_to_weight(
    x: jax.Array, weight: jax.Array, sliding: Sliding
) -> Callable[[jax.Array, jax.Array, Sliding], jax.Array]:
    if not are_numbers(x.shape[0]):
        return slide
    return slide_in_turns if turns_are_worth_it(x, weight, sliding) else slide_pieces


# -- all threads for few channels ----------------------------------------------------------------
#
# XLA hands convolutions in two dimensions to YNNPACK, which takes one thread for those with few
# output channels on images that are not wide, and leaves what it has no kernel for to Eigen, which
# takes all threads. An output longer than the input is such a case (`IsConvolutionOpSupportedByYnn`
# in XLA's `backends/cpu/ynn_support.cc`). One row more costs far less than the second thread gains.

_ALL_THREADS = 128
"""With so many output channels, all threads have something to do."""

_THREADS = processors.available()


def _columns_for_a_thread(inputs: int, outputs: int) -> int:
    """How many places of a row YNNPACK gives to a thread, measured for 16 to 128 channels."""
    return max(_FEWEST_COLUMNS, 2**18 // max(1, inputs * min(inputs, outputs)))


_FEWEST_COLUMNS = 64


def is_left_to_one_thread(x: jax.Array, weight: jax.Array, sliding: Sliding) -> bool:
    """Whether `slide_overhanging` is faster, because `slide` leaves threads idle."""
    outputs, inputs = weight.shape[:2]
    return _has_rows_to_add(x, weight, sliding) and _takes_one_thread(x, inputs, outputs)


def transpose_is_left_to_one_thread(x: jax.Array, weight: jax.Array, sliding: Sliding) -> bool:
    """Whether the transpose of `slide_lengthened` is faster than that of `slide`."""
    outputs, inputs = weight.shape[:2]
    return _has_rows_to_add(x, weight, sliding) and _takes_one_thread(x, outputs, inputs)


def _takes_one_thread(x: jax.Array, inputs: int, outputs: int) -> bool:
    return (
        _THREADS > 1
        and x.dtype == jnp.float32
        and inputs >= 16
        and max(inputs, outputs) > 16
        and outputs < _ALL_THREADS
        and x.shape[2] < 0.75 * _THREADS * _columns_for_a_thread(inputs, outputs)
    )


def _has_rows_to_add(x: jax.Array, weight: jax.Array, sliding: Sliding) -> bool:
    """Whether the output is as high as the input, so that one row more makes it higher."""
    if sliding.layout != "NHWC" or sliding.stride != (1, 1):
        return False
    return sum(sliding.pads[0]) == (weight.shape[2] - 1) * sliding.dilation[0]


def slide_overhanging(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The convolution with one row more after the last, which is cut off again."""
    y = slide(x, weight, _with_rows_after(sliding, 1))
    return jax.lax.slice_in_dim(y, 0, -1, axis=1)


def slide_lengthened(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The convolution whose first row of padding after the input is made a part of the input.

    Its transpose is a convolution with one row more, which is cut off again.
    """
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (0, 1, 0), (0, 0, 0), (0, 0, 0)])
    return slide(x, weight, _with_rows_after(sliding, -1))


def _with_rows_after(sliding: Sliding, more: int) -> Sliding:
    (before, after), columns = sliding.pads
    return dataclasses.replace(sliding, pads=((before, after + more), columns))


# -- small images --------------------------------------------------------------------------------


def images_in_a_strip(x: jax.Array, weight: jax.Array, sliding: Sliding) -> int:
    """How many images `slide_strips` should put side by side; 1 where it is not worth it.

    Rows shall be wide enough for all threads, and a strip not too large for `slide_in_turns`.
    """
    if not (
        weight.ndim == 4
        and are_numbers(x.shape[0])
        and is_left_to_one_thread(x, weight, sliding)
        and turns_are_worth_it(x, weight, sliding)
        and _columns_for_a_thread(*weight.shape[:2]) == _FEWEST_COLUMNS
        and _columns_for_a_thread(*weight.shape[1::-1]) == _FEWEST_COLUMNS
    ):
        return 1
    width = x.shape[2] + max(sliding.pads[1])
    fewest = -(-_THREADS * _FEWEST_COLUMNS // width)
    most = _THREADS * _STRIP // (width * x.shape[1])
    return next((n for n in range(fewest, most + 1) if x.shape[0] % n == 0), 1)


_STRIP = 3072
"""How many cells a strip may have for each thread; larger ones do not stay in the cache."""


def slide_strips(x: jax.Array, weight: jax.Array, sliding: Sliding, images: int) -> jax.Array:
    """The convolution of strips: images side by side, with padding between them.

    What comes out between the images is cut off. Putting them side by side and apart again is a
    part of the loops before and after, in most networks: it costs little.
    """
    batch, height, width, channels = x.shape
    before, after = sliding.pads[1]
    reach = extents(weight.shape[2:], sliding.dilation)[1] - 1
    gap, right = max(before, after), width + before + after - reach
    strips = x.reshape(batch // images, images, height, width, channels).swapaxes(1, 2)
    strips = padded(strips, (3,), ((0, gap),), 0)
    strips = strips.reshape(batch // images, height, images * (width + gap), channels)
    along = dataclasses.replace(sliding, pads=(sliding.pads[0], (before, reach - before)))
    y = slide_by_parts(strips, weight, along)
    down, outputs = y.shape[1], y.shape[3]
    y = y.reshape(batch // images, down, images, width + gap, outputs)
    y = jax.lax.slice_in_dim(y, 0, right, axis=3).swapaxes(1, 2)
    return y.reshape(batch, down, right, outputs)


# -- the gradient of the weight ------------------------------------------------------------------


def slide_pieces(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The convolution of pieces of the batch, whose transpose is a sum of small convolutions."""
    pieces = math.gcd(x.shape[0], _wanted_pieces(x, weight, sliding))
    if pieces <= 1:
        return slide(x, weight, sliding)
    return jnp.concatenate([slide(piece, weight, sliding) for piece in jnp.split(x, pieces)])


def _wanted_pieces(x: jax.Array, weight: jax.Array, sliding: Sliding) -> int:
    channels = weight.shape[1]
    by_one = all(s == 1 for s in sliding.stride)
    if channels >= 32:
        small = x.shape[0] >= 128 and math.prod(spatial_sizes(x, sliding.layout)) <= 256
        return 8 if small else 4 if by_one else 1
    if by_one:
        return max(1, min(16, x.shape[0] // 8))
    return 8 if x.shape[0] >= 128 and channels == 1 else 1


def turns_are_worth_it(x: jax.Array, weight: jax.Array, sliding: Sliding) -> bool:
    """Whether the transpose of `slide_in_turns` is faster than that of `slide_pieces`.

    With fewer channels there is too little to multiply; with more outputs YNNPACK takes all
    threads; and of a high window on a low image much of the product would be cut off.
    """
    outputs, inputs, *size = weight.shape
    return (
        x.dtype == jnp.float32
        and sliding.layout == "NHWC"
        and sliding.stride == (1, 1)
        and min(outputs, inputs) >= 32
        and outputs < _ALL_THREADS
        and size[0] <= 3
        and x.shape[1] >= 14
        and math.prod(x.shape) > 0
    )


_TURN = 4096
"""About how many cells one turn takes, so that what it holds stays in the cache."""


def slide_in_turns(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """A loop over pieces of the batch, with one product of matrices in each turn.

    The matrix of a piece has a row for each cell, with the cells beside it that a window sees; it
    is multiplied by the rows of the window side by side, and the products of rows are added up
    where they belong. The transpose of that is one product of matrices that adds up over all
    cells. What a turn holds is used again by the next one: to have the matrices of the whole batch
    would take longer than their product.
    """
    turn = _images_in_a_turn(x)

    # In the backward pass the matrix is made again; kept, it would be as many inputs as the window
    # is wide. The piece is cut out in the loop: XLA would compute a reshaped `x` a second time.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(x: jax.Array, weight: jax.Array, start: jax.Array) -> jax.Array:
        piece = jax.lax.dynamic_slice_in_dim(x, start, turn)
        y = _slide_row_products(piece, weight, sliding)
        return y[0] if turn == 1 else y

    starts = jnp.arange(0, x.shape[0], turn)
    _, y = jax.lax.scan(lambda _, start: ((), one(x, weight, start)), (), starts)
    # Where it need not be reshaped, the backward pass has the cotangent once for both gradients.
    joined: jax.Array = y if turn == 1 else y.reshape(x.shape[0], *y.shape[2:])
    return joined


def _images_in_a_turn(x: jax.Array) -> int:
    """A divisor of the batch."""
    wanted = max(1, _TURN // math.prod(x.shape[1:3]))
    return max(n for n in range(1, min(wanted, x.shape[0]) + 1) if x.shape[0] % n == 0)


def _slide_row_products(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    x = padded(x, (1, 2), sliding.pads, 0)
    batch, height, width, channels = x.shape
    outputs, _, high, wide = weight.shape
    extent = extents((high, wide), sliding.dilation)
    down, right = places("a convolution", (height, width), extent, (1, 1), ((0, 0), (0, 0)))
    steps = shifted(x, (2,), (wide,), (1,), sliding.dilation[1:], (right,))
    seen = jnp.concatenate([cell for _, cell in steps], axis=3)
    by_rows = weight.transpose(2, 0, 3, 1).reshape(high * outputs, wide * channels)
    # Outputs come first, and are brought to their place by a copy of its own: the transpose then
    # copies the cotangent once, and XLA has a fast product for what follows.
    seen = seen.reshape(-1, wide * channels)
    rows = jax.lax.dot_general(by_rows, seen, (((1,), (1,)), ((), ())))
    rows = rows.reshape(high * outputs, batch, height, right)
    y = jnp.zeros((), x.dtype)
    for i, row in enumerate(jnp.split(rows, high)):
        start = i * sliding.dilation[0]
        y = y + jax.lax.slice_in_dim(row, start, start + down, axis=2)
    placed: jax.Array = jax.lax.optimization_barrier(y).transpose(1, 2, 3, 0)
    return placed


# -- few channels --------------------------------------------------------------------------------


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

"""Convolution on CPUs: other ways to the same numbers, where XLA's own way is slow.

`slide_on_cpu` computes what `sliding.slide` computes, by bringing a convolution to simpler ones:
channels come last, groups become dense convolutions of a few groups each, the zeros between cells
give way to one convolution for each phase of the output, and volumes become images. What is left
is a dense convolution, see `convolution_parts.py`.

Which way is taken is known when it is traced: it depends on shapes, on the dtype, on how the window
slides (the layout is a part of that), and on how many devices there are. All ways work under every
transformation, in forward and in reverse mode, and can be differentiated as often as one likes.

The thresholds were measured with jax 0.10.2 on two cores in float32, ways in turns in one process,
the fastest of 5 to 15 rounds. Ratios of the time of `slide` to that of the other way:

| input, kernel, outputs | forward | gradient of input | gradient of weight |
| --- | --- | --- | --- |
| 32×32×32×64, 1×1, 128: `slide_pointwise` | 1.7 | 1.6 | 2.4 |
| 32×16×16×64, 3×3, depthwise: `slide_depthwise` | 10 | 9 | 2.3 |
| 8×56×56×96, 3×3, stride 2, depthwise | 8.7 | 34 | 1.4 |
| 16×16×16×64, 4×4, transposed, stride 2, 32: `slide_phases` | 1.3 | 1.2 | 18 |
| 16×16×16×64, 2×2, transposed, stride 2, 64 | 1.7 | 1.6 | 21 |
| 4×8×8×8×32, 4×4×4, transposed, stride 2, 16 | 140 | 84 | 77 |
| 16×224×224×3, 16×16, stride 16, 192: `slide_patches` | 1.0 | 18 | 1.8 |
| 8×3×3×512, 3×3, 512: `slide_unfolded` | 2.3 | 2.6 | 14 |
| 8×6×6×256, 3×3, stride 2, 512 | 1.9 | 1.8 | 2.2 |
| 64×2×2×512, 3×3, 512 | 110 | 120 | 3.6 |
| 1×14×14×256, 3×3, 256 | 0.7 | 1.2 | 1.1 |
| 4×16×16×16×16, 3×3×3, 32: `slide_planes` | 4.6 | 7.9 | 5.4 |
| 4×16×16×16×16, 3×3×3, stride 2, 32 | 3.1 | 84 | 8.0 |
| 2×24×24×24×64, 3×3×3, 64 | 3.2 | 3.5 | 3.3 |

| input, kernel, groups | `slide_groups`, forward | with both gradients |
| --- | --- | --- |
| 16×32×32×64, 3×3, 4 | 12 | 60 |
| 16×14×14×256, 3×3, 32 | 5.6 | 260 |
| 16×28×28×128, 3×3, 32 | 14 | 260 |

| channels first, input, kernel, outputs | `slide_channels_last`, forward | with both gradients |
| --- | --- | --- |
| 32×64×32×32, 3×3, 64 | 1.6 | 2.0 |
| 32×64×32×32, 1×1, 128 | 1.7 | 5.6 |
| 32×128×16×16, 3×3, 128 | 1.0 | 1.0 |
| 16×3×64×64, 7×7, stride 2, 64 | 1.0 | 1.1 |
| 32×64×16×16, 3×3, depthwise | 0.4 | 0.2 |
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp

from ansatz.nn.convolution_parts import slide_dense
from ansatz.nn.shifted import padded, shifted
from ansatz.nn.sizes import are_numbers
from ansatz.nn.sliding import Sliding
from ansatz.nn.spatial import extents, places, spatial_axes, spatial_sizes


def slide_on_cpu(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The sum of products of `sliding.slide`, computed in the way that is fast on CPUs."""
    if is_depthwise(weight, sliding):
        return slide_depthwise(x, weight, sliding)
    if not sliding.channels_last:
        return slide_channels_last(x, weight, sliding)
    if sliding.groups > 1:
        return slide_groups(x, weight, sliding)
    if any(spread > 1 for spread in sliding.spread):
        way = slide_phases if has_phases(x, sliding) else slide_spread
        return way(x, weight, sliding)
    x, sliding = within_reach(x, weight, sliding)
    if is_pointwise(weight, sliding):
        return slide_pointwise(x, weight, sliding)
    if has_patches(x, weight, sliding):
        return slide_patches(x, weight, sliding)
    if has_few_places(x, weight, sliding):
        return slide_unfolded(x, weight, sliding)
    if weight.ndim == 5 and are_numbers(*x.shape[1:]):
        return slide_planes(x, weight, sliding)
    return slide_dense(x, *without_gaps(x, weight, sliding))


_PLACES_PER_CELL = 16
"""Few places, for a window of one cell; XLA was seen to abort with 1.25."""


def without_gaps(x: jax.Array, weight: jax.Array, sliding: Sliding) -> tuple[jax.Array, Sliding]:
    """The same weight with zeros in the gaps of a dilated window that strides over few places.

    When XLA of jax 0.10 and 0.12 compiles the gradient of such a convolution, it may abort the
    process: it swaps a window with what it slides over, if that is smaller, and miscounts.
    """
    strides, dilated = max(sliding.stride) > 1, max(sliding.dilation) > 1
    if not (strides and dilated and are_numbers(*x.shape[1:])):
        return weight, sliding
    if math.prod(_places(x, weight, sliding)) > _PLACES_PER_CELL * math.prod(weight.shape[2:]):
        return weight, sliding
    gaps = [(0, 0, 0), (0, 0, 0), *((0, 0, dilation - 1) for dilation in sliding.dilation)]
    filled = jax.lax.pad(weight, jnp.zeros((), weight.dtype), gaps)
    return filled, dataclasses.replace(sliding, dilation=(1,) * len(sliding.dilation))


def within_reach(x: jax.Array, weight: jax.Array, sliding: Sliding) -> tuple[jax.Array, Sliding]:
    """The same convolution, with no padding that cuts off cells or that some window sees alone.

    What is cut off or added beyond is made a part of the input. XLA of jax 0.10 computes
    convolutions with negative padding wrong on CPUs (it reads what lies beside the array), and the
    gradient of one that has more padding than its window reaches is such a convolution.
    """
    reach = [extent - 1 for extent in extents(weight.shape[2:], sliding.dilation)]
    kept = tuple(
        (min(max(before, 0), most), min(max(after, 0), most))
        for (before, after), most in zip(sliding.pads, reach, strict=True)
    )
    rest = tuple(
        (before - own[0], after - own[1])
        for (before, after), own in zip(sliding.pads, kept, strict=True)
    )
    x = padded(x, spatial_axes(sliding.layout), rest, 0)
    return x, dataclasses.replace(sliding, pads=kept)


def _places(x: jax.Array, weight: jax.Array, sliding: Sliding) -> tuple[int, ...]:
    """At how many places the window stands along each axis."""
    lengths = spatial_sizes(x, sliding.layout)
    extent = extents(weight.shape[2:], sliding.dilation)
    return places("a convolution", lengths, extent, sliding.stride, sliding.pads)


# -- one cell ------------------------------------------------------------------------------------


def is_pointwise(weight: jax.Array, sliding: Sliding) -> bool:
    """Whether each output sees one cell, so that the convolution is a product of matrices."""
    return math.prod(weight.shape[2:]) == 1 and not any(map(any, sliding.pads))


def slide_pointwise(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The product of the cells that are seen with the weight as a matrix."""
    steps = (slice(None), *(slice(None, None, s) for s in sliding.stride), slice(None))
    x = x[steps]
    y = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ weight.reshape(weight.shape[:2]).T
    return y.reshape(*x.shape[:-1], weight.shape[0])


# -- patches -------------------------------------------------------------------------------------


def has_patches(x: jax.Array, weight: jax.Array, sliding: Sliding) -> bool:
    """Whether each cell is seen once, as by the first layer of a vision transformer."""
    return (
        are_numbers(*x.shape[1:])
        and weight.shape[2:] == sliding.stride
        and not any(map(any, sliding.pads))
        and all(dilation == 1 for dilation in sliding.dilation)
    )


def slide_patches(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The product of the patches, as rows, with the weight as a matrix."""
    size, axes = sliding.stride, len(sliding.stride)
    counts = _places(x, weight, sliding)
    used = [count * s for count, s in zip(counts, size, strict=True)]
    x = jax.lax.slice(x, [0] * x.ndim, (x.shape[0], *used, x.shape[-1]))
    apart = itertools.chain.from_iterable(zip(counts, size, strict=True))
    x = x.reshape(x.shape[0], *apart, x.shape[-1])
    across = range(1, 1 + 2 * axes, 2)
    x = x.transpose(0, *across, *(axis + 1 for axis in across), 1 + 2 * axes)
    x = x.reshape(x.shape[0], *counts, -1)
    cells = jnp.moveaxis(weight, 1, -1).reshape(weight.shape[0], -1)
    ones = (1,) * axes
    alone = dataclasses.replace(sliding, stride=ones)
    return slide_pointwise(x, cells.reshape(*cells.shape, *ones), alone)


# -- few places ----------------------------------------------------------------------------------


def has_few_places(x: jax.Array, weight: jax.Array, sliding: Sliding) -> bool:
    """Whether the weight is at least as large as all that the window sees, place by place."""
    return are_numbers(*x.shape) and (
        x.shape[0] * math.prod(_places(x, weight, sliding)) <= weight.shape[0]
    )


def slide_unfolded(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The product of what each window sees, as rows, with the weight as a matrix.

    The rows are in the order of the weight, which is large: it is used as it lies.
    """
    counts, axes = _places(x, weight, sliding), range(1, x.ndim - 1)
    x = padded(x, axes, sliding.pads, 0)
    cells = shifted(x, axes, weight.shape[2:], sliding.stride, sliding.dilation, counts)
    seen = jnp.stack([cell for _, cell in cells], axis=-1)
    rows, columns = x.shape[0] * math.prod(counts), math.prod(weight.shape[1:])
    y = seen.reshape(rows, columns) @ weight.reshape(weight.shape[0], columns).T
    return y.reshape(x.shape[0], *counts, weight.shape[0])


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
    counts = _places(x, weight, sliding)
    x = padded(x, axes, sliding.pads, 0)
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


# -- channels first ------------------------------------------------------------------------------


def slide_channels_last(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The convolution with the channels brought to the end, and back.

    XLA would do so as well, after it has chosen its way for channels that come first.
    """
    first = sliding.layout
    last = dataclasses.replace(sliding, layout=f"N{first[2:]}C")
    return jnp.moveaxis(slide_on_cpu(jnp.moveaxis(x, 1, -1), weight, last), -1, 1)


# -- groups --------------------------------------------------------------------------------------

_CHANNELS_TOGETHER = 16
"""Dense convolutions of fewer channels take longer than the zeros that groups are joined by."""

_MOST_PARTS = 32
"""More convolutions take long to compile."""


def slide_groups(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """Dense convolutions of some groups each, with zeros in the weight between groups."""
    groups, inputs, outputs = sliding.groups, x.shape[-1], weight.shape[0]
    fewest = min(inputs, outputs)
    parts = max(
        n
        for n in range(1, min(groups, _MOST_PARTS) + 1)
        if groups % n == 0 and (n == 1 or fewest >= n * _CHANNELS_TOGETHER)
    )
    dense = dataclasses.replace(sliding, groups=1)
    ys = [
        slide_on_cpu(of_part, _as_dense(weights, groups // parts), dense)
        for of_part, weights in zip(
            jnp.split(x, parts, axis=-1), jnp.split(weight, parts), strict=True
        )
    ]
    return ys[0] if parts == 1 else jnp.concatenate(ys, axis=-1)


def _as_dense(weight: jax.Array, groups: int) -> jax.Array:
    """The weight `(out, in, …)` of one group that does what `(out, in / groups, …)` does."""
    outputs, inputs, *kernel = weight.shape
    apart = weight.reshape(groups, outputs // groups, 1, inputs, *kernel)
    own = jnp.eye(groups, dtype=bool).reshape(groups, 1, groups, 1, *(1 for _ in kernel))
    dense = jnp.where(own, apart, jnp.zeros((), weight.dtype))
    return dense.reshape(outputs, groups * inputs, *kernel)


# -- zeros between the cells ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """Neighbouring places of the output that see the same cells, along one axis.

    The input has `spread - 1` zeros between its cells. Whether a cell of the window meets a zero
    depends on the place only by its remainder, so all places of one remainder are a convolution
    without zeros, with every `spread`-th cell of the window.

    Attributes:
        count: how many remainders follow each other here.
        before: how many cells are added before the input.
        first: the first cell of the window that the last of the remainders uses.
        cells: how many cells each of them uses.
    """

    count: int
    before: int
    first: int
    cells: int


def phases_along(size: int, before: int, spread: int) -> list[Phase]:
    """All remainders from 0 on, those that see the same cells together."""
    found: list[Phase] = []
    for remainder in range(spread):
        shift, first = divmod(before - remainder, spread)
        cells = max(0, -(-(size - first) // spread))
        if found and (found[-1].before, found[-1].cells) == (shift, cells):
            found[-1] = Phase(found[-1].count + 1, shift, first, cells)
        else:
            found.append(Phase(1, shift, first, cells))
    return found


def has_phases(x: jax.Array, sliding: Sliding) -> bool:
    """Whether `slide_phases` can take it: as transposed convolutions have it."""
    ones = (1,) * len(sliding.spread)
    return are_numbers(*x.shape[1:]) and sliding.stride == ones and sliding.dilation == ones


def slide_spread(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """The convolution of an input that has the zeros between its cells."""
    config = [(0, 0, 0)] * x.ndim
    for axis, (before, after), s in zip(
        spatial_axes(sliding.layout), sliding.pads, sliding.spread, strict=True
    ):
        config[axis] = (before, after, s - 1)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
    axes = len(sliding.spread)
    alone = dataclasses.replace(sliding, pads=((0, 0),) * axes, spread=(1,) * axes)
    return slide_on_cpu(x, weight, alone)


def slide_phases(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """One convolution for each phase of the output, without the zeros between the cells."""
    axes, size, spread = len(sliding.spread), weight.shape[2:], sliding.spread
    lengths = spatial_sizes(x, sliding.layout)
    spaced = tuple((n - 1) * s + 1 for n, s in zip(lengths, spread, strict=True))
    counts = places("a convolution", spaced, size, sliding.stride, sliding.pads)
    wide = [-(-count // s) for count, s in zip(counts, spread, strict=True)]
    phases = [
        phases_along(k, before, s)
        for k, (before, _), s in zip(size, sliding.pads, spread, strict=True)
    ]

    def one(chosen: tuple[Phase, ...]) -> jax.Array:
        shape = (x.shape[0], *wide, *(phase.count for phase in chosen), weight.shape[0])
        if not all(phase.cells for phase in chosen):
            return jnp.zeros(shape, x.dtype)
        pads = tuple(
            (phase.before, w - n - phase.before + phase.cells - 1)
            for phase, w, n in zip(chosen, wide, lengths, strict=True)
        )
        ones = (1,) * axes
        window = dataclasses.replace(sliding, pads=pads, spread=ones)
        return slide_on_cpu(x, _weight_of(weight, chosen, spread), window).reshape(shape)

    def joined(chosen: tuple[Phase, ...]) -> jax.Array:
        axis = len(chosen)
        if axis == axes:
            return one(chosen)
        ys = [joined((*chosen, phase)) for phase in phases[axis]]
        return ys[0] if len(ys) == 1 else jnp.concatenate(ys, axis=1 + axes + axis)

    y = joined(())
    pairs = itertools.chain.from_iterable((1 + i, 1 + axes + i) for i in range(axes))
    y = y.transpose(0, *pairs, 1 + 2 * axes)
    y = y.reshape(x.shape[0], *(w * s for w, s in zip(wide, spread, strict=True)), weight.shape[0])
    return jax.lax.slice(y, [0] * y.ndim, (x.shape[0], *counts, weight.shape[0]))


def _weight_of(weight: jax.Array, chosen: tuple[Phase, ...], spread: tuple[int, ...]) -> jax.Array:
    """The cells that some phases use: shape `(phases · out, in, *cells)`."""
    axes = len(chosen)
    for i, (phase, s) in enumerate(zip(chosen, spread, strict=True)):
        # Rows of `spread` cells: the columns are remainders, the first of them is the last phase.
        axis = 2 + 2 * i
        start, stop = phase.first, phase.first + phase.cells * s
        weight = padded(weight, (axis,), ((-start, stop - weight.shape[axis]),), 0)
        shape = weight.shape
        weight = weight.reshape(*shape[:axis], phase.cells, s, *shape[axis + 1 :])
        weight = jax.lax.slice_in_dim(weight, 0, phase.count, axis=axis + 1)
        weight = jnp.flip(weight, axis + 1)
    counts = [3 + 2 * i for i in range(axes)]
    cells = [2 + 2 * i for i in range(axes)]
    weight = weight.transpose(*counts, 0, 1, *cells)
    return weight.reshape(-1, *weight.shape[axes + 1 :])


# -- volumes -------------------------------------------------------------------------------------

_CHANNELS_SIDE_BY_SIDE = 128
"""More channels than these are convolved plane by plane: to copy them takes longer."""


def slide_planes(x: jax.Array, weight: jax.Array, sliding: Sliding) -> jax.Array:
    """A convolution in two dimensions, of planes that hold the channels of all they see."""
    deep = weight.shape[2]
    x = padded(x, (1,), sliding.pads[:1], 0)
    extent = extents((deep,), sliding.dilation[:1])
    (down,) = places("a convolution", (x.shape[1],), extent, sliding.stride[:1], ((0, 0),))
    seen = [
        plane.reshape(x.shape[0] * down, *x.shape[2:])
        for _, plane in shifted(x, (1,), (deep,), sliding.stride[:1], sliding.dilation[:1], (down,))
    ]
    flat = Sliding(sliding.stride[1:], sliding.pads[1:], sliding.dilation[1:], (1, 1), 1, "NHWC")
    if deep * x.shape[-1] <= _CHANNELS_SIDE_BY_SIDE:
        outputs, inputs, _, *size = weight.shape
        by_channel = weight.swapaxes(1, 2).reshape(outputs, deep * inputs, *size)
        y = slide_on_cpu(jnp.concatenate(seen, axis=-1), by_channel, flat)
    else:
        y = slide_on_cpu(seen[0], weight[:, :, 0], flat)
        for i in range(1, deep):
            y = y + slide_on_cpu(seen[i], weight[:, :, i], flat)
    return y.reshape(x.shape[0], down, *y.shape[1:])

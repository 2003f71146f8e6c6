"""Resizing as an operation: sequences, images and volumes with more or fewer cells.

Along one axis each cell of the result is a weighted sum of a few cells of the input, its *taps*:
one for the nearest cell, two for a straight line, four for a cubic. Which ones they are depends on
lengths alone, so they are constants of the compiled program. Several axes are resized one after the
other.

The derivative is a weighted sum of a few cells too. It is written down as such, because what JAX
derives from a gather is a scatter, which is many times slower on CPUs. It can be differentiated in
either mode, as often as one likes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import ShapeError, did_you_mean, format_shape
from ansatz.core.spelling import hinted
from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sizes import are_numbers
from ansatz.nn.spatial import Size, checked_layout_of_any, layout_for, spatial_axes

Scale = float | Sequence[float]
"""One factor for all spatial axes, or one for each."""

Taps = tuple[Any, Any]
"""Indices and weights, each of shape `(cells of the result, taps)`."""

_MODES = {
    "nearest": ("nearest", None),
    "nearest-exact": ("nearest-exact", None),
    "linear": ("linear", None),
    "bilinear": ("linear", 2),
    "trilinear": ("linear", 3),
    "cubic": ("cubic", None),
    "bicubic": ("cubic", 2),
}
"""What a mode computes along each axis, and how many spatial axes it is for, if not any number."""

_FEW = 32
"""Up to so many taps, one gather for each is faster than one for all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Resampling:
    """How an input is resized; what is static when it is compiled.

    Attributes:
        size: the lengths of the spatial axes of the result: one for all, one for each, or `None`.
        scale: how many times as long they become, likewise; one of both is `None`.
        mode: how cells between those of the input are computed.
        align_corners: whether the first and last cells of input and result are in the same place.
        antialias: whether cells of a smaller result are averages of all that they cover.
        layout: where the axes of input and result stand; `None` for channels last.
    """

    size: int | tuple[int, ...] | None
    scale: float | tuple[float, ...] | None
    mode: str
    align_corners: bool
    antialias: bool
    layout: str | None

    def placed(self, kind: str, x: Any) -> list[tuple[int, int, float | None]]:
        """For each spatial axis of `x`: where it stands, its new length, and its factor if given.

        Raises:
            ShapeError: the input does not have the axes that it should, or no cells.
        """
        layout = layout_for(kind, x, self.layout)
        axes = spatial_axes(layout)
        wanted = _MODES[self.mode][1]
        if wanted not in (None, len(axes)):
            raise ShapeError(
                f"mode={self.mode!r} of {kind} is for {wanted} spatial axes, but an input of shape "
                f"{format_shape(x.shape)} has {len(axes)} in the layout {layout}; "
                f"mode={_MODES[self.mode][0]!r} takes any number"
            )
        given: Any = self.scale if self.size is None else self.size
        each = given if isinstance(given, tuple) else (given,) * len(axes)
        if len(each) != len(axes):
            name = "scale" if self.size is None else "size"
            raise ShapeError(
                f"{name}={given} of {kind} is for {len(each)} spatial axes, but an input of shape "
                f"{format_shape(x.shape)} has {len(axes)} in the layout {layout}"
            )
        placed = []
        for axis, number in zip(axes, each, strict=True):
            length = x.shape[axis]
            count = number if self.size is not None else _scaled(length, number)
            if are_numbers(length, count) and not (length and count):
                raise ShapeError(
                    f"{kind} makes {count} cells of the {length} along axis {axis} of "
                    f"{format_shape(x.shape)}; there has to be one before and after"
                )
            placed.append((axis, count, None if self.size is not None else float(number)))
        return placed


def _scaled(length: Any, scale: Any) -> Any:
    """How long an axis becomes: rounded down."""
    if are_numbers(length):
        return math.floor(length * scale)
    if scale == int(scale):
        return length * int(scale)
    raise ShapeError(
        f"an axis of open length {length} can be resized by a whole number, or to a size, not by "
        f"{scale}"
    )


def checked_resampling(
    kind: str,
    size: Size | None,
    scale: Scale | None,
    mode: Any,
    align_corners: bool,
    antialias: bool,
    layout: str | None,
) -> Resampling:
    """The options of a resizing, if they fit together.

    Raises:
        TypeError: a size is not a whole number, or a scale is no number.
        ValueError: an option does not exist, or two exclude each other.
    """
    if (size is None) == (scale is None):
        given = "neither" if size is None else "both"
        raise ValueError(
            f"{kind} takes either size=, the lengths of the result, or scale=, how many times as "
            f"long it is; got {given}"
        )
    if mode == "area":
        raise ValueError(f"mode='area' of {kind} does not exist: nn.AdaptiveAvgPool2D(size) is it")
    if mode not in _MODES:
        known = ", ".join(map(repr, _MODES))
        hint = did_you_mean(mode, _MODES) if isinstance(mode, str) else ""
        raise ValueError(f"mode of {kind} is one of {known}; got {mode!r}{hint}")
    if mode.startswith("nearest") and (align_corners or antialias):
        name = "align_corners" if align_corners else "antialias"
        raise ValueError(f"{name} of {kind} is for mode='linear' and 'cubic', got mode={mode!r}")
    if align_corners and antialias:
        raise ValueError(f"{kind} takes align_corners or antialias, not both")
    return Resampling(
        None if size is None else one_or_each("size", size, operator.index, "whole numbers"),
        None if scale is None else one_or_each("scale", scale, _factor, "numbers"),
        mode,
        bool(align_corners),
        bool(antialias),
        checked_layout_of_any(layout),
    )


def one_or_each(name: str, value: Any, kind: Any, called: str) -> Any:
    """`value` as one number, or as a tuple of one to three."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    try:
        found = tuple(kind(each) for each in (value if several else [value]))
    except TypeError:
        raise TypeError(f"{name} is made of {called}, got {value!r}") from None
    if not 1 <= len(found) <= 3 or not all(0 < each < math.inf for each in found):
        raise ValueError(f"{name} is a positive number, or one for each axis, got {value!r}")
    return found if several else found[0]


def _factor(value: Any) -> float:
    if not isinstance(value, numbers.Real):
        raise TypeError
    return operator.index(value) if isinstance(value, numbers.Integral) else float(value)


@hinted()
def interpolate(
    x: jax.Array,
    *,
    size: Size | None = None,
    scale: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
    layout: str | None = None,
) -> jax.Array:
    """Resize the spatial axes of `x`: what the layer `nn.Upsample` does, which tells the rest.

    Args:
        x: shape `(batch, *lengths, channels)`, or channels first by `layout`.
        size: the new lengths, one for all or one for each.
        scale: how many times as long the axes become, likewise; `n` becomes `⌊n · scale⌋`.
        mode: `"nearest"`, `"linear"`, `"cubic"`, …
        align_corners: whether first and last cells stay where they are.
        antialias: whether cells of a smaller result average over all that they cover.
        layout: `None` for channels last, or such as `"NCHW"`.

    Returns:
        Shape `(batch, *sizes, channels)`, in the dtype of `x`; of integers the nearest ones are
        integers, anything else is float32.

    Raises:
        TypeError, ValueError, ShapeError: as of `nn.Upsample`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> x = jnp.array([1.0, 2.0, 4.0])[None, :, None]
        >>> nn.interpolate(x, size=5, mode="linear", align_corners=True)[0, :, 0].tolist()
        [1.0, 1.5, 2.0, 3.0, 4.0]
    """
    how = checked_resampling("interpolate", size, scale, mode, align_corners, antialias, layout)
    return resample("interpolate", x, how)


def resample(kind: str, x: jax.Array, how: Resampling) -> jax.Array:
    """`x` with its spatial axes resized, on behalf of the layer or function `kind`."""
    placed = tuple(how.placed(kind, x))
    y: jax.Array = _resample(
        jnp.asarray(x), placed, _MODES[how.mode][0], how.align_corners, how.antialias
    )
    return y


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _resample(
    x: jax.Array,
    placed: tuple[tuple[int, int, float | None], ...],
    mode: str,
    align_corners: bool,
    antialias: bool,
) -> jax.Array:
    exact = mode.startswith("nearest") and not jnp.issubdtype(x.dtype, jnp.floating)
    y = x if exact else at_least_float32(x)
    for axis, count, scale in placed:
        y = _resized(y, axis, count, scale, mode, align_corners, antialias)
    return y if exact else y.astype(floating_dtype_of(x))


def _resized(
    x: jax.Array,
    axis: int,
    count: Any,
    scale: float | None,
    mode: str,
    align_corners: bool,
    antialias: bool,
) -> jax.Array:
    """`x` with `count` cells along one axis."""
    length = x.shape[axis]
    known = are_numbers(length, count)
    step = _step(length, count, scale, align_corners, known)
    if known and length == count and step == 1:
        return x
    if mode.startswith("nearest"):
        taps = _nearest(length, count, step, known, mode.endswith("exact"))
    elif antialias:
        taps = _covering(length, count, step, known, mode)
    else:
        taps = _between(length, count, step, known, mode, align_corners)
    if not known or not jnp.issubdtype(x.dtype, jnp.floating):
        return _weighted(x, axis, taps)
    return _with_fast_derivative(x, axis, taps)


def _with_fast_derivative(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    """`_weighted(x, axis, taps)`, with a derivative that is a weighted sum as well."""
    back = _transposed(taps, x.shape[axis])

    @jax.custom_jvp
    def weighted(x: jax.Array) -> jax.Array:
        return _weighted(x, axis, taps)

    @weighted.defjvp
    def jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
        y = weighted(*primals)
        # The same sums, as a scatter: JAX turns them round for a gradient, and gets the gather.
        transposed = jax.linear_transpose(lambda y: _weighted(y, axis, back), y)
        return y, transposed(*tangents)[0]

    result: jax.Array = weighted(x)
    return result


# -- which cells ----------------------------------------------------------------------------------
#
# Lengths are numbers, and then the tables are constants made with NumPy, or symbols of jax.export.


def _step(length: Any, count: Any, scale: float | None, align_corners: bool, known: bool) -> Any:
    """How far apart cells of the result are, in cells of the input."""
    if align_corners:
        if known:
            return (length - 1) / (count - 1) if count > 1 else 0.0
        last = jnp.maximum(jnp.asarray(count) - 1, 1)
        return jnp.where(jnp.asarray(count) > 1, (jnp.asarray(length) - 1) / last, 0.0)
    # What was asked for counts, as in PyTorch, not what it was rounded to.
    if scale is not None:
        return 1 / scale
    return length / count if known else jnp.asarray(length) / jnp.asarray(count)


def _nearest(length: Any, count: Any, step: Any, known: bool, exact: bool) -> Taps:
    """The cell in which the centre of each cell falls, or (not `exact`) its beginning."""
    np_: Any = np if known else jnp
    # In float32, as PyTorch, so that ties are rounded to the same side.
    begin = np_.arange(count).astype("float32") + np.float32(0.5 if exact else 0)
    place = np_.floor(begin * np_.asarray(step, "float32")).astype("int32")
    return np_.minimum(place, length - 1)[:, None], np_.ones((count, 1), "float32")


def _between(
    length: Any, count: Any, step: Any, known: bool, mode: str, align_corners: bool
) -> Taps:
    """The two or four cells around the centre of each cell; beyond the edge they are the edge."""
    np_: Any = np if known else jnp
    begin = np_.arange(count).astype("float64" if known else "float32")
    place = step * begin if align_corners else step * (begin + 0.5) - 0.5
    if mode == "linear":
        place = np_.clip(place, 0, length - 1)
    low = np_.floor(place)
    offset = np.arange(2) if mode == "linear" else np.arange(-1, 3)
    index = low.astype("int32")[:, None] + offset
    weight = _kernel(mode, (place - low)[:, None] - offset, -0.75, np_)
    return np_.clip(index, 0, length - 1), weight.astype("float32" if not known else "float64")


def _covering(length: Any, count: Any, step: Any, known: bool, mode: str) -> Taps:
    """All cells that each cell covers, as far as the kernel reaches when it is stretched."""
    if not known:
        raise ShapeError(f"antialias does not work along an axis of open length {length}")
    stretch = max(step, 1.0)
    reach = (1 if mode == "linear" else 2) * stretch
    centre = (step * (np.arange(count) + 0.5))[:, None]
    low = np.maximum(np.trunc(centre - reach + 0.5), 0)
    high = np.minimum(np.trunc(centre + reach + 0.5), length)
    index = low + np.arange(2 * math.ceil(reach) + 1)
    weight = _kernel(mode, (index - centre + 0.5) / stretch, -0.5, np)
    weight = np.where(index < high, weight, 0.0)
    index = np.minimum(index, length - 1).astype("int32")
    return index, weight / weight.sum(1, keepdims=True)


def _kernel(mode: str, distance: Any, a: float, np_: Any) -> Any:
    """How much a cell weighs at a distance: a triangle, or the cubic of Keys with parameter `a`."""
    d = np_.abs(distance)
    if mode == "linear":
        return np_.maximum(1 - d, 0)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np_.where(d <= 1, near, np_.where(d < 2, far, 0))


def _transposed(taps: Taps, length: int) -> Taps:
    """For each cell of the input the cells of the result that it is a part of, and their weights.

    What has fewer of them than others is filled up with weights of zero.
    """
    cells, weights = (np.asarray(table) for table in taps)
    heavy = weights != 0
    results = np.broadcast_to(np.arange(len(cells))[:, None], cells.shape)[heavy]
    cells, weights = cells[heavy], weights[heavy]
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=length)
    begin = np.cumsum(counts) - counts
    slot = np.arange(len(order)) - np.repeat(begin, counts)
    shape = length, max(counts.max(), 1)
    index, weight = np.zeros(shape, "int32"), np.zeros(shape, weights.dtype)
    index[cells[order], slot] = results[order]
    weight[cells[order], slot] = weights[order]
    return index, weight


# -- weighted sums --------------------------------------------------------------------------------


def _weighted(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    """The sums of the cells of `x` along `axis` that the taps name, times their weights."""
    index, weight = taps
    several = index.shape[1]
    if several > _FEW:
        return _times(_taken(x, index, axis), weight, axis).sum(axis + 1)
    parts = (_times(_taken(x, index[:, tap], axis), weight[:, tap], axis) for tap in range(several))
    return functools.reduce(jax.lax.add, parts)


def _taken(x: jax.Array, index: Any, axis: int) -> jax.Array:
    return jnp.take(x, index, axis=axis, mode="clip")


def _times(cells: jax.Array, weight: Any, axis: int) -> jax.Array:
    """The cells times the weights that stand along `axis`; where these are 0, it is 0."""
    known = isinstance(weight, np.ndarray)
    if known and (weight == 1).all():
        return cells
    shape = [1] * (cells.ndim - weight.ndim + 1)
    shape[axis : axis + 1] = weight.shape
    factor = weight.reshape(shape).astype(cells.dtype)
    if not known or (weight != 0).all():
        return jnp.multiply(cells, factor)
    # Infinity times zero is no number, and would come from a cell that takes no part.
    return jnp.where(factor != 0, cells * factor, jnp.zeros((), cells.dtype))

"""Layers that resize images, sequences and volumes without parameters.

Their names have no number of axes, and neither have they: an input has one to three spatial axes,
and its channels last unless `layout` says otherwise.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import jax

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.spelling import shared_init
from ansatz.nn.interpolation import (
    Resampling,
    Scale,
    checked_resampling,
    one_or_each,
    resample,
)
from ansatz.nn.sizes import are_numbers, checked_size, size_along
from ansatz.nn.spatial import (
    Size,
    channel_axis,
    checked_layout_of_any,
    layout_for,
    per_axis,
    spatial_axes,
    spatial_sizes,
)


class Upsample(Module):
    """Resizes sequences, images and volumes, to more cells or to fewer.

    `x` of shape `(batch, *lengths, channels)` becomes `(batch, *sizes, channels)`, where a size is
    given, or is `⌊length · scale⌋`. The numbers are those of PyTorch's `F.interpolate`, and half
    precision is computed in float32. `jax.image.resize` gives other ones: it takes the average of
    what it makes smaller, and its nearest cells and its cubic are others.

    Everything is given by name, since the first value is the size in PyTorch and the scale in
    Keras. The channels are last, also here; PyTorch's layer is `layout="NCHW"`.

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing", equation 4
    (the cubic, with a = -0.75, and -0.5 with antialiasing); the rest by PyTorch's definition.

    Args:
        size: the lengths of the spatial axes of the result, one for all or one for each.
        scale: how many times as long they become, likewise; also less than one.
        mode: how a cell that lies between those of the input is computed. `"nearest"` takes the
            cell in which it begins, `"nearest-exact"` the one in which its centre lies; `"linear"`
            weighs the two around it, `"cubic"` four, along each axis. PyTorch's `"bilinear"` and
            `"bicubic"` are these for two spatial axes, `"trilinear"` for three.
        align_corners: whether the centres of the first and last cells of the result are those of
            the input, rather than its edges.
        antialias: whether a smaller result averages over all that a cell of it covers, rather
            than looking only at the cells around its centre.
        layout: `None` for channels last; or such as `"NCHW"`.

    Raises:
        TypeError: a size is not a whole number, or a scale is no number.
        ValueError: neither size nor scale is given, or both; or an option does not exist or does
            not go with the mode.
        ShapeError: when called, if the input has other axes than the layout, or no cells.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Upsample(scale=2)(jnp.ones((2, 8, 8, 3))).shape
        (2, 16, 16, 3)
        >>> line = jnp.array([0.0, 4.0])[None, :, None]
        >>> nn.Upsample(scale=2, mode="linear")(line)[0, :, 0].tolist()
        [0.0, 1.0, 3.0, 4.0]
        >>> nn.Upsample(size=(32, 48), mode="cubic", layout="NCHW")
        Upsample(size=(32, 48), mode='cubic', layout='NCHW')
    """

    def __init__(
        self,
        *,
        size: Size | None = None,
        scale: Scale | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        antialias: bool = False,
        layout: str | None = None,
    ) -> None:
        super().__init__()
        how = checked_resampling("Upsample", size, scale, mode, align_corners, antialias, layout)
        self.size, self.scale, self.mode = how.size, how.scale, how.mode
        self.align_corners, self.antialias = how.align_corners, how.antialias
        self.layout = how.layout

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, *sizes, channels)`, or channels first."""
        how = Resampling(
            self.size, self.scale, self.mode, self.align_corners, self.antialias, self.layout
        )
        return resample(type(self).__name__, x, how)

    def extra_repr(self) -> str:
        """Size or scale, and what differs from the defaults."""
        parts = [f"scale={self.scale}" if self.size is None else f"size={self.size}"]
        if self.mode != "nearest":
            parts.append(f"mode={self.mode!r}")
        parts += [f"{name}=True" for name in ("align_corners", "antialias") if getattr(self, name)]
        return ", ".join([*parts, *_layout_repr(self.layout)])


def _layout_repr(layout: str | None) -> list[str]:
    return [] if layout is None else [f"layout={layout!r}"]


class _Shuffle(Module):
    """What moves cells between the channels and space."""

    @shared_init
    def __init__(self, factor: Size, *, layout: str | None = None) -> None:
        super().__init__()
        self.factor = one_or_each("factor", factor, operator.index, "whole numbers")
        self.layout = checked_layout_of_any(layout)

    def _laid_out(self, x: Any) -> tuple[str, tuple[int, ...]]:
        """The layout of `x`, and the factor for each of its spatial axes."""
        several = len(self.factor) if isinstance(self.factor, tuple) else None
        kind = type(self).__name__
        layout = layout_for(kind, x, self.layout, several)
        axes = len(layout) - 2
        if several not in (None, axes):
            raise ShapeError(
                f"factor={self.factor} of {kind} is for {several} spatial axes, but the layout "
                f"{layout} has {axes}"
            )
        return layout, per_axis("factor", self.factor, axes)

    def extra_repr(self) -> str:
        """The factor, and the layout if one is given."""
        return ", ".join([f"factor={self.factor}", *_layout_repr(self.layout)])


class PixelShuffle(_Shuffle):
    """Makes space of channels: `factor` times as many cells along each spatial axis.

    `(batch, *lengths, channels · Π factor)` becomes `(batch, *(length · factor), channels)`. With
    factor `r`, channel `c · r² + i · r + j` of an image becomes row `i` and column `j` of the `r`
    × `r` cells that each cell becomes, in channel `c`: PyTorch's order, in either layout
    (TensorFlow's `depth_to_space` has the last and the first exchanged).

    Source: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", equation 4.

    Args:
        factor: how many times as long the spatial axes become, all of them or each.
        layout: `None` for channels last; or such as `"NCHW"`, which is PyTorch's.

    Raises:
        TypeError, ValueError: the factor is not made of positive whole numbers.
        ShapeError: when called, if the input has other axes than the layout, or its channels are
            not divisible.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.PixelShuffle(2)(jnp.ones((2, 8, 8, 12))).shape
        (2, 16, 16, 3)
        >>> nn.PixelShuffle(2, layout="NCHW")(jnp.ones((2, 12, 8, 8))).shape
        (2, 3, 16, 16)
    """

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels · Π factor)` to `(batch, *(length · factor), channels)`."""
        layout, factor = self._laid_out(x)
        channels, parts = x.shape[channel_axis(layout)], math.prod(factor)
        if channels % parts:
            raise ShapeError(
                f"{type(self).__name__} makes {parts} cells of {parts} channels, but the input of "
                f"shape {format_shape(x.shape)} has {channels} channels in the layout {layout}, "
                f"which {parts} does not divide{_other_layout(x, layout, parts)}"
            )
        return _to_space(x, factor, layout)


def _other_layout(x: Any, layout: str, parts: int) -> str:
    """A hint, if the channels would fit on the other side."""
    first = channel_axis(layout) == 1
    if x.shape[-1 if first else 1] % parts:
        return ""
    other = f"N{layout[2:]}C" if first else f"NC{layout[1:-1]}"
    return f"; if the input is {other}, build the layer with layout='{other}'"


@functools.partial(jax.jit, static_argnums=(1, 2))
def _to_space(x: jax.Array, factor: tuple[int, ...], layout: str) -> jax.Array:
    n, lengths, parts = len(factor), spatial_sizes(x, layout), math.prod(factor)
    channels = x.shape[channel_axis(layout)] // parts
    grown = tuple(length * r for length, r in zip(lengths, factor, strict=True))
    if channel_axis(layout) == 1:
        y = x.reshape(x.shape[0], channels, *factor, *lengths)
        pairs = [axis for i in range(n) for axis in (2 + n + i, 2 + i)]
        return y.transpose(0, 1, *pairs).reshape(x.shape[0], channels, *grown)
    y = x.reshape(x.shape[0], *lengths, channels, *factor)
    pairs = [axis for i in range(n) for axis in (1 + i, 2 + n + i)]
    return y.transpose(0, *pairs, 1 + n).reshape(x.shape[0], *grown, channels)


class PixelUnshuffle(_Shuffle):
    """Makes channels of space: `factor` times fewer cells along each spatial axis.

    `(batch, *(length · factor), channels)` becomes `(batch, *lengths, channels · Π factor)`, in
    the order in which `PixelShuffle`, its inverse, takes them back.

    Source: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", equation 4, read from right to left.

    Args:
        factor: how many times as short the spatial axes become, all of them or each.
        layout: `None` for channels last; or such as `"NCHW"`, which is PyTorch's.

    Raises:
        TypeError, ValueError: the factor is not made of positive whole numbers.
        ShapeError: when called, if the input has other axes than the layout, or its lengths are
            not divisible.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.PixelUnshuffle(2)(jnp.ones((2, 16, 16, 3))).shape
        (2, 8, 8, 12)
    """

    def forward(self, x: Any) -> Any:
        """`(batch, *(length · factor), channels)` to `(batch, *lengths, channels · Π factor)`."""
        layout, factor = self._laid_out(x)
        for axis, r in zip(spatial_axes(layout), factor, strict=True):
            rest = x.shape[axis] % r
            if are_numbers(rest) and rest:
                raise ShapeError(
                    f"{type(self).__name__} divides axis {axis} by {r}, but the input has shape "
                    f"{format_shape(x.shape)} in the layout {layout}; pad it before, with nn.Pad"
                )
        return _to_channels(x, factor, layout)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _to_channels(x: jax.Array, factor: tuple[int, ...], layout: str) -> jax.Array:
    n, lengths, channels = len(factor), spatial_sizes(x, layout), x.shape[channel_axis(layout)]
    shrunk = tuple(length // r for length, r in zip(lengths, factor, strict=True))
    pairs = [size for pair in zip(shrunk, factor, strict=True) for size in pair]
    many = channels * math.prod(factor)
    if channel_axis(layout) == 1:
        y = x.reshape(x.shape[0], channels, *pairs)
        outer, inner = range(2, 2 + 2 * n, 2), range(3, 3 + 2 * n, 2)
        return y.transpose(0, 1, *inner, *outer).reshape(x.shape[0], many, *shrunk)
    y = x.reshape(x.shape[0], *pairs, channels)
    outer, inner = range(1, 1 + 2 * n, 2), range(2, 2 + 2 * n, 2)
    return y.transpose(0, *outer, 1 + 2 * n, *inner).reshape(x.shape[0], *shrunk, many)


class ChannelShuffle(Module):
    """Mixes groups of channels, so that the next grouped convolution sees some of each.

    Channel `g · n + i`, the `i`-th of the `n` in group `g`, becomes channel `i · groups + g`; the
    shape stays.

    Source: Zhang et al. 2018, "ShuffleNet: an extremely efficient convolutional neural network for
    mobile devices", section 3.1.

    Args:
        groups: into how many groups the channels are divided.
        axis: where the channels are; 1 in PyTorch.

    Raises:
        ValueError: `groups` is not positive.
        ShapeError: when called, if the channels are not divisible.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.ChannelShuffle(2)(jnp.arange(6)[None]).tolist()
        [[0, 3, 1, 4, 2, 5]]
    """

    def __init__(self, groups: int, *, axis: int = -1) -> None:
        super().__init__()
        self.groups = checked_size("groups", groups)
        if self.groups < 1:
            raise ValueError("groups cannot be less than 1, got 0")
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """`(..., channels, ...)` to the same shape."""
        channels = size_along(x, self.axis)
        if channels % self.groups:
            raise ShapeError(
                f"ChannelShuffle divides the channels into {self.groups} groups, but the input of "
                f"shape {format_shape(x.shape)} has {channels} along axis {self.axis}"
            )
        return _mixed(x, self.groups, self.axis)

    def extra_repr(self) -> str:
        """The groups, and the axis if it is not the last."""
        return f"groups={self.groups}" + ("" if self.axis == -1 else f", axis={self.axis}")


@functools.partial(jax.jit, static_argnums=(1, 2))
def _mixed(x: jax.Array, groups: int, axis: int) -> jax.Array:
    axis = axis % x.ndim
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    y = x.reshape(*before, groups, x.shape[axis] // groups, *after)
    return y.swapaxes(axis, axis + 1).reshape(x.shape)

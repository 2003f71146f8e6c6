"""Padding: cells that are added around the spatial axes, or cut off."""

from __future__ import annotations

import functools
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape, format_value
from ansatz.core.module import Module
from ansatz.nn.sizes import are_numbers
from ansatz.nn.spatial import (
    PADDING_MODES,
    Pads,
    checked_layout_of_any,
    layout_for,
    spatial_axes,
    spelled_padding,
)

Sides = int | Sequence[int | tuple[int, int]]
"""One number for all sides, or for each spatial axis a number or `(before, after)`."""

_NAMES_IN_NUMPY = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Pad(Module):
    """Adds cells around sequences, images and volumes, or cuts some off.

    `x` of shape `(batch, *lengths, channels)` becomes `(batch, *(length + before + after),
    channels)`. A negative number cuts cells off; so `nn.Pad(-1)` is Keras's `Cropping2D(1)`. The
    cells that stand next to a convolution may be added by the convolution itself: `padding=` and
    `padding_mode=` mean the same there.

    Source: the equation, `y[i] = x[i - before]`; and beyond the edges the value, or with `n` cells
    `x[-i]` and `x[2 (n - 1) - i]` (reflect), `x[0]` and `x[n - 1]` (replicate), `x[i mod n]`
    (circular).

    Args:
        padding: how many cells are added: one number for all sides, or for each spatial axis, in
            their order, a number or a pair `(before, after)`.
        mode: what they hold: `"zeros"`; `"reflect"`, the input mirrored at its first and last
            cells, which are not repeated; `"replicate"`, these cells; `"circular"`, the cells of
            the other end.
        value: what they hold instead of zeros.
        layout: `None` for channels last; or such as `"NCHW"`.

    Raises:
        TypeError: a number of cells is not whole.
        ValueError: an option does not exist, or `value` is given for another mode than zeros;
            when called, if it is no whole number and the input is made of these.
        ShapeError: when called, if the input has other axes than the layout, or fewer cells than
            are to be mirrored, repeated or cut off.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Pad(1)(jnp.ones((2, 8, 8, 3))).shape
        (2, 10, 10, 3)
        >>> nn.Pad(((0, 0), (-1, 3)), mode="reflect")(jnp.ones((2, 8, 8, 3))).shape
        (2, 8, 10, 3)
    """

    def __init__(
        self,
        padding: Sides,
        mode: str = "zeros",
        *,
        value: float = 0.0,
        layout: str | None = None,
    ) -> None:
        super().__init__()
        self.padding = _checked_sides(padding)
        self.mode = _checked_mode(mode)
        self.value = _checked_value(value)
        if self.value != 0 and mode != "zeros":
            raise ValueError(f"value={value!r} is for mode='zeros', got mode={mode!r}")
        self.layout = checked_layout_of_any(layout)

    def forward(self, x: Any) -> Any:
        """`(batch, *lengths, channels)` to `(batch, *(length + before + after), channels)`."""
        kind = type(self).__name__
        layout = layout_for(kind, x, self.layout, self._axes())
        axes, pads = len(layout) - 2, self.padding
        if isinstance(pads, int):
            pads = ((pads, pads),) * axes
        if len(pads) != axes:
            raise ShapeError(
                f"padding={self.padding} of {kind} is for {len(pads)} spatial axes, but the layout "
                f"{layout} has {axes}"
            )
        if not self.value.is_integer() and jnp.issubdtype(x.dtype, jnp.integer):
            raise ValueError(f"value={self.value} of {kind} is no {x.dtype}, which the input is")
        return _padded_and_cut(jnp.asarray(x), self.value, pads, self.mode, layout)

    def _axes(self) -> int | None:
        """How many spatial axes there have to be; `None` for any number."""
        return None if isinstance(self.padding, int) else len(self.padding)

    def extra_repr(self) -> str:
        """The padding, and what differs from the defaults."""
        pads = self.padding
        parts = [f"padding={pads if isinstance(pads, int) else spelled_padding(pads)}"]
        if self.mode != "zeros":
            parts.append(f"mode={self.mode!r}")
        if self.value != 0:
            parts.append(f"value={self.value}")
        if self.layout is not None:
            parts.append(f"layout={self.layout!r}")
        return ", ".join(parts)


def _checked_sides(value: Any) -> int | Pads:
    """A padding as one number for all sides, or as a pair for each spatial axis."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    try:
        if not several:
            return operator.index(value)
        pairs = [tuple(x) if isinstance(x, Sequence) else (x, x) for x in value]
        pads = tuple(tuple(operator.index(n) for n in pair) for pair in pairs)
    except TypeError:
        raise TypeError(
            f"padding is a whole number, or for each spatial axis a number or a pair (before, "
            f"after); got {value!r}"
        ) from None
    if not 1 <= len(pads) <= 3 or any(len(pair) != 2 for pair in pads):
        raise ValueError(
            "padding has one entry, a number or a pair (before, after), for each of one to three "
            f"spatial axes, got {value!r}; for PyTorch's order, the last axis first, there are "
            "nn.ZeroPad2d and the like"
        )
    return tuple((before, after) for before, after in pads)


def _checked_value(value: Any) -> float:
    if not isinstance(value, numbers.Real):
        raise TypeError(f"value is a number, got {format_value(value)}")
    return float(value)


def _checked_mode(mode: Any) -> str:
    if mode == "constant":
        raise ValueError("mode='constant' is mode='zeros', with value= for what is not zero")
    if mode not in PADDING_MODES:
        known = ", ".join(map(repr, PADDING_MODES))
        raise ValueError(f"mode of Pad is one of {known}; got {mode!r}")
    return str(mode)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _padded_and_cut(x: jax.Array, value: Any, pads: Pads, mode: str, layout: str) -> jax.Array:
    more = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    less = tuple((max(-before, 0), max(-after, 0)) for before, after in pads)
    if mode == "circular":  # What is left goes round, as in PyTorch.
        return padded("mode", _cut(x, less, layout), more, mode, layout)
    return _cut(padded("mode", x, more, mode, layout, value), less, layout)


def _cut(x: jax.Array, less: Pads, layout: str) -> jax.Array:
    """`x` without that many cells before and after each spatial axis."""
    for axis, (before, after) in zip(spatial_axes(layout), less, strict=True):
        length = x.shape[axis]
        if are_numbers(length) and before + after > length:
            raise ShapeError(
                f"a padding of {(-before, -after)} cuts off more than the {length} cells along "
                f"axis {axis} of {format_shape(x.shape)}"
            )
        x = jax.lax.slice_in_dim(x, before, length - after, axis=axis)
    return x


def padded(
    option: str, x: jax.Array, pads: Pads, mode: str, layout: str, value: Any = 0
) -> jax.Array:
    """`x` with cells added around its spatial axes.

    Args:
        option: what the mode is called where it was given.
        x: the input.
        pads: how many cells are added before and after each spatial axis.
        mode: what they hold, one of `PADDING_MODES`.
        layout: where the axes of `x` stand.
        value: what they hold instead of zeros.

    Raises:
        ShapeError: an axis has not as many cells as are to be added.
    """
    width = [(0, 0)] * x.ndim
    for axis, pair in zip(spatial_axes(layout), pads, strict=True):
        width[axis] = pair
        length = x.shape[axis]
        if mode == "zeros" or not are_numbers(length):
            continue
        there = length - 1 if mode == "reflect" else length
        if (mode != "replicate" or not there) and max(pair) > there:
            raise ShapeError(
                f"{option}={mode!r} adds cells of the input, of which axis {axis} of "
                f"{format_shape(x.shape)} has {max(there, 0)} to give, but padding adds {pair}; "
                f"use less padding, or {option}='zeros'"
            )
    if mode == "zeros":
        return jnp.pad(x, width, constant_values=jnp.asarray(value, x.dtype))
    return jnp.pad(x, width, mode=_NAMES_IN_NUMPY[mode])

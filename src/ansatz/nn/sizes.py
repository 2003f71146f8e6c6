"""Sizes: what layers ask of the numbers they are built with, and of the shapes of their inputs."""

from __future__ import annotations

import numbers
import operator
from typing import Any

from ansatz.core.errors import ShapeError, format_shape, format_value


def size_along(x: Any, axis: int) -> int:
    """How long `x` is along `axis`.

    Raises:
        ShapeError: `x` has no such axis.
    """
    try:
        size: int = x.shape[axis]
    except IndexError:
        raise ShapeError(
            f"the input has shape {format_shape(x.shape)}, which has no axis {axis}; add the "
            "missing axes, such as x[None] for a batch of one"
        ) from None
    return size


def channels_along(x: Any, axis: int, expected: int | None) -> int:
    """How many channels `x` has along `axis`.

    Args:
        x: the input.
        axis: where its channels are.
        expected: how many there have to be; `None` for any number.

    Raises:
        ShapeError: `x` has no such axis, or another number of channels.
    """
    found = size_along(x, axis)
    if expected in (None, found):
        return found
    hint = "check the axis and the width of the input"
    if axis == -1 and x.ndim > 2 and x.shape[1] == expected:
        hint = "if its channels come first, build the layer with axis=1"
    raise ShapeError(
        f"it has {expected} channels along axis {axis}, but the input has shape "
        f"{format_shape(x.shape)}; {hint}"
    )


def are_numbers(*sizes: Any) -> bool:
    """Whether no size is a symbol, as `jax.export` has them, which compares with no number."""
    return all(isinstance(size, int) for size in sizes)


def checked_size(name: str, size: Any) -> int:
    """`size` as a number of units, channels or features.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is negative.
    """
    try:
        number = operator.index(size)
    except TypeError:
        raise TypeError(f"{name} is a whole number, got {format_value(size)}") from None
    if number < 0:
        raise ValueError(f"{name} cannot be negative, got {number}")
    return number


def checked_width(name: str, size: Any) -> int | None:
    """`size` as an input width, which may be `None` for one that the first input tells.

    Raises:
        TypeError: it is neither a whole number nor `None`.
        ValueError: it is negative.
    """
    if isinstance(size, str):
        raise TypeError(
            f"{name} is a whole number, or None for a width that the first input tells; got "
            f"{size!r}. An activation is given by name: activation={size!r}."
        )
    return None if size is None else checked_size(name, size)


def checked_positive(kind: str, name: str, value: Any) -> float:
    """`value` of the option `name` of a layer or a loss, if it is a positive number.

    Raises:
        ValueError: it is not.
    """
    is_number = isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    if not is_number or not value > 0:
        raise ValueError(f"{name} of {kind} is a positive number, got {value!r}")
    return float(value)

"""Layers that hold nothing: they reshape, pass on, or call a function."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.nn.sizes import size_along


class Identity(Module):
    """Gives back its input; a placeholder where a layer is wanted.

    Example:
        >>> from ansatz import nn
        >>> nn.Identity()(3)
        3
    """

    def forward(self, x: Any) -> Any:
        """`x` itself, of any shape."""
        return x


class Flatten(Module):
    """Merges all axes from `start_axis` on into one.

    Args:
        start_axis: the first axis to merge; the default keeps the batch axis.

    Raises:
        ShapeError: when called, if the input has no axis `start_axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Flatten()(jnp.ones((2, 3, 4))).shape
        (2, 12)
    """

    def __init__(self, start_axis: int = 1) -> None:
        super().__init__()
        self.start_axis = start_axis

    def forward(self, x: Any) -> Any:
        """`(batch, a, b, …)` to `(batch, a · b · …)`."""
        if not -x.ndim <= self.start_axis < x.ndim:
            raise ShapeError(
                f"Flatten merges the axes from {self.start_axis} on, but the input has shape "
                f"{format_shape(x.shape)}; add a batch axis, x[None], or choose start_axis"
            )
        return _flatten(x, self.start_axis)

    def extra_repr(self) -> str:
        """The first axis that is merged."""
        return f"start_axis={self.start_axis}"


@functools.partial(jax.jit, static_argnums=1)
def _flatten(x: jax.Array, start_axis: int) -> jax.Array:
    kept, merged = x.shape[:start_axis], x.shape[start_axis:]
    return x.reshape(*kept, math.prod(merged))


class Unflatten(Module):
    """Splits one axis into several: the inverse of `Flatten`.

    With the default axis it makes an image of each example: `(batch, h · w · c)` becomes `(batch,
    h, w, c)`. To reshape several axes, flatten them first.

    Args:
        axis: the axis that is split.
        shape: what becomes of it; one size may be -1, for what the others leave.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is negative, or more than one is -1.
        ShapeError: when called, if the input has no such axis, or the sizes do not multiply to its
            length.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> nn.Unflatten(1, (7, 7, -1))(jnp.ones((2, 98))).shape
        (2, 7, 7, 2)
    """

    def __init__(self, axis: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.axis = operator.index(axis)
        self.shape = _checked_shape(shape)

    def forward(self, x: Any) -> Any:
        """`(..., a · b · …, ...)` to `(..., a, b, …, ...)`."""
        length = size_along(x, self.axis)
        known = math.prod(size for size in self.shape if size >= 0)
        left = length // known if -1 in self.shape and known else 1
        if known * left != length:
            raise ShapeError(
                f"Unflatten splits axis {self.axis} into {self.shape}, but the input has shape "
                f"{format_shape(x.shape)}, with {length} there"
            )
        return _unflatten(x, self.axis, tuple(left if n < 0 else n for n in self.shape))

    def extra_repr(self) -> str:
        """The axis, and what becomes of it."""
        return f"axis={self.axis}, shape={self.shape}"


def _checked_shape(shape: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        hint = "; -1 stands for what is left" if isinstance(shape, Sequence) else ""
        raise TypeError(f"shape is made of whole numbers, got {shape!r}{hint}") from None
    if not sizes or any(size < -1 for size in sizes) or sizes.count(-1) > 1:
        raise ValueError(
            f"shape has one size or more, one of which may be -1 for what is left; got {shape!r}"
        )
    return sizes


@functools.partial(jax.jit, static_argnums=(1, 2))
def _unflatten(x: jax.Array, axis: int, shape: tuple[int, ...]) -> jax.Array:
    axis = axis % x.ndim
    return x.reshape(*x.shape[:axis], *shape, *x.shape[axis + 1 :])


class Lambda(Module):
    """Makes a layer of a function, so that it can stand in a container.

    Parameters that the function uses have to belong to other layers of the network: `Lambda`
    holds none, so nothing else would initialise, save or train them.

    Args:
        function: a function of what `forward` takes.

    Raises:
        TypeError: `function` cannot be called.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> center = nn.Lambda(lambda x: x - x.mean())
        >>> print(center(jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])))
        [-2. -1.  0.  1.  2.]
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        if not callable(function):
            raise TypeError(
                f"Lambda wants a function, got {function!r} of type {type(function).__name__}"
            )
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns, of whatever shape that is."""
        return self.function(*args, **kwargs)

    def extra_repr(self) -> str:
        """The name of the function."""
        if isinstance(self.function, Module):
            return ""
        return str(getattr(self.function, "__name__", repr(self.function)))

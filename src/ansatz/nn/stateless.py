"""Layers that hold nothing: they reshape, pass on, or call a function."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module


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

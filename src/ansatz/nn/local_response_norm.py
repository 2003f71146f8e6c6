"""Local response normalisation: each channel against its neighbours at the same place."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.module import Module
from ansatz.nn.precision import at_least_float32, floating_dtype_of
from ansatz.nn.sizes import checked_size, size_along


class LocalResponseNorm(Module):
    """Divides each channel by the mean square of its neighbours, `y = x / (k + α m)^β`.

    `m` is the sum of the squares of the `size // 2` channels before, the channel itself and the
    `(size - 1) // 2` channels after, divided by `size`, also at the ends, where fewer are there.
    This is the formula of PyTorch and Gluon; the paper and TensorFlow do not divide by `size`, so
    their `α` is ours divided by `size`.

    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional
    neural networks", section 3.3.

    Args:
        size: how many neighbouring channels are summed.
        alpha: the factor `α` of their mean square.
        beta: the exponent `β`.
        k: what is added, so that nothing is divided by zero.
        axis: where the channels are; the last axis, or 1 if they come first.

    Raises:
        ValueError: `size` is not positive.
        ShapeError: when called, if the input has no such axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
        >>> norm(jnp.ones((2, 8, 8, 16))).shape
        (2, 8, 8, 16)
    """

    def __init__(
        self,
        size: int,
        *,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        axis: int = -1,
    ) -> None:
        super().__init__()
        self.size = checked_size("size", size)
        if self.size == 0:
            raise ValueError("size of LocalResponseNorm is at least 1, got 0")
        self.alpha, self.beta, self.k = float(alpha), float(beta), float(k)
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`; the sums are float32 at least."""
        size_along(x, self.axis)
        return _divided(x, self.size, self.alpha, self.beta, self.k, self.axis % x.ndim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, axis={self.axis}"


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _divided(x: jax.Array, size: int, alpha: float, beta: float, k: float, axis: int) -> jax.Array:
    wide = at_least_float32(x)
    window, pads = [1] * x.ndim, [(0, 0)] * x.ndim
    window[axis], pads[axis] = size, (size // 2, (size - 1) // 2)
    ones = (1,) * x.ndim
    total: jax.Array = jax.lax.reduce_window(jnp.square(wide), 0.0, jax.lax.add, window, ones, pads)
    scale: jax.Array = (k + alpha / size * total) ** -beta
    return (wide * scale).astype(floating_dtype_of(x))

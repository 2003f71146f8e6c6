"""Dropout: elements, channels or whole branches that are left out at random in training."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.streams import RandomStream, advance


class Dropout(Module):
    """In training, sets each element to zero with probability `rate` and scales up the others.

    What is kept is multiplied by `1 / (1 - rate)`, so the expectation does not change and nothing
    happens in evaluation (`net.eval()`), where the input is given back as it is.

    With `axes`, elements that differ only along these axes are dropped together:
    `nn.Dropout(0.5, axes=(1, 2))` drops whole channels of images of shape
    `(batch, height, width, channels)`, as PyTorch's `Dropout2d` does (Tompson et al. 2014,
    "Efficient object localization using convolutional networks", section 3.2).

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", sections 4 and 10 (scaling in training instead of afterwards).

    Args:
        rate: the probability of zero, from 0 to 1; with 1 everything is dropped.
        axes: the axes along which the mask does not vary, as Gluon's `axes`.

    Attributes:
        stream: the state that gives each call a new mask. It is drawn from the seed of the
            network's initialisation and its path, so masks are reproducible.

    Raises:
        ValueError: `rate` is not a probability.
        ShapeError: when called, if the input has no such axes.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> dropout = nn.Dropout(0.5)
        >>> sorted(set(dropout(jnp.ones(100)).tolist()))
        [0.0, 2.0]
        >>> bool((dropout.eval()(jnp.ones(100)) == 1).all())
        True
    """

    def __init__(self, rate: float = 0.5, *, axes: int | Sequence[int] = ()) -> None:
        super().__init__()
        if not 0 <= rate <= 1:
            raise ValueError(
                f"rate of {type(self).__name__} is the probability of dropping an element, a "
                f"number from 0 to 1; got {rate!r}"
            )
        self.rate = float(rate)
        self.axes = (axes,) if isinstance(axes, int) else tuple(axes)
        self.stream = RandomStream()

    def mask_shape(self, x: Any) -> tuple[int, ...]:
        """The shape of the mask: that of `x`, with length 1 along `axes`.

        Raises:
            ShapeError: `x` has no such axes.
        """
        if any(not -x.ndim <= axis < x.ndim for axis in self.axes):
            raise ShapeError(
                f"Dropout has the same mask along the axes {self.axes}, but the input has shape "
                f"{format_shape(x.shape)}"
            )
        alike = {axis % x.ndim for axis in self.axes}
        return tuple(1 if axis in alike else size for axis, size in enumerate(x.shape))

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`, a floating-point array."""
        shape = self.mask_shape(x)
        if not self.training or self.rate == 0:
            return x
        y, state = _dropout(x, self.stream.value, self.stream.positions(), self.rate, shape)
        self.stream.value = state
        return y

    def extra_repr(self) -> str:
        """The rate, and the axes if there are any."""
        return f"rate={self.rate}" + (f", axes={self.axes}" if self.axes else "")


class DropPath(Dropout):
    """In training, sets whole examples to zero with probability `rate` and scales up the others.

    At the end of a residual branch this leaves the branch out for some examples of the batch:
    stochastic depth. Evaluation gives back the input.

    Source: Huang et al. 2016, "Deep networks with stochastic depth", section 3; for each example,
    and scaled in training: Larsson et al. 2016, "FractalNet", section 3.

    Args:
        rate: the probability of zero, from 0 to 1.

    Attributes:
        stream: the state that gives each call a new mask.

    Raises:
        ValueError: `rate` is not a probability.
        ShapeError: when called, if the input has no batch axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> y = nn.DropPath(0.5)(jnp.ones((8, 4, 4)))
        >>> all(len(set(example.ravel().tolist())) == 1 for example in y)
        True
    """

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__(rate)

    def mask_shape(self, x: Any) -> tuple[int, ...]:
        """`(batch, 1, …)`.

        Raises:
            ShapeError: `x` has no batch axis.
        """
        if x.ndim == 0:
            raise ShapeError("DropPath drops examples along axis 0, but the input has shape ()")
        return (int(x.shape[0]),) + (1,) * (int(x.ndim) - 1)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _dropout(
    x: jax.Array,
    state: jax.Array,
    positions: tuple[jax.Array, ...],
    rate: float,
    shape: tuple[int, ...],
) -> tuple[jax.Array, jax.Array]:
    key, state = advance(state, positions)
    if rate == 1:
        return jnp.zeros_like(x), state
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(kept, x / (1 - rate), jnp.zeros((), x.dtype)), state

"""Dropout and noise: what changes an input at random in training, and not in evaluation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.module import Module
from ansatz.core.streams import RandomStream, advance
from ansatz.nn.precision import at_least_float32, floating_dtype_of


class _Random(Module):
    """What draws from a stream of its own in training, and gives the input back in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = RandomStream()

    def _change(self, x: Any) -> _Change | None:
        """What a call in training does, as a function and its options; `None` for nothing."""
        raise NotImplementedError

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`, a floating-point array."""
        change = self._change(x)
        if change is None or not self.training:
            return x
        y, state = _changed(x, self.stream.value, self.stream.positions(), *change)
        self.stream.value = state
        return y


class Dropout(_Random):
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

    def mask_shape(self, x: Any) -> tuple[int, ...]:
        """The shape of the mask: that of `x`, with length 1 along `axes`.

        Raises:
            ShapeError: `x` has no such axes.
        """
        if any(not -x.ndim <= axis < x.ndim for axis in self.axes):
            raise ShapeError(
                f"{type(self).__name__} has the same mask along the axes {self.axes}, but the "
                f"input has shape {format_shape(x.shape)}"
            )
        alike = {axis % x.ndim for axis in self.axes}
        return tuple(1 if axis in alike else size for axis, size in enumerate(x.shape))

    def _change(self, x: Any) -> _Change | None:
        shape = self.mask_shape(x)
        if self.rate == 0:
            return None
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0.0
        return _drop, (self.rate, shape, 0.0, scale, 0.0)

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


class AlphaDropout(Dropout):
    """Dropout for networks of `nn.SELU`, which keeps mean 0 and variance 1.

    In training, each element is set to `α' = -1.0507 · 1.6733`, the value that SELU goes to for
    large negative inputs, with probability `rate`, and then all are scaled and shifted, `a y + b`,
    so that of inputs with mean 0 and variance 1 neither changes. Evaluation gives back the input.
    With a rate of 1 everything is zero, as in PyTorch.

        q = 1 - rate,  a = (q + α'² q (1 - q))^(-1/2),  b = -a (1 - q) α'

    With `axes` it is PyTorch's `FeatureAlphaDropout`: `axes=(1, 2)` for images of shape
    `(batch, height, width, channels)`.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks", section 3.

    Args:
        rate: the probability of being set, from 0 to 1.
        axes: the axes along which the mask does not vary.

    Attributes:
        stream: the state that gives each call a new mask.

    Raises:
        ValueError: `rate` is not a probability.
        ShapeError: when called, if the input has no such axes.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> dropout = nn.AlphaDropout(0.1)
        >>> y = dropout(jnp.zeros(100))
        >>> len(set(y.tolist()))
        2
        >>> block = nn.Sequential(nn.Dense(8, weight_init="lecun"), nn.SELU(), dropout)
        >>> block(jnp.ones((2, 3))).shape
        (2, 8)
    """

    def _change(self, x: Any) -> _Change | None:
        shape = self.mask_shape(x)
        if self.rate == 0:
            return None
        kept = 1 - self.rate
        scale = (kept + _SATURATED**2 * kept * self.rate) ** -0.5 if kept else 0.0
        shift = -scale * self.rate * _SATURATED
        return _drop, (self.rate, shape, scale * _SATURATED + shift, scale, shift)


class GaussianDropout(_Random):
    """In training, multiplies each element by a draw from N(1, rate / (1 - rate)).

    That has the mean and the variance of the factors of `nn.Dropout(rate)`. Evaluation gives back
    the input.

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", section 10.

    Args:
        rate: the rate of the dropout with this variance, from 0 to below 1.

    Attributes:
        stream: the state that gives each call new factors.

    Raises:
        ValueError: `rate` is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> noisy = nn.GaussianDropout(0.2)(jnp.ones(1000))
        >>> bool(0.9 < noisy.mean() < 1.1)
        True
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(
                f"rate of GaussianDropout is a number from 0 to below 1, got {rate!r}; the factors "
                "have variance rate / (1 - rate)"
            )
        self.rate = float(rate)

    def _change(self, x: Any) -> _Change | None:
        return (_multiply, ((self.rate / (1 - self.rate)) ** 0.5,)) if self.rate else None

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate}"


class GaussianNoise(_Random):
    """In training, adds a draw from N(0, std²) to each element; evaluation gives back the input.

    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".

    Args:
        std: the standard deviation of the noise, in the unit of the input.

    Attributes:
        stream: the state that gives each call new noise.

    Raises:
        ValueError: `std` is negative or no number.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> noise = nn.GaussianNoise(0.1)
        >>> bool(abs(noise(jnp.zeros(1000))).max() < 1)
        True
        >>> noise.eval()(jnp.zeros(2)).tolist()
        [0.0, 0.0]
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if not 0 <= std < math.inf:
            raise ValueError(
                f"std of GaussianNoise is a standard deviation, a number of at least 0; got {std!r}"
            )
        self.std = float(std)

    def _change(self, x: Any) -> _Change | None:
        return (_add, (self.std,)) if self.std else None

    def extra_repr(self) -> str:
        """The standard deviation."""
        return f"std={self.std}"


# The factor and the slope of SELU: what it goes to for large negative inputs.
_SATURATED = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717

_Change = tuple[Callable[..., jax.Array], tuple[Any, ...]]
"""A function of a key and an array, and its further arguments."""


@functools.partial(jax.jit, static_argnums=(3, 4))
def _changed(
    x: jax.Array,
    state: jax.Array,
    positions: tuple[jax.Array, ...],
    change: Callable[..., jax.Array],
    options: tuple[Any, ...],
) -> tuple[jax.Array, jax.Array]:
    key, state = advance(state, positions)
    y = change(key, at_least_float32(x), *options)
    return y.astype(floating_dtype_of(x)), state


def _drop(
    key: jax.Array,
    x: jax.Array,
    rate: float,
    shape: tuple[int, ...],
    dropped: float,
    scale: float,
    shift: float,
) -> jax.Array:
    """`scale · x + shift`, but `dropped` where a mask of `shape` says so."""
    if rate == 1:
        return jnp.zeros_like(x)
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    x = scale * x + shift if shift else scale * x
    return jnp.where(kept, x, jnp.asarray(dropped, x.dtype))


def _multiply(key: jax.Array, x: jax.Array, std: float) -> jax.Array:
    return x * (1 + std * jax.random.normal(key, x.shape, x.dtype))


def _add(key: jax.Array, x: jax.Array, std: float) -> jax.Array:
    return x + std * jax.random.normal(key, x.shape, x.dtype)

"""Dropout."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.module import Module
from ansatz.core.streams import RandomStream, advance


class Dropout(Module):
    """In training, sets each element to zero with probability `rate` and scales up the others.

    What is kept is multiplied by `1 / (1 - rate)`, so the expectation does not change and nothing
    happens in evaluation (`net.eval()`), where the input is given back as it is.

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", sections 4 and 10 (scaling in training instead of afterwards).

    Args:
        rate: the probability of zero, from 0 to 1; with 1 everything is dropped.

    Attributes:
        stream: the state that gives each call a new mask. It is drawn from the seed of the
            network's initialisation and its path, so masks are reproducible.

    Raises:
        ValueError: `rate` is not a probability.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> dropout = nn.Dropout(0.5)
        >>> sorted(set(dropout(jnp.ones(100)).tolist()))
        [0.0, 2.0]
        >>> bool((dropout.eval()(jnp.ones(100)) == 1).all())
        True
    """

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        if not 0 <= rate <= 1:
            raise ValueError(
                f"rate of Dropout is the probability of dropping an element, a number from 0 to 1;"
                f" got {rate!r}"
            )
        self.rate = float(rate)
        self.stream = RandomStream()

    def forward(self, x: Any) -> Any:
        """The same shape and dtype as `x`, a floating-point array."""
        if not self.training or self.rate == 0:
            return x
        y, state = _dropout(x, self.stream.value, self.stream.positions(), self.rate)
        self.stream.value = state
        return y

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate}"


@functools.partial(jax.jit, static_argnums=3)
def _dropout(
    x: jax.Array, state: jax.Array, positions: tuple[jax.Array, ...], rate: float
) -> tuple[jax.Array, jax.Array]:
    key, state = advance(state, positions)
    if rate == 1:
        return jnp.zeros_like(x), state
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), jnp.zeros((), x.dtype)), state

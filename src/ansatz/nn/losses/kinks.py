"""Functions with a kink at zero that losses are built of, with PyTorch's derivatives there.

`jnp.abs` has the derivative 1 at zero: a prediction that hits its target would be pushed off.
`jax.nn.relu` has the derivative 0: with a margin of 0, predictions that start at zero would stay.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def magnitude(x: jax.Array) -> jax.Array:
    """`|x|`, with the derivative 0 at zero; NaN stays NaN."""
    return jnp.where(x == 0, 0, jnp.abs(x))


def positive_part(x: jax.Array) -> jax.Array:
    """`max(0, x)`, with the derivative 1 at zero; NaN stays NaN."""
    return jnp.where(x < 0, 0, x)

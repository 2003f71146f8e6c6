"""Precision: sums, means and logarithms of low-precision arrays are computed in float32."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def at_least_float32(x: jax.Array) -> jax.Array:
    """`x` in float32, or in float64 if it has that; float16, bfloat16 and integers are widened."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def floating_dtype_of(x: jax.Array) -> Any:
    """The dtype of a result that has the precision of `x`: its own, or float32 for integers."""
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.dtype(jnp.float32)

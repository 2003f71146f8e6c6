"""Matrix products with weights of shape `(out, in)`, in and around loops.

XLA's CPU backend reads `dy` across its rows for the gradient of such a weight, `dyᵀ x`. Two weights
that share `dy`, as those of a recurrent layer do, share a copy of its transpose: a training step of
an LSTM takes a quarter less time. An optimization barrier keeps XLA from undoing that. For a weight
alone the copy costs what it saves.
"""

from __future__ import annotations

from typing import Any

import jax


def dot(x: jax.Array, weight: jax.Array, dtype: Any) -> jax.Array:
    """`x weightᵀ`, where `x` is rounded to the dtype of the weight and the sums have `dtype`."""
    return jax.lax.dot_general(
        x.astype(weight.dtype), weight, (((1,), (1,)), ((), ())), preferred_element_type=dtype
    )


def flipped(weight: jax.Array) -> jax.Array:
    """The transpose of a weight, copied once, for a loop that multiplies by it in each turn."""
    copied: jax.Array = weight.T
    return jax.lax.optimization_barrier(copied) if jax.default_backend() == "cpu" else copied


def weight_tangent(x: jax.Array, tangent: jax.Array, dtype: Any) -> jax.Array:
    """`x tangentᵀ`, as `dot`, in the form whose transpose is fast: for derivatives only."""
    if jax.default_backend() != "cpu":
        return dot(x, tangent, dtype)
    y = jax.lax.dot_general(
        tangent,
        x.astype(tangent.dtype),
        (((1,), (1,)), ((), ())),
        preferred_element_type=dtype,
    )
    copied: jax.Array = jax.lax.optimization_barrier(y)
    return copied.T

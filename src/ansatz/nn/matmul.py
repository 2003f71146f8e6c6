"""Matrix products with weights of shape `(out, in)`, and what their gradients cost.

XLA's CPU backend is 1.7 times slower at the gradient of such a weight, `dyᵀ x`, than at the
product itself: it reads `dy` across its rows. Copying the transpose of `dy` first is far cheaper.
An optimization barrier keeps XLA from undoing that.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


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


@jax.custom_jvp
def times_transposed(x: jax.Array, weight: jax.Array) -> jax.Array:
    """`x weightᵀ` for `x` of shape `(n, in)` and a weight of shape `(out, in)`, of one dtype.

    Returns:
        Shape `(n, out)`, in float32 at least.
    """
    return dot(x, weight, jnp.promote_types(x.dtype, jnp.float32))


def _tangent(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[jax.Array, Any]:
    (x, weight), (dx, dweight) = primals, tangents
    y = times_transposed(x, weight)
    terms = []
    if not isinstance(dx, SymbolicZero):
        terms.append(dot(dx, weight, y.dtype))
    if not isinstance(dweight, SymbolicZero):
        terms.append(weight_tangent(x, dweight, y.dtype))
    return y, sum(terms[1:], terms[0]) if terms else jnp.zeros_like(y)


times_transposed.defjvp(_tangent, symbolic_zeros=True)

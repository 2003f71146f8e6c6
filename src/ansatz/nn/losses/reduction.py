"""From losses to one number: weights, masks and reductions, the same for every loss.

`reduction` is one of

* `"mean"`: the mean over all losses;
* `"sum"`: their sum;
* `"none"`: every loss, as it is;
* `"sample"`: one loss for each example, the mean over all axes but the first. That is what Gluon's
  losses return.

`weights` gives each loss a weight, or leaves it out: zeros and ones, or booleans, are a mask. It
has the shape of the losses or of their leading axes. The mean is then the weighted one,
`Σ weight · loss / Σ weight`, while the other reductions multiply only: `"sample"` divides by the
number of losses of an example, as Gluon does. What has weight zero does not count, whatever its
prediction and target are, NaN included (with all weights zero, the mean is NaN).

Shapes have to agree exactly: nothing is broadcast, so `(n,)` against `(n, 1)` is an error and not
an `(n, n)` table. Losses are computed and returned in float32 at least.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import ShapeError, format_shape, format_value
from ansatz.nn.precision import at_least_float32

Reduction = Literal["mean", "sum", "none", "sample"]

Formula = Callable[..., "jax.Array | tuple[jax.Array, jax.Array]"]

_REDUCTIONS = ("mean", "sum", "none", "sample")


def as_array(value: Any) -> Any:
    """`value` if it is an array of any kind, else one made of it.

    Raises:
        TypeError: it is nothing of which one can be made, such as `None`.
    """
    if hasattr(value, "shape"):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        raise TypeError(f"a loss compares arrays of numbers, got {format_value(value)}")
    return array


def check_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape.

    Raises:
        ShapeError: the shapes differ.
    """
    if tuple(found) != tuple(expected):
        raise ShapeError(
            f"{name} has shape {format_shape(found)}, expected {format_shape(expected)}; nothing "
            "is broadcast"
        )


def alike(predictions: Any, targets: Any, *others: Any) -> tuple[Any, ...]:
    """Predictions, targets and others as arrays of one shape.

    Raises:
        ShapeError: the shapes differ.
    """
    predictions, *rest = (as_array(array) for array in (predictions, targets, *others))
    for array in rest:
        if array.shape != predictions.shape:
            raise ShapeError(
                f"predictions have shape {format_shape(predictions.shape)}, but targets have shape "
                f"{format_shape(array.shape)}; nothing is broadcast. Reshape one of them, such as "
                "targets.reshape(predictions.shape)."
            )
    return predictions, *rest


def reduced(
    formula: Formula,
    arrays: tuple[Any, ...],
    options: tuple[Hashable, ...] = (),
    *,
    constants: tuple[Any, ...] = (),
    shape: tuple[int, ...],
    weights: Any,
    reduction: str,
) -> jax.Array:
    """The losses that a formula gives, weighed and reduced, as one compiled program.

    Args:
        formula: a function of arrays, constants and options: the losses, or a pair of them and of
            weights of its own, by whose sum the mean divides.
        arrays: what it is computed from; their first axes are the first axes of the losses. Those
            of a floating dtype are widened to float32.
        options: Python values that the formula depends on, which the program is compiled for; so
            none is a function of the user's, which may read parameters.
        constants: arrays that have no axis for examples, such as the weights of classes.
        shape: the shape of the losses.
        weights: a weight for each loss, or `None`.
        reduction: see the top of this file.

    Returns:
        A scalar; with `"none"` the given shape, with `"sample"` its first axis.

    Raises:
        ShapeError: the weights do not fit the losses, or there is no first axis.
        ValueError: the reduction has another name.
    """
    if reduction not in _REDUCTIONS:
        known = "'mean', 'sum', 'none' or 'sample'"
        raise ValueError(f"reduction is {known}, got {reduction!r}")
    if reduction == "sample" and not shape:
        raise ShapeError(
            "reduction='sample' gives one loss for each example along the first axis, but the "
            "losses have no axis; use 'none'"
        )
    weights = checked_weights(weights, shape)
    found: jax.Array = _reduced(formula, arrays, options, constants, weights, reduction)
    return found


def checked_weights(weights: Any, shape: tuple[int, ...]) -> Any:
    """The weights of losses of that shape as an array, if there are any.

    Raises:
        ShapeError: they do not fit the losses.
    """
    if weights is None:
        return None
    weights = as_array(weights)
    check_shape("weights", weights.shape, shape[: weights.ndim])
    return weights


@functools.partial(jax.jit, static_argnums=(0, 2, 5))
def _reduced(
    formula: Formula,
    arrays: tuple[jax.Array, ...],
    options: tuple[Hashable, ...],
    constants: tuple[Any, ...],
    weights: jax.Array | None,
    reduction: str,
) -> jax.Array:
    arrays = what_counts(arrays, weights)
    constants = tuple(None if c is None else at_least_float32(jnp.asarray(c)) for c in constants)
    found = formula(*arrays, *constants, *options)
    losses, counted = found if isinstance(found, tuple) else (found, None)
    if weights is not None:
        spread = _spread(at_least_float32(weights), losses)
        losses = jnp.where(spread != 0, losses, 0) * spread
        counted = spread if counted is None else counted * spread
    if reduction == "none":
        return losses
    if reduction == "sample":
        return losses.mean(tuple(range(1, losses.ndim)))
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / (losses.size if counted is None else counted.sum())


@jax.jit
def what_counts(arrays: tuple[jax.Array, ...], weights: jax.Array | None) -> tuple[jax.Array, ...]:
    """The arrays that losses are computed from, widened, with 0 for what has weight zero."""
    arrays = tuple(_widened(array) for array in arrays)
    if weights is None:
        return arrays
    # NaN in what does not count must not reach the others, through no gradient either.
    counts = weights != 0
    return tuple(jnp.where(_spread(counts, array), array, 0) for array in arrays)


def _widened(array: jax.Array) -> jax.Array:
    array = jnp.asarray(array)
    return at_least_float32(array) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _spread(weights: jax.Array, array: jax.Array) -> jax.Array:
    """`weights`, which runs along the leading axes of `array`, for every element of it."""
    missing = array.ndim - weights.ndim
    return jnp.broadcast_to(weights.reshape(*weights.shape, *[1] * missing), array.shape)

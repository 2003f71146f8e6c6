"""Classes: where they are in an array of scores, what their labels look like, and their weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import DTypeError, ShapeError, format_shape
from ansatz.nn.losses.reduction import as_array, check_shape


def class_axis(name: str, scores: Any, axis: int) -> int:
    """Where the classes are, counted from the front.

    Raises:
        ShapeError: there is no such axis.
    """
    if not -scores.ndim <= axis < scores.ndim:
        raise ShapeError(f"{name} of shape {format_shape(scores.shape)} have no axis {axis}")
    return axis % int(scores.ndim)


def checked_class_weights(class_weights: Any, classes: int) -> Any:
    """The weights of the classes as an array, if there are any.

    Raises:
        ShapeError: they are not one for each class.
    """
    if class_weights is None:
        return None
    class_weights = as_array(class_weights)
    check_shape("class_weights", class_weights.shape, (classes,))
    return class_weights


def is_soft(
    labels: Any, name: str, scores: tuple[int, ...], axis: int, shape: tuple[int, ...]
) -> bool:
    """Whether the labels are probabilities, not integers; checked to be one of the two.

    Raises:
        DTypeError: they are neither.
        ShapeError: they do not fit the scores, which have the given shape.
    """
    expected = (
        f"{name} of shape {format_shape(scores)} with classes along axis {axis} need integer "
        f"labels of shape {format_shape(shape)} or floating-point probabilities of shape "
        f"{format_shape(scores)}"
    )
    soft = bool(jnp.issubdtype(labels.dtype, jnp.floating))
    if not soft and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise DTypeError(f"labels have dtype {labels.dtype}, but {expected}")
    if labels.shape != (scores if soft else shape):
        raise ShapeError(
            f"labels have shape {format_shape(labels.shape)} and dtype {labels.dtype}, but "
            f"{expected}; nothing is broadcast"
            + ("; cast them: labels.astype('int32')" if soft and labels.shape == shape else "")
        )
    return soft


def classes_last(array: Any, axis: int) -> Any:
    """`array` with the classes moved to the last axis."""
    return array if axis == array.ndim - 1 else jnp.moveaxis(array, axis, -1)


def per_label_of(
    class_weights: jax.Array | None, scores: jax.Array, labels: jax.Array
) -> jax.Array | None:
    """The weight of each label, if classes have weights."""
    if class_weights is None:
        return None
    return picked(jnp.broadcast_to(class_weights, scores.shape), labels)


def picked(table: jax.Array, labels: jax.Array) -> jax.Array:
    """The entry of each label along the last axis, and NaN for a label that does not exist."""
    # A negative index would count from the end.
    indices = jnp.where(labels < 0, table.shape[-1], labels.astype(jnp.int32))[..., None]
    return jnp.take_along_axis(table, indices, axis=-1, mode="fill", fill_value=jnp.nan)[..., 0]

"""Losses with a margin: nothing is lost where a score is right by more than that."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import DTypeError
from ansatz.core.spelling import hinted
from ansatz.nn.losses.classes import (
    checked_class_weights,
    class_axis,
    classes_last,
    is_soft,
    per_label_of,
    picked,
)
from ansatz.nn.losses.kinks import positive_part
from ansatz.nn.losses.reduction import Reduction, alike, as_array, check_shape, reduced
from ansatz.nn.precision import at_least_float32


@hinted()
def hinge_loss(
    predictions: Any,
    targets: Any,
    *,
    margin: float = 1.0,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """How far predictions fall short of a margin on the right side: `max(0, margin - p t)`.

    The same as Gluon's `HingeLoss`. PyTorch's `MarginRankingLoss` is that of a difference,
    `hinge_loss(first - second, targets, margin=0.0)`. Source: Cortes & Vapnik 1995,
    "Support-vector networks", section 3.

    Args:
        predictions: any shape; scores without bounds.
        targets: the same shape; -1 and 1.
        margin: what the product has to reach.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> targets = jnp.array([1.0, -1.0])
        >>> print(nn.hinge_loss(jnp.array([0.25, -2.0]), targets, reduction="none"))
        [0.75 0.  ]
    """
    arrays, options = alike(predictions, targets), (float(margin),)
    return reduced(
        _hinge, arrays, options, shape=arrays[0].shape, weights=weights, reduction=reduction
    )


@hinted()
def squared_hinge_loss(
    predictions: Any,
    targets: Any,
    *,
    margin: float = 1.0,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """The square of `hinge_loss`: `max(0, margin - p t)²`, as Gluon's `SquaredHingeLoss`.

    Args:
        predictions: any shape; scores without bounds.
        targets: the same shape; -1 and 1.
        margin: what the product has to reach.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> float(nn.squared_hinge_loss(jnp.array([0.5, 2.0]), jnp.array([1.0, 1.0])))
        0.125
    """
    arrays, options = alike(predictions, targets), (float(margin),)
    return reduced(
        _squared_hinge, arrays, options, shape=arrays[0].shape, weights=weights, reduction=reduction
    )


@hinted()
def hinge_embedding_loss(
    distances: Any,
    targets: Any,
    *,
    margin: float = 1.0,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Makes distances small for what belongs together, and larger than a margin for what does not.

    The distance where the target is 1, and `max(0, margin - distance)` where it is -1. PyTorch's
    `HingeEmbeddingLoss` is the same.

    Args:
        distances: any shape; how far apart the two of a pair are.
        targets: the same shape; 1 for pairs that belong together, -1 for others.
        margin: how far apart others have to be.
        weights: a weight for each pair, or a mask; any leading axes of the shape of the targets.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> distances, targets = jnp.array([0.5, 0.25]), jnp.array([1, -1])
        >>> print(nn.hinge_embedding_loss(distances, targets, reduction="none"))
        [0.5  0.75]
    """
    arrays, options = alike(distances, targets), (float(margin),)
    return reduced(
        _hinge_embedding,
        arrays,
        options,
        shape=arrays[0].shape,
        weights=weights,
        reduction=reduction,
    )


@hinted()
def multi_margin_loss(
    scores: Any,
    labels: Any,
    *,
    axis: int = -1,
    margin: float = 1.0,
    power: int = 1,
    class_weights: Any = None,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """The hinge loss of many classes: the score of the label shall lead by a margin.

    `Σ_{c ≠ y} max(0, margin - s_y + s_c)^power / classes`, times the weight of class `y`. PyTorch's
    `MultiMarginLoss` is the same; the mean divides by the number of examples, also with weights of
    classes.

    Source: Weston & Watkins 1999, "Support vector machines for multi-class pattern recognition",
    section 3.

    Args:
        scores: shape `(..., classes)`, with the classes along `axis`; without bounds.
        labels: integers of that shape without `axis`, from 0 to classes - 1 (any other gives NaN).
        axis: where the classes are.
        margin: by how much the score of the label has to lead.
        power: 1 or 2.
        class_weights: shape `(classes,)`.
        weights: a weight for each example, or a mask; any leading axes of the shape of the losses.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of the labels.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are not integers.
        ValueError: `power` is neither 1 nor 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> float(nn.multi_margin_loss(jnp.array([[0.5, 0.25, -1.0, 0.5]]), jnp.array([0])))
        0.4375
    """
    if power not in (1, 2):
        raise ValueError(f"power of multi_margin_loss is 1 or 2, got {power!r}")
    scores, labels = as_array(scores), as_array(labels)
    axis = class_axis("scores", scores, axis)
    shape = scores.shape[:axis] + scores.shape[axis + 1 :]
    if is_soft(labels, "scores", scores.shape, axis, shape):
        raise DTypeError(f"labels of multi_margin_loss are integers, got {labels.dtype}")
    return reduced(
        _multi_margin,
        (classes_last(scores, axis), labels),
        (float(margin), int(power)),
        constants=(checked_class_weights(class_weights, scores.shape[axis]),),
        shape=shape,
        weights=weights,
        reduction=reduction,
    )


@hinted()
def multilabel_margin_loss(
    scores: Any,
    targets: Any,
    *,
    axis: int = -1,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Every class that applies shall lead every class that does not, by one.

    `Σ_{p, n} max(0, 1 - s_p + s_n) / classes`, over all pairs of a class `p` that applies and a
    class `n` that does not. PyTorch's `MultiLabelMarginLoss` is the same with other targets: it
    takes the indices of the classes, filled up with -1.

    Args:
        scores: shape `(..., classes)`, with the classes along `axis`; without bounds.
        targets: the same shape; 1 or true for the classes that apply, else 0 or false.
        axis: where the classes are.
        weights: a weight for each example, or a mask; any leading axes of the shape of the losses.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape without `axis`.

    Raises:
        ShapeError: the shapes differ, or have no such axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> scores, targets = jnp.array([[0.5, 0.25, -1.0, 0.5]]), jnp.array([[1, 0, 0, 1]])
        >>> float(nn.multilabel_margin_loss(scores, targets))
        0.375
    """
    scores, targets = as_array(scores), as_array(targets)
    check_shape("targets", targets.shape, scores.shape)
    axis = class_axis("scores", scores, axis)
    return reduced(
        _multilabel_margin,
        (classes_last(scores, axis), classes_last(targets, axis)),
        shape=scores.shape[:axis] + scores.shape[axis + 1 :],
        weights=weights,
        reduction=reduction,
    )


# -- formulas -------------------------------------------------------------------------------------


def _hinge(predictions: jax.Array, targets: jax.Array, margin: float) -> jax.Array:
    return positive_part(margin - at_least_float32(predictions) * targets)


def _squared_hinge(predictions: jax.Array, targets: jax.Array, margin: float) -> jax.Array:
    return jnp.square(_hinge(predictions, targets, margin))


def _hinge_embedding(distances: jax.Array, targets: jax.Array, margin: float) -> jax.Array:
    distances = at_least_float32(distances)
    return jnp.where(targets > 0, distances, positive_part(margin - distances))


def _multi_margin(
    scores: jax.Array,
    labels: jax.Array,
    class_weights: jax.Array | None,
    margin: float,
    power: int,
) -> jax.Array:
    scores = at_least_float32(scores)
    behind = jax.nn.relu(margin - picked(scores, labels)[..., None] + scores)
    classes = scores.shape[-1]
    others = labels[..., None] != jnp.arange(classes)
    losses = jnp.where(others, behind**power, 0).sum(-1) / classes
    per_label = per_label_of(class_weights, scores, labels)
    return losses if per_label is None else losses * per_label


def _multilabel_margin(scores: jax.Array, targets: jax.Array) -> jax.Array:
    scores, applies = at_least_float32(scores), targets > 0
    behind = jax.nn.relu(1 - scores[..., :, None] + scores[..., None, :])
    pairs = applies[..., :, None] & ~applies[..., None, :]
    return jnp.where(pairs, behind, 0).sum((-2, -1)) / scores.shape[-1]

"""Losses that compare: distributions, and vectors with one another."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, format_shape
from ansatz.core.spelling import hinted
from ansatz.nn.losses.kinks import magnitude, positive_part
from ansatz.nn.losses.reduction import (
    Reduction,
    alike,
    as_array,
    check_shape,
    checked_weights,
    reduced,
    what_counts,
)
from ansatz.nn.precision import at_least_float32
from ansatz.nn.sizes import checked_positive

Distance = Callable[[jax.Array, jax.Array], jax.Array]
"""A function of two arrays of shape `(..., features)` that gives one number for each pair."""


@hinted()
def kl_divergence(
    log_predictions: Any,
    targets: Any,
    *,
    axis: int = -1,
    log_targets: bool = False,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """The Kullback-Leibler divergence of two distributions: `Σ_c t_c (log t_c - log p_c)`.

    The sum over the classes belongs to the divergence, so the mean is over examples. That is what
    PyTorch's `KLDivLoss` calls `reduction="batchmean"`; its `"mean"` divides by the number of
    classes as well. Gluon's `KLDivLoss` (MXNet 1.9) gives what `reduction="sample"` gives here.

    Args:
        log_predictions: shape `(..., classes)`, with the classes along `axis`; logarithms of
            probabilities, such as `log_softmax` gives.
        targets: the same shape; probabilities.
        axis: where the classes are.
        log_targets: whether the targets are logarithms, too.
        weights: a weight for each example, or a mask; any leading axes of the shape of the losses.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape without `axis`.

    Raises:
        ShapeError: the shapes differ, or have no such axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> even, sure = jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0])
        >>> round(float(nn.kl_divergence(jnp.log(even), sure)), 4)
        0.6931
    """
    log_predictions, targets = alike(log_predictions, targets)
    ndim = log_predictions.ndim
    if not -ndim <= axis < ndim:
        raise ShapeError(
            f"log_predictions of shape {format_shape(log_predictions.shape)} have no axis {axis}"
        )
    arrays = tuple(
        array if axis % ndim == ndim - 1 else jnp.moveaxis(array, axis, -1)
        for array in (log_predictions, targets)
    )
    return reduced(
        _kl_of_logarithms if log_targets else _kl,
        arrays,
        shape=arrays[0].shape[:-1],
        weights=weights,
        reduction=reduction,
    )


@hinted()
def cosine_embedding_loss(
    first: Any,
    second: Any,
    targets: Any,
    *,
    margin: float = 0.0,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Draws vectors together or apart, by the cosine of their angle.

    `1 - cos` where the target is 1, and `max(0, cos - margin)` where it is -1. PyTorch's and
    Gluon's `CosineEmbeddingLoss` are the same.

    Args:
        first: shape `(..., features)`.
        second: the same shape.
        targets: shape `(...)`; 1 for pairs that belong together, -1 for others.
        margin: the cosine up to which others may stay, from -1 to 1.
        weights: a weight for each pair, or a mask; any leading axes of the shape of the targets.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> a, b = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 3.0]])
        >>> float(nn.cosine_embedding_loss(a, b, jnp.array([1])))
        1.0
    """
    first, second = _vectors(first, second)
    targets = as_array(targets)
    check_shape("targets", targets.shape, first.shape[:-1])
    return reduced(
        _cosine,
        (first, second, targets),
        (float(margin),),
        shape=targets.shape,
        weights=weights,
        reduction=reduction,
    )


@hinted()
def triplet_loss(
    anchors: Any,
    positives: Any,
    negatives: Any,
    *,
    margin: float = 1.0,
    power: float = 2.0,
    distance: Distance | None = None,
    swap: bool = False,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Draws each anchor nearer to its positive than to its negative, by a margin.

    `max(0, d(a, p) - d(a, n) + margin)` with the distance `d(x, y) = ‖x - y + 1e-6‖`, as PyTorch's
    `TripletMarginLoss`; with a `distance` its `TripletMarginWithDistanceLoss`. Gluon's
    `TripletLoss` takes squared distances.

    Source: Schroff et al. 2015, "FaceNet", equation 2; the swap: Balntas et al. 2016, "Learning
    local feature descriptors with triplets and shallow convolutional neural networks", section 3.

    Args:
        anchors: shape `(..., features)`.
        positives: the same shape; what belongs to the anchors.
        negatives: the same shape; what does not.
        margin: by how much nearer.
        power: which norm; 2 for the Euclidean one. Positive.
        distance: a function of two arrays of shape `(..., features)` that gives `(...)`, in place
            of the norm; a layer, or a function that uses some, learns along.
        swap: whether the distance of the negative to the positive counts, if that is smaller.
        weights: a weight for each triplet, or a mask; any leading axes of the shape of the losses.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape without the last axis.

    Raises:
        ShapeError: the shapes differ, or the distance does not give one number for each pair.
        ValueError: `power` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> a, p, n = jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 2.0]])
        >>> round(float(nn.triplet_loss(a, p, n)), 4)
        4.0
    """
    margin, power = float(margin), checked_positive("triplet_loss", "power", power)
    arrays = _vectors(anchors, positives, negatives)
    shape = arrays[0].shape[:-1]
    reduce = functools.partial(reduced, shape=shape, weights=weights, reduction=reduction)
    if distance is None:
        return reduce(_triplet, arrays, (margin, power, bool(swap)))
    # A distance may read parameters, so it is not compiled along.
    arrays = what_counts(arrays, checked_weights(weights, shape))
    return reduce(_margin, _distances(distance, *arrays, swap=swap), (margin,))


def _distances(
    distance: Distance,
    anchors: jax.Array,
    positives: jax.Array,
    negatives: jax.Array,
    *,
    swap: bool,
) -> tuple[jax.Array, jax.Array]:
    """How far the positives and the negatives are."""

    def apart(x: jax.Array, y: jax.Array) -> jax.Array:
        found = jnp.asarray(distance(x, y))
        check_shape("the distance", found.shape, x.shape[:-1])
        return found

    near, far = apart(anchors, positives), apart(anchors, negatives)
    return near, jnp.minimum(far, apart(positives, negatives)) if swap else far


def _vectors(*given: Any) -> tuple[Any, ...]:
    first, *others = (as_array(array) for array in given)
    if not first.ndim:
        raise ShapeError("vectors have an axis of features, but the shape is ()")
    for array in others:
        check_shape("what is compared", array.shape, first.shape)
    return first, *others


# -- formulas -------------------------------------------------------------------------------------


def _kl(log_predictions: jax.Array, targets: jax.Array) -> jax.Array:
    # A target of zero contributes nothing, though its logarithm is infinite.
    some = targets > 0
    costs = targets * (jnp.log(jnp.where(some, targets, 1)) - log_predictions)
    return jnp.where(some, costs, 0).sum(-1)


def _kl_of_logarithms(log_predictions: jax.Array, log_targets: jax.Array) -> jax.Array:
    some = log_targets > -jnp.inf
    log_targets = jnp.where(some, log_targets, 0)
    costs = jnp.exp(log_targets) * (log_targets - log_predictions)
    return jnp.where(some, costs, 0).sum(-1)


_LEAST_SQUARE = 1e-12  # PyTorch's, so that a vector of zeros has the cosine 0.


def _cosine(first: jax.Array, second: jax.Array, targets: jax.Array, margin: float) -> jax.Array:
    sizes = (jnp.square(first).sum(-1) + _LEAST_SQUARE) * (
        jnp.square(second).sum(-1) + _LEAST_SQUARE
    )
    cosine = (first * second).sum(-1) * jax.lax.rsqrt(sizes)
    return jnp.where(targets > 0, 1 - cosine, positive_part(cosine - margin))


def _triplet(
    anchors: jax.Array,
    positives: jax.Array,
    negatives: jax.Array,
    margin: float,
    power: float,
    swap: bool,
) -> jax.Array:
    near, far = _distance(anchors, positives, power), _distance(anchors, negatives, power)
    if swap:
        far = jnp.minimum(far, _distance(positives, negatives, power))
    return _margin(near, far, margin)


def _margin(near: jax.Array, far: jax.Array, margin: float) -> jax.Array:
    return positive_part(near - far + margin)


def _distance(x: jax.Array, y: jax.Array, power: float) -> jax.Array:
    # As PyTorch does, which keeps the derivative finite where two vectors are equal.
    size = magnitude(at_least_float32(x) - at_least_float32(y) + 1e-6)
    if power == 2:
        return jnp.sqrt(jnp.square(size).sum(-1))
    return (size**power).sum(-1) ** (1 / power)

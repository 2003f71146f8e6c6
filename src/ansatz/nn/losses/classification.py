"""Losses of classes: cross-entropies of one class out of many, and of yes or no."""

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
from ansatz.nn.losses.reduction import Reduction, alike, as_array, check_shape, reduced
from ansatz.nn.precision import at_least_float32


@hinted()
def softmax_cross_entropy(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    label_smoothing: float = 0.0,
    class_weights: Any = None,
    ignore_index: int | None = None,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Cross-entropy between labels and `softmax(logits)`: `-Σ_c p_c log softmax(logits)_c`.

    Conventions are those of `torch.nn.functional.cross_entropy`. With `class_weights` and integer
    labels the mean divides by the sum of the weights of the labels; with probabilities it divides
    by the number of examples. Smoothing replaces the labels by
    `(1 - label_smoothing) · p + label_smoothing / classes` (Szegedy et al. 2015, "Rethinking the
    inception architecture", section 7).

    Args:
        logits: shape `(..., classes)`, with the classes along `axis`; not normalised.
        labels: integers of the shape of `logits` without `axis`, from 0 to classes - 1 (any other
            gives NaN); or probabilities, floating-point, of the shape of `logits`.
        axis: where the classes are.
        label_smoothing: from 0 to 1.
        class_weights: shape `(classes,)`.
        ignore_index: an integer label that does not count, such as PyTorch's -100.
        weights: a weight for each example, or a mask; any leading axes of the shape of the losses.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `logits` without `axis`.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are neither integers nor floating-point.
        ValueError: `label_smoothing` or `reduction` is out of its range, or `ignore_index` is
            given with probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
        >>> round(float(nn.softmax_cross_entropy(logits, jnp.array([0, 1]))), 4)
        0.4904
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is a number from 0 to 1, got {label_smoothing!r}")
    logits, labels = as_array(logits), as_array(labels)
    axis = class_axis("logits", logits, axis)
    shape = logits.shape[:axis] + logits.shape[axis + 1 :]
    class_weights = checked_class_weights(class_weights, logits.shape[axis])
    if is_soft(labels, "logits", logits.shape, axis, shape):
        if ignore_index is not None:
            raise ValueError(
                "ignore_index names an integer label, but the labels are probabilities; give the "
                "examples that shall not count the weight 0"
            )
        return reduced(
            _soft_cross_entropy,
            (classes_last(logits, axis), classes_last(labels, axis)),
            (float(label_smoothing),),
            constants=(class_weights,),
            shape=shape,
            weights=weights,
            reduction=reduction,
        )
    return reduced(
        _cross_entropy,
        (classes_last(logits, axis), labels),
        (float(label_smoothing), ignore_index),
        constants=(class_weights,),
        shape=shape,
        weights=weights,
        reduction=reduction,
    )


@hinted()
def nll_loss(
    log_probabilities: Any,
    labels: Any,
    *,
    axis: int = -1,
    class_weights: Any = None,
    ignore_index: int | None = None,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """The negative log-likelihood of integer labels: minus the entry of each label.

    For outputs of `log_softmax`; `softmax_cross_entropy` takes the logits themselves. Conventions
    are those of `torch.nn.functional.nll_loss`: with `class_weights` the mean divides by the sum
    of the weights of the labels.

    Args:
        log_probabilities: shape `(..., classes)`, with the classes along `axis`.
        labels: integers of that shape without `axis`, from 0 to classes - 1 (any other gives NaN).
        axis: where the classes are.
        class_weights: shape `(classes,)`.
        ignore_index: a label that does not count, such as PyTorch's -100.
        weights: a weight for each example, or a mask; any leading axes of the shape of the losses.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of the labels.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are not integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> probabilities = jnp.array([[0.5, 0.5], [0.25, 0.75]])
        >>> round(float(nn.nll_loss(jnp.log(probabilities), jnp.array([0, 1]))), 4)
        0.4904
    """
    log_probabilities, labels = as_array(log_probabilities), as_array(labels)
    axis = class_axis("log_probabilities", log_probabilities, axis)
    shape = log_probabilities.shape[:axis] + log_probabilities.shape[axis + 1 :]
    if is_soft(labels, "log_probabilities", log_probabilities.shape, axis, shape):
        raise DTypeError(
            f"labels of nll_loss are integers, got {labels.dtype}; softmax_cross_entropy takes "
            "probabilities as labels"
        )
    return reduced(
        _nll,
        (classes_last(log_probabilities, axis), labels),
        (ignore_index,),
        constants=(checked_class_weights(class_weights, log_probabilities.shape[axis]),),
        shape=shape,
        weights=weights,
        reduction=reduction,
    )


@hinted()
def binary_cross_entropy(
    predictions: Any,
    targets: Any,
    *,
    from_logits: bool,
    positive_weight: Any = None,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Cross-entropy of yes-or-no targets: `-t log p - (1 - t) log(1 - p)`.

    With `from_logits` the probability is `p = sigmoid(predictions)`, and the loss is computed as
    `(1 - t) z + (1 + (positive_weight - 1) t) softplus(-z)`, which neither overflows nor rounds to
    zero (`torch.nn.BCEWithLogitsLoss`). Without it the predictions are the probabilities; their
    logarithm is cut at -100, as `torch.nn.BCELoss` does, so the loss is finite at 0 and 1.

    Args:
        predictions: any shape; logits, or probabilities from 0 to 1.
        targets: the same shape, from 0 to 1.
        from_logits: which of the two the predictions are; has to be said, because a mix-up goes
            unnoticed.
        positive_weight: what the loss of positive targets is multiplied by: a number, or an array
            of the shape of the last axes of `targets`.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> loss = nn.binary_cross_entropy(jnp.zeros(2), jnp.array([0.0, 1.0]), from_logits=True)
        >>> round(float(loss), 4)
        0.6931
    """
    arrays = alike(predictions, targets)
    shape = arrays[0].shape
    if positive_weight is not None:
        positive_weight = as_array(positive_weight)
        last = shape[len(shape) - positive_weight.ndim :]
        check_shape("positive_weight", positive_weight.shape, last)
    return reduced(
        _binary_of_logits if from_logits else _binary_of_probabilities,
        arrays,
        constants=(positive_weight,),
        shape=shape,
        weights=weights,
        reduction=reduction,
    )


@hinted()
def focal_loss(
    logits: Any,
    targets: Any,
    *,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Binary cross-entropy in which what is classified well already counts little.

    `α_t (1 - p_t)^γ (-log p_t)`, where `p_t` is the probability that `sigmoid(logits)` gives to
    the target, and `α_t` is `alpha` for positive and `1 - alpha` for negative targets. With
    `gamma` 0 and no `alpha` it is `binary_cross_entropy`.

    Source: Lin et al. 2017, "Focal loss for dense object detection", equation 5, whose values of
    `gamma` and `alpha` are the defaults.

    Args:
        logits: any shape.
        targets: the same shape, from 0 to 1.
        gamma: how little; not negative.
        alpha: the weight of positive targets, from 0 to 1; `None` for no weights.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.
        ValueError: `gamma` or `alpha` is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> round(float(nn.focal_loss(jnp.zeros(1), jnp.ones(1), alpha=None)), 4)
        0.1733
    """
    if not gamma >= 0:
        raise ValueError(f"gamma of focal_loss cannot be negative, got {gamma!r}")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha of focal_loss is a number from 0 to 1 or None, got {alpha!r}")
    arrays = alike(logits, targets)
    options = float(gamma), None if alpha is None else float(alpha)
    return reduced(
        _focal, arrays, options, shape=arrays[0].shape, weights=weights, reduction=reduction
    )


# -- formulas -------------------------------------------------------------------------------------


def _soft_cross_entropy(
    logits: jax.Array, labels: jax.Array, class_weights: jax.Array | None, smoothing: float
) -> jax.Array:
    if smoothing:
        labels = labels * (1 - smoothing) + smoothing / logits.shape[-1]
    if class_weights is not None:
        labels = labels * class_weights
    costs = jax.nn.logsumexp(logits, axis=-1, keepdims=True) - logits
    # An impossible class (logit -∞) costs nothing where its probability is zero.
    return jnp.where(labels == 0, 0, labels * costs).sum(-1)


def _cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    class_weights: jax.Array | None,
    smoothing: float,
    ignored: int | None,
) -> Any:
    logits, labels, counts = _counted(logits, labels, ignored)
    # The logarithm of the softmax is never written out, only its normaliser.
    normalizer = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    losses = normalizer[..., 0] - picked(logits, labels)
    per_label = per_label_of(class_weights, logits, labels)
    if per_label is not None:
        losses = losses * per_label
    if smoothing:
        costs = normalizer - logits
        costs = costs if class_weights is None else costs * class_weights
        losses = (1 - smoothing) * losses + smoothing * costs.mean(-1)
    return _with_counts(losses, counts, per_label)


def _nll(
    log_probabilities: jax.Array,
    labels: jax.Array,
    class_weights: jax.Array | None,
    ignored: int | None,
) -> Any:
    log_probabilities, labels, counts = _counted(log_probabilities, labels, ignored)
    losses = -picked(log_probabilities, labels)
    per_label = per_label_of(class_weights, log_probabilities, labels)
    if per_label is not None:
        losses = losses * per_label
    return _with_counts(losses, counts, per_label)


def _counted(
    scores: jax.Array, labels: jax.Array, ignored: int | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Harmless scores and labels where the label does not count, and where it does."""
    if ignored is None:
        return scores, labels, None
    counts = labels != ignored
    return jnp.where(counts[..., None], scores, 0), jnp.where(counts, labels, 0), counts


def _with_counts(
    losses: jax.Array, counts: jax.Array | None, per_label: jax.Array | None
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """The losses, and what the mean divides by the sum of, if that is not their number."""
    if counts is not None:
        losses = jnp.where(counts, losses, 0)
        per_label = jnp.where(counts, 1.0 if per_label is None else per_label, 0)
    return losses if per_label is None else (losses, per_label)


def _binary_of_logits(
    logits: jax.Array, targets: jax.Array, positive_weight: jax.Array | None
) -> jax.Array:
    logits = at_least_float32(logits)
    softplus = jax.nn.softplus(-logits)
    if positive_weight is not None:
        softplus = (1 + (positive_weight - 1) * targets) * softplus
    return (1 - targets) * logits + softplus


def _binary_of_probabilities(
    probabilities: jax.Array, targets: jax.Array, positive_weight: jax.Array | None
) -> jax.Array:
    probabilities, targets = at_least_float32(probabilities), at_least_float32(targets)
    yes = targets if positive_weight is None else positive_weight * targets
    return -(yes * _log_cut(probabilities) + (1 - targets) * _log_cut_complement(probabilities))


def _focal(logits: jax.Array, targets: jax.Array, gamma: float, alpha: float | None) -> jax.Array:
    losses = _binary_of_logits(logits, targets, None)
    p = jax.nn.sigmoid(at_least_float32(logits))
    wrong = p * (1 - targets) + (1 - p) * targets
    if gamma:
        losses = losses * wrong**gamma
    return losses if alpha is None else losses * (alpha * targets + (1 - alpha) * (1 - targets))


_LOWEST_LOG = -100.0
_LEAST_PROBABILITY = 1e-12  # Keeps the derivative at 0 and 1 finite, as PyTorch does.


@jax.custom_jvp
def _log_cut(p: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.log(p), _LOWEST_LOG)


@_log_cut.defjvp
def _log_cut_jvp(primals: Any, tangents: Any) -> Any:
    (p,), (dp,) = primals, tangents
    return _log_cut(p), dp / jnp.maximum(p, _LEAST_PROBABILITY)


@jax.custom_jvp
def _log_cut_complement(p: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.log1p(-p), _LOWEST_LOG)


@_log_cut_complement.defjvp
def _log_cut_complement_jvp(primals: Any, tangents: Any) -> Any:
    (p,), (dp,) = primals, tangents
    return _log_cut_complement(p), -dp / jnp.maximum(1 - p, _LEAST_PROBABILITY)

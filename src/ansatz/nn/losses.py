"""Losses: plain functions of predictions and targets.

Each returns the mean over all examples by default; `reduction="sum"` adds up, `reduction="none"`
keeps every loss. Shapes have to agree exactly: nothing is broadcast, so `(n,)` against `(n, 1)` is
an error and not an `(n, n)` table. Losses are computed and returned in float32 at least.

`weights` gives each example a weight, with the shape of the losses or of their leading axes. The
mean is then the weighted one, `Σ weight · loss / Σ weight`; an example of weight zero does not
count, whatever its target is (with all weights zero, the mean is NaN).
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import DTypeError, ShapeError, format_shape
from ansatz.nn.precision import at_least_float32

Reduction = Literal["mean", "sum", "none"]


def softmax_cross_entropy(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    label_smoothing: float = 0.0,
    class_weights: Any = None,
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
        weights: a weight for each example; see the top of this module.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `logits` without `axis`.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are neither integers nor floating-point.
        ValueError: `label_smoothing` or `reduction` is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
        >>> round(float(nn.softmax_cross_entropy(logits, jnp.array([0, 1]))), 4)
        0.4904
    """
    logits, labels = _as_array(logits), _as_array(labels)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is a number from 0 to 1, got {label_smoothing!r}")
    if not -logits.ndim <= axis < logits.ndim:
        raise ShapeError(f"logits of shape {format_shape(logits.shape)} have no axis {axis}")
    axis %= logits.ndim
    shape = logits.shape[:axis] + logits.shape[axis + 1 :]
    _check_labels(logits.shape, labels, axis, shape)
    if class_weights is not None:
        class_weights = _as_array(class_weights)
        _check_shape("class_weights", class_weights.shape, (logits.shape[axis],))
    weights = _checked_weights(weights, shape)
    _check_reduction(reduction)
    loss: jax.Array = _softmax_cross_entropy(
        logits, labels, class_weights, weights, axis, float(label_smoothing), reduction
    )
    return loss


def l1_loss(
    predictions: Any, targets: Any, *, weights: Any = None, reduction: Reduction = "mean"
) -> jax.Array:
    """The absolute error, `|predictions - targets|`.

    Args:
        predictions: any shape.
        targets: the same shape.
        weights: a weight for each example; see the top of this module.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> float(nn.l1_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0])))
        1.5
    """
    predictions, targets, weights = _checked(predictions, targets, weights, reduction)
    loss: jax.Array = _l1(predictions, targets, weights, reduction)
    return loss


def l2_loss(
    predictions: Any, targets: Any, *, weights: Any = None, reduction: Reduction = "mean"
) -> jax.Array:
    """The squared error, `(predictions - targets)²`; its mean is the mean squared error.

    PyTorch's `MSELoss` is the same. Gluon's `L2Loss` is half of it, `½ (predictions - targets)²`.

    Args:
        predictions: any shape.
        targets: the same shape.
        weights: a weight for each example; see the top of this module.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> float(nn.l2_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0])))
        4.5
    """
    predictions, targets, weights = _checked(predictions, targets, weights, reduction)
    loss: jax.Array = _l2(predictions, targets, weights, reduction)
    return loss


def huber_loss(
    predictions: Any,
    targets: Any,
    *,
    delta: float = 1.0,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Squared for small errors, linear for large ones, with a continuous slope.

    With the error `d`: `½ d²` where `|d| ≤ delta`, else `delta (|d| - ½ delta)` (Huber 1964,
    "Robust estimation of a location parameter"). PyTorch's `HuberLoss` is the same; its
    `SmoothL1Loss` and Gluon's `HuberLoss` are this divided by `delta`.

    Args:
        predictions: any shape.
        targets: the same shape.
        delta: where the loss becomes linear, in the unit of the targets; positive.
        weights: a weight for each example; see the top of this module.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.
        ValueError: `delta` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.huber_loss(jnp.array([0.5, 3.0]), jnp.zeros(2), reduction="none"))
        [0.125 2.5  ]
    """
    if not delta > 0:
        raise ValueError(f"delta of huber_loss has to be positive, got {delta!r}")
    predictions, targets, weights = _checked(predictions, targets, weights, reduction)
    loss: jax.Array = _huber(predictions, targets, weights, float(delta), reduction)
    return loss


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
        weights: a weight for each example; see the top of this module.
        reduction: `"mean"`, `"sum"` or `"none"`.

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
    predictions, targets, weights = _checked(predictions, targets, weights, reduction)
    if positive_weight is not None:
        positive_weight = _as_array(positive_weight)
        size = positive_weight.ndim
        _check_shape("positive_weight", positive_weight.shape, targets.shape[targets.ndim - size :])
    loss: jax.Array = _binary(
        predictions, targets, positive_weight, weights, bool(from_logits), reduction
    )
    return loss


# -- checks ---------------------------------------------------------------------------------------


def _as_array(value: Any) -> Any:
    return value if hasattr(value, "shape") else np.asarray(value)


def _check_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(found) != tuple(expected):
        raise ShapeError(
            f"{name} has shape {format_shape(found)}, expected {format_shape(expected)}; nothing "
            "is broadcast"
        )


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none', got {reduction!r}")


def _checked_weights(weights: Any, shape: tuple[int, ...]) -> Any:
    if weights is None:
        return None
    weights = _as_array(weights)
    _check_shape("weights", weights.shape, shape[: weights.ndim])
    return weights


def _checked(predictions: Any, targets: Any, weights: Any, reduction: str) -> tuple[Any, Any, Any]:
    predictions, targets = _as_array(predictions), _as_array(targets)
    if predictions.shape != targets.shape:
        raise ShapeError(
            f"predictions have shape {format_shape(predictions.shape)}, but targets have shape "
            f"{format_shape(targets.shape)}; nothing is broadcast. Reshape one of them, such as "
            "targets.reshape(predictions.shape)."
        )
    _check_reduction(reduction)
    return predictions, targets, _checked_weights(weights, targets.shape)


def _check_labels(logits: tuple[int, ...], labels: Any, axis: int, shape: tuple[int, ...]) -> None:
    expected = (
        f"logits of shape {format_shape(logits)} with classes along axis {axis} need integer "
        f"labels of shape {format_shape(shape)} or floating-point probabilities of shape "
        f"{format_shape(logits)}"
    )
    if jnp.issubdtype(labels.dtype, jnp.integer):
        fits = labels.shape == shape
    elif jnp.issubdtype(labels.dtype, jnp.floating):
        fits = labels.shape == logits
    else:
        raise DTypeError(f"labels have dtype {labels.dtype}, but {expected}")
    if not fits:
        raise ShapeError(
            f"labels have shape {format_shape(labels.shape)} and dtype {labels.dtype}, but "
            f"{expected}; nothing is broadcast"
        )


# -- formulas, each compiled as one ---------------------------------------------------------------


def _without_uncounted(weights: jax.Array | None, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays with zeros for examples of weight zero, so that NaN there reaches no gradient."""
    if weights is None:
        return arrays
    counts = weights != 0
    return tuple(jnp.where(_spread(counts, array), array, 0) for array in arrays)


def _spread(weights: jax.Array, array: jax.Array) -> jax.Array:
    """`weights`, which runs along the leading axes of `array`, for every element of it."""
    missing = array.ndim - weights.ndim
    return jnp.broadcast_to(weights.reshape(*weights.shape, *[1] * missing), array.shape)


def _reduce(
    losses: jax.Array, weights: jax.Array | None, reduction: str, counted: jax.Array | None = None
) -> jax.Array:
    """Weigh and reduce; the mean divides by the sum of `counted` (of ones, without it)."""
    if weights is not None:
        spread = _spread(at_least_float32(weights), losses)
        losses = losses * spread
        counted = spread if counted is None else counted * spread
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / (losses.size if counted is None else counted.sum())


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _softmax_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    class_weights: jax.Array | None,
    weights: jax.Array | None,
    axis: int,
    label_smoothing: float,
    reduction: str,
) -> jax.Array:
    logits = jnp.moveaxis(at_least_float32(logits), axis, -1)
    per_class = None if class_weights is None else at_least_float32(class_weights)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        labels = jnp.moveaxis(at_least_float32(labels), axis, -1)
        logits, labels = _without_uncounted(weights, logits, labels)
        if label_smoothing:
            labels = labels * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
        if per_class is not None:
            labels = labels * per_class
        costs = jax.nn.logsumexp(logits, axis=-1, keepdims=True) - logits
        # An impossible class (logit -∞) costs nothing where its probability is zero.
        return _reduce(jnp.where(labels == 0, 0, labels * costs).sum(-1), weights, reduction)
    logits, labels = _without_uncounted(weights, logits, labels)
    normalizer = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    losses = normalizer[..., 0] - _picked(logits, labels)
    counted = None
    if per_class is not None:
        counted = _picked(jnp.broadcast_to(per_class, logits.shape), labels)
        losses = losses * counted
    if label_smoothing:
        costs = normalizer - logits
        costs = costs if per_class is None else costs * per_class
        losses = (1 - label_smoothing) * losses + label_smoothing * costs.mean(-1)
    return _reduce(losses, weights, reduction, counted)


def _picked(table: jax.Array, labels: jax.Array) -> jax.Array:
    """The entry of each label along the last axis, and NaN for a label that does not exist."""
    # A negative index would count from the end.
    indices = jnp.where(labels < 0, table.shape[-1], labels.astype(jnp.int32))[..., None]
    return jnp.take_along_axis(table, indices, axis=-1, mode="fill", fill_value=jnp.nan)[..., 0]


def _error(predictions: jax.Array, targets: jax.Array, weights: jax.Array | None) -> jax.Array:
    predictions, targets = _without_uncounted(weights, predictions, targets)
    return at_least_float32(predictions) - at_least_float32(targets)


@functools.partial(jax.jit, static_argnums=3)
def _l1(
    predictions: jax.Array, targets: jax.Array, weights: jax.Array | None, reduction: str
) -> jax.Array:
    return _reduce(jnp.abs(_error(predictions, targets, weights)), weights, reduction)


@functools.partial(jax.jit, static_argnums=3)
def _l2(
    predictions: jax.Array, targets: jax.Array, weights: jax.Array | None, reduction: str
) -> jax.Array:
    return _reduce(jnp.square(_error(predictions, targets, weights)), weights, reduction)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _huber(
    predictions: jax.Array,
    targets: jax.Array,
    weights: jax.Array | None,
    delta: float,
    reduction: str,
) -> jax.Array:
    size = jnp.abs(_error(predictions, targets, weights))
    # With the smaller of size and delta the two formulas are one.
    inner = jnp.where(size <= delta, size, delta)
    return _reduce(inner * (size - 0.5 * inner), weights, reduction)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _binary(
    predictions: jax.Array,
    targets: jax.Array,
    positive_weight: jax.Array | None,
    weights: jax.Array | None,
    from_logits: bool,
    reduction: str,
) -> jax.Array:
    predictions, targets = _without_uncounted(weights, predictions, targets)
    predictions, targets = at_least_float32(predictions), at_least_float32(targets)
    positive = jnp.asarray(1.0) if positive_weight is None else at_least_float32(positive_weight)
    if from_logits:
        scale = 1 + (positive - 1) * targets
        losses = (1 - targets) * predictions + scale * jax.nn.softplus(-predictions)
    else:
        losses = -(
            positive * targets * _log_cut(predictions)
            + (1 - targets) * _log_cut_complement(predictions)
        )
    return _reduce(losses, weights, reduction)


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

"""Losses of numbers that are to be met: absolute, squared, Huber, and likelihoods of counts."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.spelling import hinted
from ansatz.nn.losses.kinks import magnitude
from ansatz.nn.losses.reduction import Reduction, alike, reduced
from ansatz.nn.precision import at_least_float32
from ansatz.nn.sizes import checked_positive


@hinted()
def l1_loss(
    predictions: Any, targets: Any, *, weights: Any = None, reduction: Reduction = "mean"
) -> jax.Array:
    """The absolute error, `|predictions - targets|`, as PyTorch's and Gluon's `L1Loss`.

    Its derivative where the two are equal is 0, so a prediction that hits its target stays.

    Args:
        predictions: any shape.
        targets: the same shape.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

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
    arrays = alike(predictions, targets)
    return reduced(_l1, arrays, shape=arrays[0].shape, weights=weights, reduction=reduction)


@hinted()
def l2_loss(
    predictions: Any, targets: Any, *, weights: Any = None, reduction: Reduction = "mean"
) -> jax.Array:
    """The squared error, `(predictions - targets)²`; its mean is the mean squared error.

    PyTorch's `MSELoss` is the same. Gluon's `L2Loss` is half of it, `½ (predictions - targets)²`.

    Args:
        predictions: any shape.
        targets: the same shape.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

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
    arrays = alike(predictions, targets)
    return reduced(_l2, arrays, shape=arrays[0].shape, weights=weights, reduction=reduction)


@hinted()
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
    "Robust estimation of a location parameter"). PyTorch's `HuberLoss` is the same; Gluon's
    `HuberLoss` is `smooth_l1_loss`.

    Args:
        predictions: any shape.
        targets: the same shape.
        delta: where the loss becomes linear, in the unit of the targets; positive.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

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
    options = (checked_positive("huber_loss", "delta", delta),)
    arrays = alike(predictions, targets)
    return reduced(
        _huber, arrays, options, shape=arrays[0].shape, weights=weights, reduction=reduction
    )


@hinted()
def smooth_l1_loss(
    predictions: Any,
    targets: Any,
    *,
    beta: float = 1.0,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """The absolute error, rounded off below `beta`: `huber_loss` divided by its `delta`.

    With the error `d`: `½ d² / beta` where `|d| < beta`, else `|d| - ½ beta` (Girshick 2015, "Fast
    R-CNN", equation 3, for `beta` 1). PyTorch's `SmoothL1Loss` is the same, and so is Gluon's
    `HuberLoss`, which calls `beta` `rho`.

    Args:
        predictions: any shape.
        targets: the same shape.
        beta: where the loss becomes linear, in the unit of the targets; 0 for `l1_loss`.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.
        ValueError: `beta` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> print(nn.smooth_l1_loss(jnp.array([1.0, 5.0]), jnp.zeros(2), beta=2, reduction="none"))
        [0.25 4.  ]
    """
    if beta == 0:
        return l1_loss(predictions, targets, weights=weights, reduction=reduction)
    options = (checked_positive("smooth_l1_loss", "beta", beta),)
    arrays = alike(predictions, targets)
    return reduced(
        _smooth_l1, arrays, options, shape=arrays[0].shape, weights=weights, reduction=reduction
    )


@hinted()
def poisson_loss(
    predictions: Any,
    targets: Any,
    *,
    from_logits: bool,
    full: bool = False,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """The negative log-likelihood of counts under a Poisson distribution: `rate - t log rate`.

    PyTorch's `PoissonNLLLoss` is the same, `from_logits` is its `log_input`.

    Args:
        predictions: any shape; the logarithms of the rates, or the rates.
        targets: the same shape; the counts.
        from_logits: which of the two the predictions are; has to be said, because a mix-up goes
            unnoticed. The logarithm of a rate is taken of `rate + 1e-8`.
        full: whether to add Stirling's approximation of `log t!`, which is left out otherwise:
            `t log t - t + ½ log(2 π t)` for counts above 1.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> float(nn.poisson_loss(jnp.zeros(3), jnp.array([0.0, 1.0, 2.0]), from_logits=True))
        1.0
    """
    arrays = alike(predictions, targets)
    options = bool(from_logits), bool(full)
    return reduced(
        _poisson, arrays, options, shape=arrays[0].shape, weights=weights, reduction=reduction
    )


@hinted()
def gaussian_loss(
    predictions: Any,
    targets: Any,
    variances: Any,
    *,
    eps: float = 1e-6,
    full: bool = False,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """The negative log-likelihood under a normal distribution: `½ (log v + (p - t)² / v)`.

    PyTorch's `GaussianNLLLoss` is the same (Nix & Weigend 1994, "Estimating the mean and variance
    of the target probability distribution", equation 5).

    Args:
        predictions: any shape; the means.
        targets: the same shape.
        variances: the same shape; what is below `eps` counts as `eps`, and its gradient goes
            through.
        eps: the least variance; positive.
        full: whether to add the constant `½ log(2 π)`.
        weights: a weight for each loss, or a mask; any leading axes of its shape.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` the shape of `targets`.

    Raises:
        ShapeError: the shapes differ.
        ValueError: `eps` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> float(nn.gaussian_loss(jnp.zeros(2), jnp.array([0.0, 2.0]), jnp.ones(2)))
        1.0
    """
    options = checked_positive("gaussian_loss", "eps", eps), bool(full)
    arrays = alike(predictions, targets, variances)
    return reduced(
        _gaussian, arrays, options, shape=arrays[0].shape, weights=weights, reduction=reduction
    )


# -- formulas -------------------------------------------------------------------------------------


def _error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    return at_least_float32(predictions) - at_least_float32(targets)


def _l1(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    return magnitude(_error(predictions, targets))


def _l2(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.square(_error(predictions, targets))


def _huber(predictions: jax.Array, targets: jax.Array, delta: float) -> jax.Array:
    size = magnitude(_error(predictions, targets))
    # With the smaller of size and delta the two formulas are one.
    inner = jnp.where(size <= delta, size, delta)
    return inner * (size - 0.5 * inner)


def _smooth_l1(predictions: jax.Array, targets: jax.Array, beta: float) -> jax.Array:
    return _huber(predictions, targets, beta) / beta


def _poisson(
    predictions: jax.Array, targets: jax.Array, from_logits: bool, full: bool
) -> jax.Array:
    predictions, targets = at_least_float32(predictions), at_least_float32(targets)
    if from_logits:
        losses = jnp.exp(predictions) - targets * predictions
    else:
        losses = predictions - targets * jnp.log(predictions + 1e-8)
    if not full:
        return losses
    many = jnp.where(targets > 1, targets, 1)
    stirling = many * jnp.log(many) - many + 0.5 * jnp.log(2 * jnp.pi * many)
    return losses + jnp.where(targets > 1, stirling, 0)


def _gaussian(
    predictions: jax.Array, targets: jax.Array, variances: jax.Array, eps: float, full: bool
) -> jax.Array:
    # A straight-through bound, as PyTorch has it: a variance below the bound can still grow.
    variances = variances + jax.lax.stop_gradient(jnp.maximum(variances, eps) - variances)
    losses = 0.5 * (jnp.log(variances) + jnp.square(_error(predictions, targets)) / variances)
    return losses + 0.5 * math.log(2 * math.pi) if full else losses

"""Connectionist temporal classification."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ansatz.core.errors import DTypeError, ShapeError, format_shape
from ansatz.core.spelling import hinted
from ansatz.nn.losses.reduction import Reduction, as_array, check_shape, reduced


@hinted()
def ctc_loss(
    logits: Any,
    labels: Any,
    *,
    logit_lengths: Any = None,
    label_lengths: Any = None,
    blank: int = 0,
    weights: Any = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """How unlikely a sequence of labels is, without saying when each of them comes.

    Minus the logarithm of the probability of all ways to spread the labels over the time steps,
    with blanks between them. A sequence that is too short for its labels (each needs a step, and
    one more between two equal ones) has the loss infinity, and no gradient.

    Conventions: time runs along the second axis, as in Gluon (PyTorch: the first); the input is
    not normalised, as in Gluon and optax (PyTorch takes `log_softmax` of it); `blank` is the first
    class, as in PyTorch (Gluon: the last, `blank=-1`); the mean is the mean of the losses, where
    PyTorch divides each loss by the number of its labels first. Computed by `optax.ctc_loss`.

    Source: Graves et al. 2006, "Connectionist temporal classification", section 4.1.

    Args:
        logits: shape `(batch, time, classes)`.
        labels: integers of shape `(batch, most labels)`.
        logit_lengths: shape `(batch,)`, how many time steps count; without it all do.
        label_lengths: shape `(batch,)`, how many labels count; without it all do that are not
            negative.
        blank: the class that stands for no label; negative ones count from the end.
        weights: a weight for each sequence, shape `(batch,)`.
        reduction: `"mean"`, `"sum"`, `"none"` or `"sample"`.

    Returns:
        A scalar; with `reduction="none"` shape `(batch,)`.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are not integers.
        ValueError: there is no class `blank`.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz import nn
        >>> loss = nn.ctc_loss(jnp.zeros((1, 2, 2)), jnp.array([[1]]))  # 1 1, 1 -, - 1 of four
        >>> round(float(jnp.exp(-loss)), 4)
        0.75
    """
    logits, labels = as_array(logits), as_array(labels)
    if logits.ndim != 3 or labels.ndim != 2 or len(logits) != len(labels):
        raise ShapeError(
            "ctc_loss takes logits of shape (batch, time, classes) and labels of shape (batch, "
            f"most labels), got {format_shape(logits.shape)} and {format_shape(labels.shape)}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise DTypeError(f"labels of ctc_loss are integers, got {labels.dtype}")
    batch, times, classes = logits.shape
    if not -classes <= operator.index(blank) < classes:
        raise ValueError(f"blank of ctc_loss is one of {classes} classes, got {blank}")
    lengths = []
    for name, given, most in (
        ("logit_lengths", logit_lengths, times),
        ("label_lengths", label_lengths, labels.shape[1]),
    ):
        if given is not None:
            given = as_array(given)
            check_shape(name, given.shape, (batch,))
        lengths.append(jnp.full(batch, most) if given is None else given)
    if label_lengths is None:
        lengths[1] = (labels >= 0).sum(1)
    return reduced(
        _ctc,
        (logits, labels, *lengths),
        (blank % classes,),
        shape=(batch,),
        weights=weights,
        reduction=reduction,
    )


def _ctc(
    logits: jax.Array,
    labels: jax.Array,
    logit_lengths: jax.Array,
    label_lengths: jax.Array,
    blank: int,
) -> jax.Array:
    silent = jnp.arange(logits.shape[1]) >= logit_lengths[:, None]
    absent = jnp.arange(labels.shape[1]) >= label_lengths[:, None]
    labels = jnp.where(absent, 0, labels)
    losses: jax.Array = optax.ctc_loss(
        logits, silent.astype(logits.dtype), labels, absent.astype(logits.dtype), blank_id=blank
    )
    again = (labels[:, 1:] == labels[:, :-1]) & ~absent[:, 1:]
    # optax has a large number where there is no way, and a gradient that leads nowhere.
    return jnp.where(label_lengths + again.sum(1) <= logit_lengths, losses, jnp.inf)

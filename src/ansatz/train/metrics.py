"""Metrics: what is measured of a network, averaged over the examples of many batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.errors import format_value

Metric = Callable[[Any, Any], Any]
Metrics = Mapping[str, Metric]


def accuracy(output: jax.Array, y: jax.Array) -> jax.Array:
    """The share of examples whose largest output stands at their class.

    Args:
        output: scores or logits of shape `(batch, …, classes)`.
        y: integer classes of shape `(batch, …)`.

    Returns:
        A scalar between 0 and 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from ansatz.train import accuracy
        >>> float(accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1])))
        0.5
    """
    return jnp.mean(jnp.argmax(output, axis=-1) == y)


def check_metrics(metrics: Any) -> None:
    """Refuse what are no metrics, before anything is trained or measured.

    Raises:
        TypeError: `metrics` is neither `None` nor a mapping of names to functions.
    """
    if metrics is None:
        return
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics are {{name: function}}, got {format_value(metrics)}; arrays are cut into "
            "batches by train.batches(x, y, batch_size)"
        )
    for name, metric in metrics.items():
        if not callable(metric):
            raise TypeError(
                f"metric {name!r} is a function metric(output, y), such as az.train.accuracy; got "
                f"{metric!r} of type {type(metric).__name__}"
            )


def measure(
    metrics: tuple[tuple[str, Metric], ...], net: Callable[..., Any], x: Any, y: Any
) -> dict[str, jax.Array]:
    """The mean of each metric over one batch."""
    output = net(*x) if isinstance(x, tuple) else net(x)
    return {name: jnp.mean(jnp.asarray(metric(output, y))) for name, metric in metrics}


def average(measured: list[dict[str, jax.Array]], sizes: list[int]) -> dict[str, float]:
    """The means over all examples, from those of batches of the given sizes."""
    values = jax.device_get(measured)
    return {
        name: float(np.average([float(batch[name]) for batch in values], weights=sizes))
        for name in values[0]
    }

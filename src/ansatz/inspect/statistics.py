"""Mean and standard deviation of values, without a copy of them and without compiling anything."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.core.declared import Declared

_BLOCK = 1 << 20  # So many elements are widened to float64 at a time.


class Moments(NamedTuple):
    """Mean and standard deviation.

    Attributes:
        mean: Σ x / n.
        std: √(Σ (x - mean)² / n).
    """

    mean: float
    std: float


def moments(values: Any) -> Moments | None:
    """The moments of an array of real floating numbers; `None` for others and for empty ones.

    Args:
        values: an array of any shape and dtype; sums are made in float64.

    Example:
        >>> import numpy as np
        >>> from ansatz.inspect.statistics import moments
        >>> moments(np.array([1.0, 2.0, 3.0, 4.0]))
        Moments(mean=2.5, std=1.1180)
    """
    if not jnp.issubdtype(values.dtype, jnp.floating) or values.size == 0:
        return None
    flat = np.asarray(values).reshape(-1)
    blocks = range(0, flat.size, _BLOCK)
    with np.errstate(all="ignore"):  # NaN and infinity are results here.
        total = sum(float(_wide(flat, start).sum()) for start in blocks)
        mean = total / flat.size
        squares = sum(float(np.square(_wide(flat, start) - mean).sum()) for start in blocks)
    return Moments(mean, math.sqrt(squares / flat.size))


def _wide(flat: Any, start: int) -> Any:
    return flat[start : start + _BLOCK].astype(np.float64)


def moments_of(cell: Declared) -> Moments | None:
    """The moments of a parameter's value, if it has one here; nothing is drawn for it."""
    if not cell.has_value:
        return None
    # Not cell.value, which would have the next training step copy it instead of donating it.
    value = cell.materialize()
    if isinstance(value, jax.core.Tracer):
        return None
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return None
    return moments(value)

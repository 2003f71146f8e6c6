"""The uniform and the normal distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

from ansatz.core import sampling
from ansatz.core.errors import InitializationError
from ansatz.core.initializer import Initializer, Spec, require_floating
from ansatz.core.spelling import hinted
from ansatz.init.arguments import finite, interval, not_negative, positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FARTHEST = 6.7
"""No float32 draw is farther from the mean, in standard deviations: √(2·32·log 2) = 6.66."""


class Uniform(Initializer, name="uniform"):
    """U(-scale, scale), or U(low, high).

    No value lies outside of the bounds, in whatever floating dtype the parameter has.

    Args:
        scale: the bound on both sides, above zero; Gluon's default 0.07.
        low: the lower bound.
        high: the upper bound, above `low`.

    Raises:
        InitializationError: a bound is not finite, or the lower is not below the upper. When drawn:
            the dtype of the parameter is not a real floating one, or has no number between them.

    Example:
        >>> from ansatz import init
        >>> init.Uniform(), init.Uniform(0.5), init.Uniform(-10, 10), init.Uniform(low=0, high=1)
        (Uniform(scale=0.07), Uniform(scale=0.5), Uniform(scale=10.0), Uniform(low=0.0, high=1.0))
    """

    @overload
    def __init__(self, scale: float = 0.07) -> None: ...
    @overload
    def __init__(self, low: float, high: float, /) -> None: ...
    @overload
    def __init__(self, *, low: float, high: float) -> None: ...
    def __init__(
        self, scale: float | None = None, high: float | None = None, *, low: float | None = None
    ) -> None:
        if low is None and high is None:
            bound = positive("Uniform", "scale", 0.07 if scale is None else scale)
            self.low, self.high = -bound, bound
            return
        if low is None:
            low, scale = scale, None
        if low is None or high is None or scale is not None:
            raise InitializationError("give either scale, or both low and high to Uniform")
        finite("Uniform", "low", low)
        finite("Uniform", "high", high)
        self.low, self.high = interval("Uniform", ("low", "high"), low, high)
        finite("Uniform", "high - low", self.high - self.low)

    def bind(self, spec: Spec) -> Initializer:
        """Itself, if the dtype of the parameter has numbers between the bounds."""
        require_floating(self, spec)
        limit = sampling.largest(spec.dtype)
        least, most = sampling.inside(self.low, self.high, spec.dtype)
        if max(-self.low, self.high) > limit or least > most:
            raise InitializationError(
                f"{spec.name} has dtype {spec.dtype}, whose numbers are too coarse or too small "
                f"for {self!r}; widen the bounds, or choose another dtype"
            )
        return self

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Draw one block in place."""
        sampling.fill_uniform(rng, out, self.low, self.high)

    def _arguments(self) -> tuple[tuple[str, Any], ...]:
        if self.low == -self.high:
            return (("scale", self.high),)
        return (("low", self.low), ("high", self.high))


class Normal(Initializer, name="normal"):
    """N(mean, sigma²).

    Args:
        sigma: the standard deviation, at least zero; Gluon's default 0.01.
        mean: the mean.

    Raises:
        InitializationError: `sigma` is negative, or an argument is not finite. When drawn: the
            dtype of the parameter is not a real floating one, or cannot hold so large values.

    Example:
        >>> from ansatz import init, nn
        >>> layer = nn.Dense(100, in_units=100, weight_init=init.Normal(sigma=2))
        >>> bool(1.9 < layer.weight.value.std() < 2.1)
        True
    """

    @hinted()
    def __init__(self, sigma: float = 0.01, mean: float = 0.0) -> None:
        self.sigma = not_negative("Normal", "sigma", sigma)
        self.mean = finite("Normal", "mean", mean)

    def bind(self, spec: Spec) -> Initializer:
        """Itself, if the dtype of the parameter can hold the values."""
        require_floating(self, spec)
        limit = sampling.largest(spec.dtype)
        if not math.fabs(self.mean) + _FARTHEST * self.sigma <= limit:
            raise InitializationError(
                f"{spec.name} has dtype {spec.dtype}, whose greatest number is {limit:g}: "
                f"{self!r} would overflow"
            )
        return self

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Draw one block in place."""
        sampling.fill_normal(rng, out, self.mean, self.sigma)

    def _arguments(self) -> tuple[tuple[str, Any], ...]:
        return (("sigma", self.sigma), *((("mean", self.mean),) if self.mean else ()))

"""The normal distribution between two bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ansatz.core import sampling
from ansatz.core.errors import InitializationError
from ansatz.core.initializer import Initializer, Spec, require_floating
from ansatz.core.spelling import hinted
from ansatz.init.arguments import finite, interval, positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DRAWN = (np.dtype(np.float32), np.dtype(np.float64))


class TruncatedNormal(Initializer, name="truncated_normal trunc_normal"):
    """N(mean, std²), conditioned on lying in [a, b].

    The bounds are absolute values, as in PyTorch's `trunc_normal_`, not multiples of the standard
    deviation, as in JAX: cut at two standard deviations by `a=mean - 2 * std, b=mean + 2 * std`.
    The values are exact also where the bounds are far out in one tail: they are drawn by rejection
    (C. P. Robert, *Simulation of truncated normal variables*, Statistics and Computing 5, 1995),
    and nothing gathers at a bound.

    Args:
        mean: the mean of the normal distribution before it is cut.
        std: its standard deviation, above zero.
        a: the lower bound; may be `-inf`.
        b: the upper bound, above `a`; may be `inf`.

    Raises:
        InitializationError: `std` is not above zero, `a` is not below `b`, or an argument is NaN.
            When drawn: the dtype of the parameter is not a real floating one, or has no number
            between the bounds.

    Example:
        >>> from ansatz import init, nn
        >>> cut = init.TruncatedNormal(std=0.02, a=-0.04, b=0.04)
        >>> layer = nn.Dense(100, in_units=100, weight_init=cut)
        >>> bool(abs(layer.weight.value).max() <= 0.04)
        True
    """

    @hinted()
    def __init__(
        self, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
    ) -> None:
        self.mean = finite("TruncatedNormal", "mean", mean)
        self.std = positive("TruncatedNormal", "std", std)
        self.a, self.b = interval("TruncatedNormal", ("a", "b"), a, b)
        if self.a == math.inf or self.b == -math.inf:
            raise InitializationError(f"no number lies between the bounds of {self!r}")
        self._proposal = _choose((self.a - self.mean) / self.std, (self.b - self.mean) / self.std)

    def bind(self, spec: Spec) -> Initializer:
        """Itself, if the dtype of the parameter has numbers between the bounds."""
        require_floating(self, spec)
        least, most = sampling.inside(self.a, self.b, spec.dtype)
        if least > most:
            raise InitializationError(
                f"{spec.name} has dtype {spec.dtype}, which has no number between the bounds of "
                f"{self!r}; widen the bounds, or choose another dtype"
            )
        return self

    def fill(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Draw one block in place."""
        wide = out if out.dtype in _DRAWN else np.empty(out.shape, np.float32)
        if self._proposal is None:
            self._fill_from_normal(rng, wide)
        else:
            self._fill_from(self._proposal, rng, wide)
        if wide is not out:
            sampling.round_inside(wide, out, self.a, self.b)

    def _fill_from_normal(self, rng: np.random.Generator, out: NDArray[Any]) -> None:
        least, most = sampling.inside(self.a, self.b, out.dtype)
        sampling.fill_normal(rng, out, self.mean, self.std)
        rejected = np.flatnonzero((out < least) | (out > most))
        while rejected.size:
            again = np.empty(rejected.size, out.dtype)
            sampling.fill_normal(rng, again, self.mean, self.std)
            out[rejected] = again
            rejected = rejected[(again < least) | (again > most)]

    def _fill_from(self, proposal: _Proposal, rng: np.random.Generator, out: NDArray[Any]) -> None:
        """Draw the distance from the bound that is nearest to the mean, in standard deviations."""
        distance = np.empty(out.shape, np.float64)
        open_places = np.arange(out.size)
        while open_places.size:
            drawn, accepted = proposal.draw(rng, open_places.size)
            distance[open_places[accepted]] = drawn[accepted]
            open_places = open_places[~accepted]
        distance *= self.std
        values = self.b - distance if proposal.from_above else self.a + distance
        sampling.round_inside(values, out, self.a, self.b)


class _Proposal(NamedTuple):
    """Where candidates come from when the normal distribution itself would be rejected too often.

    Everything is in standard deviations, and mirrored if `from_above`, so that `alpha` is the
    bound from which distances count.
    """

    alpha: float
    width: float
    rate: float | None
    from_above: bool

    def draw(self, rng: np.random.Generator, n: int) -> tuple[NDArray[Any], NDArray[np.bool]]:
        """`n` candidate distances from `alpha`, and which of them are accepted.

        A candidate x is accepted with probability exp(-c(x)), that is, if an exponential variable
        is at least c(x).
        """
        if self.rate is None:
            distance = rng.random(n) * self.width
            nearest = min(max(0.0, self.alpha), self.alpha + self.width)
            x = self.alpha + distance
            cost = (x - nearest) * (x + nearest) / 2
            return distance, rng.standard_exponential(n) >= cost
        distance = rng.standard_exponential(n) / self.rate
        cost = (distance + (self.alpha - self.rate)) ** 2 / 2
        accepted = (rng.standard_exponential(n) >= cost) & (distance <= self.width)
        return distance, accepted


def _choose(alpha: float, beta: float) -> _Proposal | None:
    """The proposal that Robert's acceptance rates favour; `None` for the normal itself."""
    if alpha < 0 < beta:
        if beta - alpha >= math.sqrt(2 * math.pi):
            return None
        return _Proposal(alpha, beta - alpha, None, from_above=False)
    from_above = beta <= 0
    if from_above:
        alpha, beta = -beta, -alpha
    root = math.hypot(alpha, 2.0)  # √(α² + 4)
    # α - √(α² + 4) as -4 / (α + √(α² + 4)), which does not cancel.
    uniform_up_to = 2 * math.sqrt(math.e) / (alpha + root) * math.exp(-alpha / (alpha + root))
    width = beta - alpha
    if width <= uniform_up_to:
        return _Proposal(alpha, width, None, from_above)
    return _Proposal(alpha, width, (alpha + root) / 2, from_above)

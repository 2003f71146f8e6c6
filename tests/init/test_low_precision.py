"""Draws in narrow dtypes against the exact probability of every number that the dtype has.

A distribution that is computed exactly and then rounded gives each number the probability of the
interval that rounds to it; at a bound, of what lies between. Clamping, or sampling in the narrow
dtype, would show as too many values at a bound or as numbers that never occur.
"""

import math

import ml_dtypes
import numpy as np
import pytest
from scipy import stats

from ansatz import init
from ansatz.core.initializer import Spec
from ansatz.core.random import Job, draw

REJECT_BELOW = 1e-4
N = 200_000
DTYPES = [np.dtype(each) for each in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)]
CASES = [
    (init.Normal(1.0), stats.norm()),
    (init.Normal(0.02), stats.norm(0, 0.02)),
    (init.Uniform(0.07), stats.uniform(-0.07, 0.14)),
    (init.Uniform(1.0, 3.0), stats.uniform(1, 2)),
    (init.Uniform(-0.3, 1.1), stats.uniform(-0.3, 1.4)),
    (init.TruncatedNormal(), stats.truncnorm(-2, 2)),
    (init.TruncatedNormal(0, 0.02, -0.04, 0.04), stats.truncnorm(-2, 2, 0, 0.02)),
    (init.TruncatedNormal(0, 1, -0.3, 0.7), stats.truncnorm(-0.3, 0.7)),
    (init.TruncatedNormal(0, 1, 2, 9), stats.truncnorm(2, 9)),
    (init.TruncatedNormal(1, 2, -0.9, math.inf), stats.truncnorm(-0.95, math.inf, 1, 2)),
]


def numbers_and_probabilities(dtype, distribution):
    """The numbers of `dtype` inside the support, and how often each should come."""
    bits = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    with np.errstate(invalid="ignore"):  # Some of the bit patterns are NaN.
        every = bits.view(dtype).astype(np.float64)
    low, high = distribution.support()
    numbers = np.unique(every[np.isfinite(every) & (every >= low) & (every <= high)])
    edges = distribution.cdf((numbers[:-1] + numbers[1:]) / 2)
    return numbers, np.diff(np.concatenate([[0.0], edges, [1.0]]))


def merged(counts, expected, least=20):
    """Neighbours taken together until each bin expects enough for a χ² test."""
    bins = np.minimum(np.cumsum(expected) // least, expected.sum() // least - 1).astype(int)
    return np.bincount(bins, counts), np.bincount(bins, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("initializer", "distribution"),
    CASES,
    ids=lambda v: repr(v) if isinstance(v, init.Initializer) else "",
)
def test_every_number_comes_as_often_as_its_neighbourhood_is_probable(
    initializer, distribution, dtype
):
    values = draw([Job(initializer, Spec((N,), dtype, "weight"), 0)])[0].astype(np.float64)
    numbers, probabilities = numbers_and_probabilities(dtype, distribution)
    places = np.searchsorted(numbers, values)
    np.testing.assert_array_equal(numbers[places], values)  # Nothing lies outside of the bounds.
    counts = np.bincount(places, minlength=numbers.size)
    found, expected = merged(counts, probabilities * N)
    kept = expected > 0
    assert not found[~kept].any()
    assert stats.chisquare(found[kept], expected[kept]).pvalue > REJECT_BELOW
    # The numbers next to the bounds, alone: 4.5 standard deviations, 30 cases with 2 bounds each.
    for end in (0, -1):
        p = probabilities[end]
        assert abs(counts[end] - N * p) < 4.5 * math.sqrt(N * p * (1 - p)) + 3

"""Draws from raw words: distributions against their exact distribution functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_dtypes import bfloat16, float8_e4m3fn
from scipy import stats

from ansatz.core import sampling
from ansatz.core.random import generator

LOW_PRECISION = [np.dtype(dtype) for dtype in (np.float16, bfloat16, float8_e4m3fn)]
REJECT_BELOW = 1e-4


def normal(n, *, seed=0, dtype=np.float32, mean=0.0, sigma=1.0):
    out = np.empty(n, dtype)
    sampling.fill_normal(generator(seed, "weight"), out, mean, sigma)
    return out


def uniform(n, low, high, *, seed=0, dtype=np.float32):
    out = np.empty(n, dtype)
    sampling.fill_uniform(generator(seed, "weight"), out, low, high)
    return out


# -- the definition of the draws ---------------------------------------------------------------


def raw_words(n, seed=0):
    return generator(seed, "weight").bit_generator.random_raw(n).view(np.int32)


def test_full_range_integers_are_the_raw_words_whose_stream_numpy_keeps_fixed():
    drawn = generator(0, "w").integers(0, 2**64 - 1, 1000, np.uint64, endpoint=True)
    np.testing.assert_array_equal(drawn, generator(0, "w").bit_generator.random_raw(1000))


def test_normal_numbers_are_those_of_box_and_muller_computed_in_double_precision():
    words = raw_words(2000)
    a, b = (words[:2000] | 1).astype(np.float64), words[2000:] * 2.0**-31
    radius = np.sqrt(-2 * np.log(np.abs(a) * 2.0**-31))
    expected = np.concatenate(
        [np.sign(a) * radius * np.cos(np.pi / 2 * b), radius * np.sin(np.pi / 2 * b)]
    )
    np.testing.assert_allclose(normal(4000), expected, rtol=0, atol=2e-5)


def test_a_symmetric_uniform_number_is_a_raw_word_divided_by_two_to_the_31():
    expected = 0.5 * raw_words(500) * 2.0**-31
    np.testing.assert_allclose(uniform(1000, -0.5, 0.5), expected, rtol=2e-7)


def test_an_unsymmetric_uniform_number_is_an_unsigned_word_divided_by_two_to_the_32():
    expected = 1 + raw_words(500).view(np.uint32) * 2.0**-31
    np.testing.assert_allclose(uniform(1000, 1.0, 3.0), expected, rtol=2e-7)


def test_the_extreme_words_give_finite_values_that_are_not_zero():
    class Words:
        def __init__(self, a, b):
            self.words = np.array([a, b], np.uint32).view(np.uint64)

        def integers(self, *_, **__):
            return self.words.copy()

    for a in (0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1):
        for b in (1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1):
            out = np.empty(2, np.float32)
            sampling.fill_normal(Words(a, b), out)
            assert np.isfinite(out).all(), (a, b)
            assert (out != 0).all(), (a, b)
            assert np.abs(out).max() < 6.67, (a, b)


# -- distributions -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_normal_numbers_pass_a_kolmogorov_smirnov_test(seed):
    drawn = normal(1 << 20, seed=seed)
    assert stats.kstest(drawn.astype(np.float64), "norm").pvalue > REJECT_BELOW


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    n = 1 << 22
    x = normal(n).astype(np.float64)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((x**power).mean() - moment) < 4 * (variance / n) ** 0.5, power


@pytest.mark.parametrize("bound", [2.0, 3.0, 4.0])
def test_the_tails_of_the_normal_distribution_have_their_exact_weight(bound):
    n = 1 << 22
    expected = 2 * stats.norm.sf(bound) * n
    found = (np.abs(normal(n, seed=5)) > bound).sum()
    assert abs(found - expected) < 4 * expected**0.5


def test_the_two_halves_that_come_from_one_pair_of_words_are_independent():
    n = 1 << 21
    x = normal(2 * n).astype(np.float64)
    first, second = x[:n], x[n:]
    assert abs((first * second).mean()) < 4 / n**0.5
    assert abs((first**2 * second**2).mean() - 1) < 4 * (8 / n) ** 0.5
    angle = np.arctan2(second, first) / (2 * np.pi) + 0.5
    assert stats.kstest(angle, "uniform").pvalue > REJECT_BELOW


@pytest.mark.parametrize(("low", "high"), [(-0.07, 0.07), (0.0, 1.0), (-10.0, 3.0), (1.0, 1.001)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_numbers_pass_a_kolmogorov_smirnov_test(low, high, dtype):
    drawn = uniform(1 << 18, low, high, dtype=dtype).astype(np.float64)
    if (low, dtype) == (1.0, np.float32):
        # Float32 has only 8,389 numbers here; blur its grid before a test for continuous draws.
        drawn = drawn + np.random.default_rng(0).uniform(-0.5, 0.5, drawn.size) * 2.0**-23
    assert stats.kstest(drawn, "uniform", (low, high - low)).pvalue > REJECT_BELOW


def test_float64_is_drawn_with_its_own_resolution():
    x = uniform(1000, -1.0, 1.0, dtype=np.float64)
    assert (x != x.astype(np.float32)).all()
    assert stats.kstest(normal(1 << 18, dtype=np.float64), "norm").pvalue > REJECT_BELOW


def test_mean_and_sigma_move_and_stretch_the_same_draw():
    np.testing.assert_allclose(normal(1001, mean=3, sigma=2), 3 + 2 * normal(1001), rtol=3e-6)


# -- bounds, resolution, precision -------------------------------------------------------------


@given(
    st.floats(-1e3, 1e3, width=32),
    st.floats(1e-3, 1e3),
    st.sampled_from([np.dtype(np.float32), np.dtype(np.float64), *LOW_PRECISION[:2]]),
)
def test_no_uniform_number_lies_outside_its_bounds(low, width, dtype):
    high = low + width
    least, most = sampling.inside(low, high, dtype)
    if least <= most:
        x = uniform(257, low, high, dtype=dtype).astype(np.float64)
        assert x.min() >= low
        assert x.max() <= high


@given(st.floats(-400, 400), st.floats(0, 100), st.sampled_from(LOW_PRECISION))
def test_inside_gives_the_outermost_numbers_between_the_bounds(low, width, dtype):
    least, most = sampling.inside(low, low + width, dtype)
    every = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}").view(dtype)
    with np.errstate(invalid="ignore"):  # Some of the bit patterns are NaN.
        every = every.astype(np.float64)
    between = every[(every >= low) & (every <= low + width)]
    if between.size:
        assert (float(least), float(most)) == (between.min(), between.max())
    else:
        assert least > most


@pytest.mark.parametrize("dtype", LOW_PRECISION)
def test_low_precision_is_the_rounded_float32_value(dtype):
    for n in (7, 1000):
        np.testing.assert_array_equal(normal(n, dtype=dtype), normal(n).astype(dtype))
        np.testing.assert_array_equal(
            uniform(n, -0.5, 0.5, dtype=dtype), uniform(n, -0.5, 0.5).astype(dtype)
        )


def test_low_precision_does_not_collapse_the_distribution():
    # 10,000 uniform draws meet about 1,000 of the numbers of bfloat16, and hardly a float32 twice.
    assert np.unique(uniform(10_000, -1.0, 1.0)).size > 9_900
    assert np.unique(normal(10_000)).size > 9_900
    assert np.unique(uniform(10_000, -1.0, 1.0, dtype=np.dtype(bfloat16))).size > 900


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny_arrays_are_filled(n):
    assert np.isfinite(normal(n)).all()
    assert (np.abs(uniform(n, -1.0, 1.0)) <= 1).all()


def test_equal_bounds_fill_with_the_bound():
    assert (uniform(5, 0.0, 0.0) == 0).all()
    assert not np.signbit(uniform(100, 0.0, 0.0)).any()

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

import ansatz as az
from ansatz import init
from ansatz.core.random import generator
from ansatz.core.sampling import inside

REJECT_BELOW = 1e-4
INF = math.inf

CUTS = [
    (0.0, 1.0, -2.0, 2.0),  # most of the normal distribution
    (0.0, 0.02, -2.0, 2.0),  # no visible cut
    (0.0, 1.0, -0.5, 0.1),  # narrow, around the mean
    (0.0, 1.0, 0.0, INF),  # one half
    (0.0, 1.0, -INF, 0.3),
    (0.0, 1.0, -INF, INF),
    (0.0, 1.0, 2.0, 2.5),  # a narrow strip of a tail
    (0.0, 1.0, 3.0, INF),  # a whole tail
    (5.0, 2.0, -4.0, -1.0),  # a lower tail
    (0.0, 1.0, 30.0, 31.0),  # where the normal distribution function is 1 in double precision
    (0.0, 1.0, -40.0, -39.5),
    (-3.0, 0.5, -3.2, 100.0),
]


def draw(n, *cut, dtype=np.float64, seed=0):
    out = np.empty(n, dtype)
    init.TruncatedNormal(*cut).fill(generator(seed, "weight"), out)
    return out


def distribution(mean, std, a, b):
    return stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_pass_a_kolmogorov_smirnov_test(cut, dtype):
    drawn = draw(100_000, *cut, dtype=dtype).astype(np.float64)
    assert stats.kstest(drawn, distribution(*cut).cdf).pvalue > REJECT_BELOW


@pytest.mark.parametrize("cut", CUTS)
def test_moments_are_those_of_the_cut_distribution(cut):
    n = 200_000
    drawn = draw(n, *cut)
    mean, variance, _, kurtosis = (
        float(moment) for moment in distribution(*cut).stats(moments="mvsk")
    )
    assert abs(drawn.mean() - mean) < 4 * (variance / n) ** 0.5
    if cut[2] < 20 and cut[3] > -20:  # SciPy's fourth moment loses all digits farther out.
        assert abs(drawn.var() - variance) < 4 * variance * ((kurtosis + 2) / n) ** 0.5


@given(
    st.floats(-10, 10),
    st.floats(0.01, 10),
    st.floats(-30, 30),
    st.floats(0.001, 30),
    st.sampled_from([np.float64, np.float32, np.float16, ml_dtypes.bfloat16]),
)
def test_no_value_lies_outside_of_the_bounds(mean, std, a, width, dtype):
    b = a + width
    least, most = inside(a, b, np.dtype(dtype))
    assume(least <= most)
    drawn = draw(300, mean, std, a, b, dtype=dtype).astype(np.float64)
    assert a <= drawn.min()
    assert drawn.max() <= b


@pytest.mark.parametrize("cut", [(0.0, 1.0, -2.0, 2.0), (0.0, 1.0, 3.0, 8.0), (0.0, 0.02, -2, 2)])
def test_nothing_gathers_at_the_bounds(cut):
    drawn = draw(1_000_000, *cut, dtype=np.float32)
    assert not np.isin(drawn, np.array(cut[2:], np.float32)).any()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_low_precision_is_the_float32_value_rounded_inside_the_bounds(dtype):
    cut = (0.0, 0.02, -0.0301, 0.0301)
    wide, narrow = draw(50_000, *cut, dtype=np.float32), draw(50_000, *cut, dtype=dtype)
    rounded = wide.astype(dtype)
    outside = np.abs(rounded.astype(np.float64)) > 0.0301
    np.testing.assert_array_equal(narrow[~outside], rounded[~outside])
    assert (np.abs(narrow.astype(np.float64)) <= 0.0301).all()


def test_a_small_spread_gives_no_outliers():
    # Implementations by the inverse error function have given outliers of a thousand sigma.
    drawn = draw(1 << 20, 0.0, 0.02, -2.0, 2.0, dtype=np.float32)
    assert np.abs(drawn).max() < 0.02 * 6.7


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 1, 2, 2),
        (0, 1, 2, -2),
        (0, 0),
        (0, -1),
        (math.nan,),
        (0, math.nan),
        (0, 1, math.nan, 2),
        (0, 1, -2, math.nan),
        (INF,),
        (0, INF),
        (0, 1, -INF, -INF),
        (0, "1"),
        (0, True),
    ],
)
def test_bad_arguments_are_refused_at_construction(arguments):
    with pytest.raises(az.InitializationError, match="TruncatedNormal"):
        init.TruncatedNormal(*arguments)


def test_a_dtype_without_a_number_between_the_bounds_is_refused():
    parameter = az.Parameter((3,), dtype="bfloat16")
    with pytest.raises(az.InitializationError, match="no number between the bounds"):
        parameter.initialize(init.TruncatedNormal(a=1.0001, b=1.0002))


def test_integers_are_refused():
    with pytest.raises(az.InitializationError, match="dtype int32"):
        az.Parameter((3,), dtype="int32").initialize(init.TruncatedNormal())


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0)])
def test_scalars_and_empty_arrays_are_drawn(shape):
    parameter = az.Parameter(shape, init=init.TruncatedNormal(a=3, b=4))
    assert parameter.value.shape == shape

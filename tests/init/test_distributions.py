import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import ansatz as az
from ansatz import init, nn

REJECT_BELOW = 1e-4


def value_of(initializer, shape=(50, 40), dtype="float32", seed=0):
    parameter = az.Parameter(shape, dtype=dtype)
    parameter.initialize(initializer, seed=seed)
    return np.asarray(parameter.value)


@given(
    st.lists(st.integers(20, 50), min_size=1, max_size=2) | st.just([3, 4, 20, 20]),
    st.floats(-100, 100),
    st.floats(1e-3, 1e3),
)
def test_uniform_and_normal_pass_kolmogorov_smirnov_tests(shape, offset, spread):
    start = offset * spread
    uniform = value_of(init.Uniform(start, start + spread), shape).astype(np.float64)
    normal = value_of(init.Normal(spread, start), shape).astype(np.float64)
    tests = [
        stats.kstest(uniform.reshape(-1), "uniform", (start, spread)),
        stats.kstest((normal.reshape(-1) - start) / spread, "norm"),
    ]
    # All examples share one seed, so that this is one test and not a hundred.
    assert min(test.pvalue for test in tests) > REJECT_BELOW


def test_moments_are_those_of_the_distributions():
    n = 1 << 20
    normal = value_of(init.Normal(0.5, 3), (n,)).astype(np.float64)
    assert abs(normal.mean() - 3) < 4 * 0.5 / n**0.5
    assert abs(normal.var() - 0.25) < 4 * 0.25 * (2 / n) ** 0.5
    uniform = value_of(init.Uniform(0.07), (n,)).astype(np.float64)
    variance = 0.07**2 / 3
    assert abs(uniform.mean()) < 4 * (variance / n) ** 0.5
    # The fourth moment of U(-s, s) is s⁴ / 5.
    assert abs(uniform.var() - variance) < 4 * ((0.07**4 / 5 - variance**2) / n) ** 0.5


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("bounds", [(-0.07, 0.07), (0.001, 0.0013), (-3.0, 1000.0)])
def test_no_value_lies_outside_of_the_bounds(dtype, bounds):
    drawn = value_of(init.Uniform(*bounds), (200_000,), dtype).astype(np.float64)
    assert bounds[0] <= drawn.min()
    assert drawn.max() <= bounds[1]


def test_uniform_has_two_spellings():
    assert init.Uniform(-2, 2) == init.Uniform(2) == init.Uniform(scale=2)
    assert init.Uniform(1, 2) == init.Uniform(low=1, high=2) == init.Uniform(1, high=2)
    assert init.Uniform().high == 0.07


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((), {"high": 2}), ((), {"low": 2}), ((1,), {"low": 0, "high": 2}), ((1,), {"low": 0})],
)
def test_half_a_spelling_is_refused(arguments, options):
    with pytest.raises(az.InitializationError, match="either scale, or both low and high"):
        init.Uniform(*arguments, **options)


@pytest.mark.parametrize(
    "build",
    [
        lambda: init.Uniform(-1),
        lambda: init.Uniform(0),
        lambda: init.Uniform(math.nan),
        lambda: init.Uniform(math.inf),
        lambda: init.Uniform("0.07"),
        lambda: init.Uniform(True),
        lambda: init.Uniform([0.1]),
        lambda: init.Uniform(2, 1),
        lambda: init.Uniform(1, 1),
        lambda: init.Uniform(0, math.nan),
        lambda: init.Uniform(0, math.inf),
        lambda: init.Uniform(-1.7e308, 1.7e308),
        lambda: init.Normal(-0.01),
        lambda: init.Normal(math.nan),
        lambda: init.Normal(math.inf),
        lambda: init.Normal(None),
        lambda: init.Normal(1, math.nan),
        lambda: init.Normal(1, math.inf),
    ],
)
def test_bad_arguments_are_refused_at_construction(build):
    with pytest.raises(az.InitializationError, match=r"(Uniform|Normal)"):
        build()


@pytest.mark.parametrize("scale", [np.float32(0.5), jnp.float32(0.5), np.array(0.5), 1])
def test_numbers_of_every_kind_are_taken(scale):
    assert init.Uniform(scale).high == float(scale)
    assert init.Normal(scale).sigma == float(scale)


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
@pytest.mark.parametrize("initializer", [init.Uniform(), init.Normal()])
def test_other_dtypes_than_floating_are_refused_by_path(initializer, dtype):
    net = nn.Sequential(nn.Dense(2, in_units=2))
    net[0].extra = az.Parameter((2, 2), dtype=dtype)
    with pytest.raises(az.InitializationError, match=f"parameter '0.extra' has dtype {dtype}"):
        net.initialize(initializer)


@pytest.mark.parametrize(
    ("initializer", "dtype"),
    [
        (init.Uniform(1e5), "float16"),
        (init.Uniform(1.0001, 1.0002), "bfloat16"),
        (init.Normal(1e4), "float16"),
        (init.Normal(1, 65500), "float16"),
    ],
)
def test_a_dtype_that_cannot_hold_the_values_is_refused(initializer, dtype):
    with pytest.raises(az.InitializationError, match=f"dtype {dtype}"):
        value_of(initializer, dtype=dtype)


@pytest.mark.parametrize("initializer", [init.Uniform(), init.Normal()])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2)])
def test_scalars_and_empty_arrays_are_drawn(initializer, shape):
    assert value_of(initializer, shape).shape == shape


def test_a_normal_without_spread_is_constant():
    assert (value_of(init.Normal(0.0, 2)) == 2).all()


def test_printed_forms():
    assert repr(init.Normal(0.1)) == "Normal(sigma=0.1)"
    assert repr(init.Normal(0.1, 2)) == "Normal(sigma=0.1, mean=2.0)"
    assert repr(init.Uniform(1, 2)) == "Uniform(low=1.0, high=2.0)"

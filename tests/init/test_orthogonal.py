import itertools
import math

import ml_dtypes
import numpy as np
import pytest
from scipy import stats

import ansatz as az
from ansatz import init, nn
from ansatz.core.initializer import Spec
from ansatz.core.random import generator

REJECT_BELOW = 1e-4


def draw(shape, gain=1.0, *, seed=0, dtype="float64"):
    spec = Spec(shape, np.dtype(dtype), "weight")
    return init.Orthogonal(gain).bind(spec).draw(generator(seed, "weight"), spec)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (2, 2),
        (33, 33),
        (64, 64),
        (100, 20),
        (20, 100),
        (8, 3, 5, 5),
        (200, 3, 3),
        (300, 299),
    ],
)
@pytest.mark.parametrize("gain", [1.0, 0.5, -3.0])
def test_the_smaller_side_is_orthogonal_with_the_length_of_the_gain(shape, gain):
    matrix = draw(shape, gain).reshape(shape[0], -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    expected = gain**2 * np.eye(len(matrix))
    np.testing.assert_allclose(matrix @ matrix.T, expected, rtol=0, atol=1e-8 * gain**2)


@pytest.mark.parametrize(
    ("dtype", "error"), [("float32", 1e-6), ("float16", 2e-3), (ml_dtypes.bfloat16, 2e-2)]
)
def test_narrower_dtypes_hold_the_same_matrix_rounded_once(dtype, error):
    wide, narrow = draw((30, 40)), draw((30, 40), dtype=dtype)
    assert narrow.dtype == dtype
    np.testing.assert_array_equal(narrow, wide.astype(dtype))
    narrow = narrow.astype(np.float64)
    np.testing.assert_allclose(narrow @ narrow.T, np.eye(30), rtol=0, atol=error)


def test_the_product_of_reflections_is_that_of_householder_in_plain_double_precision():
    # Independent of blocks and integers: one reflection of a normal vector after the other.
    rows, columns = 70, 40
    normal = np.empty(rows * columns, np.float32)
    init.Normal(1.0).fill(generator(0, "weight"), normal)
    q = np.eye(rows)[:, :columns]
    for k, x in reversed(list(enumerate(normal.reshape(columns, rows).astype(np.float64)))):
        v = np.where(np.arange(rows) < k, 0, x)
        sign = np.copysign(1, v[k])
        v[k] += sign * np.linalg.norm(v)
        q -= 2 / (v @ v) * np.outer(v, v @ q)
        q[:, k] *= -sign
    # The integers that stand for the normal numbers are rounded to 1 / 4096.
    np.testing.assert_allclose(draw((rows, columns)), q, atol=1e-3)


def many(shape, n):
    return np.stack([draw(shape, seed=seed) for seed in range(n)])


def test_square_matrices_have_determinants_of_either_sign():
    signs = np.linalg.det(many((3, 3), 400))
    np.testing.assert_allclose(np.abs(signs), 1, rtol=1e-7)
    assert abs((signs > 0).mean() - 0.5) < 4 * 0.5 / 400**0.5


def test_every_entry_has_the_distribution_of_a_coordinate_on_the_sphere():
    # Of a uniform point on the sphere in n dimensions, (x + 1) / 2 is Beta((n-1)/2, (n-1)/2).
    n = 5
    matrices = many((n, n), 600)
    beta = stats.beta((n - 1) / 2, (n - 1) / 2, -1, 2)
    pvalues = [
        stats.kstest(matrices[:, i, j], beta.cdf).pvalue
        for i, j in itertools.product(range(n), repeat=2)
    ]
    assert min(pvalues) > REJECT_BELOW / n**2


def test_the_eigenvalues_are_those_of_the_haar_measure():
    # The trace of powers of a Haar matrix O(n) has mean 0 (odd powers) or 1 (even), and the
    # variance is the power, for small powers (Diaconis and Shahshahani, 1994).
    n, power_sums = 1000, {1: (0, 1), 2: (1, 2), 3: (0, 3)}
    matrices = many((10, 10), n)
    for power, (mean, variance) in power_sums.items():
        traces = np.trace(np.linalg.matrix_power(matrices, power), axis1=1, axis2=2)
        assert abs(traces.mean() - mean) < 4 * math.sqrt(variance / n), power
        assert abs(traces.var() / variance - 1) < 4 * math.sqrt(2 / n), power


def test_a_float32_matrix_has_as_many_distinct_values_as_places():
    drawn = draw((100, 100), dtype="float32")
    assert np.unique(drawn).size > 9900
    assert np.unique(draw((4, 20_000), dtype="float32")[0]).size > 5000


def test_one_column_is_a_unit_vector_and_one_element_a_sign():
    assert math.isclose(np.linalg.norm(draw((50, 1))), 1, rel_tol=1e-8)
    signs = {float(draw((1, 1), seed=seed, dtype="float32")[0, 0]) for seed in range(20)}
    assert signs == {1.0, -1.0}


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 3)])
def test_empty_arrays_are_drawn(shape):
    assert draw(shape).shape == shape


def test_signals_neither_grow_nor_vanish_through_fifty_layers():
    x = np.random.default_rng(0).standard_normal((64, 10))
    start = np.linalg.norm(x, axis=0)
    for seed in range(50):
        x = draw((64, 64), seed=seed, dtype="float32") @ x
    np.testing.assert_allclose(np.linalg.norm(x, axis=0), start, rtol=1e-4)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_vectors_are_refused_by_path(shape):
    net = nn.Sequential(nn.Dense(2, in_units=2))
    net[0].scale = az.Parameter(shape)
    with pytest.raises(az.InitializationError, match=r"parameter '0.scale' has shape .*2 dim"):
        net.initialize(init.Orthogonal())
    assert not net[0].weight.has_value


@pytest.mark.parametrize("gain", [math.nan, math.inf, "1", None, True])
def test_bad_gains_are_refused_at_construction(gain):
    with pytest.raises(az.InitializationError, match="gain of Orthogonal"):
        init.Orthogonal(gain)


def test_a_dtype_that_cannot_hold_the_values_is_refused():
    with pytest.raises(az.InitializationError, match="dtype int32"):
        az.Parameter((3, 3), dtype="int32").initialize("orthogonal")
    with pytest.raises(az.InitializationError, match="dtype float16, which cannot hold"):
        az.Parameter((3, 3), dtype="float16").initialize(init.Orthogonal(1e5))

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import ansatz as az
from ansatz import init, nn

REJECT_BELOW = 1e-4


def value_of(initializer, shape, *, seed=0, dtype="float32"):
    parameter = az.Parameter(shape, dtype=dtype)
    parameter.initialize(initializer, seed=seed)
    return np.asarray(parameter.value)


@given(st.integers(0, 30), st.integers(0, 20), st.integers(0, 100))
def test_every_column_has_exactly_the_stated_zeros(rows, columns, percent):
    drawn = value_of(init.Sparse(percent / 100, std=1), (rows, columns))
    expected = -(-percent * rows // 100)
    np.testing.assert_array_equal((drawn == 0).sum(0), np.full(columns, expected))


@pytest.mark.parametrize(("sparsity", "rows", "zeros"), [(0.07, 100, 7), (0.28, 25, 7), (1, 9, 9)])
def test_the_count_has_no_rounding_error(sparsity, rows, zeros):
    assert (value_of(init.Sparse(sparsity), (rows, 3)) == 0).sum() == 3 * zeros


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_others_are_normal(dtype):
    drawn = value_of(init.Sparse(0.3, std=0.5), (200, 100), dtype=dtype).astype(np.float64)
    others = drawn[drawn != 0]
    assert others.size == 140 * 100
    if dtype == "float32":
        assert stats.kstest(others / 0.5, "norm").pvalue > REJECT_BELOW
    assert abs(others.var() / 0.25 - 1) < 4 * (2 / others.size) ** 0.5


def test_every_place_of_a_column_is_zero_equally_often():
    zeros = (value_of(init.Sparse(0.25), (8, 20_000)) == 0).sum(1)
    assert zeros.sum() == 2 * 20_000
    assert stats.chisquare(zeros).pvalue > REJECT_BELOW


def test_two_zeros_of_a_column_avoid_each_other_as_often_as_they_should():
    columns = (value_of(init.Sparse(0.5), (4, 6_000)) == 0).T
    _, counts = np.unique(columns, axis=0, return_counts=True)
    assert counts.size == math.comb(4, 2)
    assert stats.chisquare(counts).pvalue > REJECT_BELOW


def test_the_seed_decides_on_the_places_of_the_zeros():
    first, again, other = (value_of(init.Sparse(0.5), (20, 20), seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert ((first == 0) != (other == 0)).any()


def test_the_places_do_not_depend_on_the_dtype():
    wide, narrow = (value_of(init.Sparse(0.5), (9, 9), dtype=d) for d in ("float32", "bfloat16"))
    np.testing.assert_array_equal(wide == 0, narrow == 0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: init.Sparse(1.1), "sparsity of Sparse is a share, from 0 to 1"),
        (lambda: init.Sparse(-0.1), "sparsity of Sparse must not be negative"),
        (lambda: init.Sparse(math.nan), "sparsity of Sparse"),
        (lambda: init.Sparse(True), "sparsity of Sparse"),
        (lambda: init.Sparse(0.1, -1), "std of Sparse"),
    ],
)
def test_bad_arguments_are_refused_at_construction(build, message):
    with pytest.raises(az.InitializationError, match=message):
        build()


def test_what_is_not_a_matrix_of_real_numbers_is_refused_by_path():
    net = nn.Sequential(nn.Dense(2, in_units=2))
    with pytest.raises(az.InitializationError, match=r"parameter '0.bias' has shape \(2,\)"):
        net.initialize({"*": init.Sparse(0.5)})
    with pytest.raises(az.InitializationError, match="dtype int32"):
        value_of(init.Sparse(0.5), (2, 2), dtype="int32")
    with pytest.raises(az.InitializationError, match="would overflow"):
        value_of(init.Sparse(0.5, 1e5), (2, 2), dtype="float16")

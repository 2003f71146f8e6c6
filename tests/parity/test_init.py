"""Initialisers against PyTorch and Gluon: the exact ones exactly, drawn ones as samples."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

import ansatz as az
from ansatz import init
from tests.parity import replay

TORCH = load_file(replay.FOLDER / "init.safetensors")
GLUON = load_file(replay.FOLDER / "init_gluon.safetensors")
REJECT_BELOW = 1e-4


def cases(arrays, kind):
    return [name for name in arrays if name.startswith(f"{kind}/")]


def value_of(initializer, shape=(20, 40)):
    parameter = az.Parameter(shape)
    parameter.initialize(initializer, seed=0)
    return np.asarray(parameter.value)


@pytest.mark.parametrize("name", cases(TORCH, "gain"))
def test_gains_are_those_of_pytorch(name):
    nonlinearity, *slope = name.removeprefix("gain/").split()
    assert init.calculate_gain(nonlinearity, *map(float, slope)) == TORCH[name]


@pytest.mark.parametrize("name", cases(TORCH, "eye"))
def test_the_identity_is_that_of_pytorch(name):
    parameter = az.Parameter(TORCH[name].shape)
    np.testing.assert_array_equal(init.eye_(parameter).value, TORCH[name])


@pytest.mark.parametrize("name", cases(TORCH, "dirac"))
def test_dirac_kernels_are_those_of_pytorch(name):
    groups = int(name.rpartition("/")[2])
    parameter = az.Parameter(TORCH[name].shape)
    np.testing.assert_array_equal(init.dirac_(parameter, groups).value, TORCH[name])


@pytest.mark.parametrize("name", cases(GLUON, "bilinear"))
def test_bilinear_kernels_are_those_of_gluon(name):
    np.testing.assert_allclose(value_of(init.Bilinear(), GLUON[name].shape), GLUON[name], atol=1e-7)


@pytest.mark.parametrize("name", cases(GLUON, "lstmbias"))
def test_lstm_biases_are_those_of_gluon(name):
    forget_bias = float(name.rpartition("/")[2])
    np.testing.assert_array_equal(value_of(init.LSTMBias(forget_bias), (12,)), GLUON[name])


DRAWN_BY_PYTORCH = {
    "xavier_uniform_": init.Xavier(magnitude=3 * 2**2),
    "xavier_normal_": init.Xavier("gaussian", magnitude=2**2),
    "kaiming_uniform_": init.Kaiming("fan_out", "leaky_relu", "uniform", param=0.5),
    "kaiming_normal_": init.Kaiming(nonlinearity="tanh"),
    "trunc_normal_": init.TruncatedNormal(0.3, 0.5, -0.5, 0.6),
    "orthogonal_": init.Orthogonal(2),
    "sparse_": init.Sparse(0.33, 0.5),
}
DRAWN_BY_GLUON = {
    "uniform": init.Uniform(0.3),
    "normal": init.Normal(0.3),
    "xavier": init.Xavier(),
    "xavier gaussian out": init.Xavier("gaussian", "out", 2.5),
    "msraprelu": init.MSRAPrelu(),
    "msraprelu in": init.MSRAPrelu("in", 0.1),
    "orthogonal": init.Orthogonal(1.414),
}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (arrays[f"drawn/{name}"], ours)
        for arrays, table in ((TORCH, DRAWN_BY_PYTORCH), (GLUON, DRAWN_BY_GLUON))
        for name, ours in table.items()
    ],
    ids=lambda value: repr(value) if isinstance(value, init.Initializer) else "",
)
def test_draws_have_the_distribution_of_theirs(theirs, ours):
    test = stats.ks_2samp(value_of(ours).reshape(-1), theirs.reshape(-1))
    assert test.pvalue > REJECT_BELOW


@pytest.mark.parametrize(
    ("theirs", "scale"),
    [(TORCH["drawn/orthogonal_"], 2.0), (GLUON["drawn/orthogonal"], 1.414)],
    ids=["PyTorch", "Gluon"],
)
def test_orthogonal_rows_have_the_length_of_theirs(theirs, scale):
    expected = theirs @ theirs.T
    np.testing.assert_allclose(expected, scale**2 * np.eye(20), atol=1e-5)
    ours = value_of(init.Orthogonal(scale))
    np.testing.assert_allclose(ours @ ours.T, expected, atol=1e-5)


def test_a_sparse_matrix_has_as_many_zeros_in_each_column_as_that_of_pytorch():
    ours, theirs = value_of(init.Sparse(0.33, 0.5)), TORCH["drawn/sparse_"]
    np.testing.assert_array_equal((ours == 0).sum(0), (theirs == 0).sum(0))

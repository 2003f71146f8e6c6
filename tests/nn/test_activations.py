import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn
from tests.nn.reference import COMPILED, Cases, assert_matches, close

CASES = Cases("activations")
LAYERS = {
    "CELU": nn.CELU(),
    "CELU 2": nn.CELU(2.0),
    "ELU": nn.ELU(),
    "ELU 0.5": nn.ELU(0.5),
    "ELU at kinks": nn.ELU(),
    "GELU": nn.GELU(),
    "GELU tanh": nn.GELU(approximate=True),
    "HardSigmoid": nn.HardSigmoid(),
    "HardSwish": nn.HardSwish(),
    "HardTanh": nn.HardTanh(),
    "HardTanh -2 0.5": nn.HardTanh(-2, 0.5),
    "HardTanh at kinks": nn.HardTanh(),
    "LeakyReLU": nn.LeakyReLU(),
    "LeakyReLU 0.2": nn.LeakyReLU(0.2),
    "LeakyReLU at kinks": nn.LeakyReLU(),
    "LogSigmoid": nn.LogSigmoid(),
    "LogSoftmax": nn.LogSoftmax(),
    "LogSoftmax 0": nn.LogSoftmax(axis=0),
    "Mish": nn.Mish(),
    "PReLU": nn.PReLU(),
    "PReLU 8": nn.PReLU(8),
    "ReLU": nn.ReLU(),
    "ReLU at kinks": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "ReLU6 at kinks": nn.ReLU6(),
    "SELU": nn.SELU(),
    "SiLU": nn.SiLU(),
    "Sigmoid": nn.Sigmoid(),
    "Softmax": nn.Softmax(),
    "Softmax 0": nn.Softmax(axis=0),
    "Softplus": nn.Softplus(),
    "Softplus 2": nn.Softplus(beta=2),
    "Softsign": nn.Softsign(),
    "Tanh": nn.Tanh(),
}


def test_every_stored_case_has_a_layer():
    assert sorted(LAYERS) == sorted(CASES.names())


@pytest.mark.parametrize("case", LAYERS)
def test_values_and_gradients_are_those_of_pytorch(case):
    assert_matches(LAYERS[case], CASES[case], rtol=3e-5, atol=5e-6)


@pytest.mark.parametrize("case", [name for name in LAYERS if "kinks" not in name])
def test_a_call_outside_of_jit_is_one_dispatch(case):
    layer, x = LAYERS[case], jnp.asarray(CASES[case]["x"])
    layer.settle_shapes(x)
    called = jax.make_jaxpr(lambda state, x: az.functional_call(layer, state, x))
    (equation,) = called(layer.state_dict(), x).eqns
    assert equation.primitive.name in COMPILED


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", [name for name in LAYERS if not name.startswith("PReLU")])
def test_low_precision_is_kept_and_close(case, dtype):
    y = LAYERS[case](jnp.asarray(CASES[case]["x"], dtype))
    assert y.dtype == dtype
    close(y, CASES[case]["y"], rtol=5e-2, atol=5e-2)


def test_nan_stays_nan():
    for name in ("ReLU", "ReLU6", "HardTanh", "LeakyReLU", "HardSwish", "GELU"):
        assert np.isnan(LAYERS[name](jnp.array([jnp.nan]))).all(), name


def test_slopes_start_at_a_quarter_whatever_the_default():
    layer = nn.PReLU()
    layer.initialize(init.Normal(1.0))
    assert layer.weight.value.tolist() == [0.25]


def test_slopes_may_be_one_for_each_channel_along_any_axis():
    layer = nn.PReLU(None, axis=1)
    assert layer(-jnp.ones((2, 3, 4))).shape == (2, 3, 4)
    layer.weight.value = jnp.array([0.0, 1.0, 2.0])
    close(layer(-jnp.ones((2, 3, 4)))[0, :, 0], [0, -1, -2])


def test_nonsense_is_refused_when_the_layer_is_built():
    with pytest.raises(ValueError, match="minimum"):
        nn.HardTanh(1, -1)
    with pytest.raises(ValueError, match="beta"):
        nn.Softplus(0)
    with pytest.raises(ValueError, match="approximate"):
        nn.GELU(approximate="yes")


def test_pytorchs_words_for_the_approximation_are_understood():
    assert nn.GELU("tanh").approximate is True
    assert nn.GELU("none").approximate is False


def test_layers_print_their_settings():
    assert repr(nn.LeakyReLU(0.1)) == "LeakyReLU(negative_slope=0.1)"
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.Softmax(1)) == "Softmax(axis=1)"
    assert repr(nn.PReLU(None)) == "PReLU(num_parameters=None)"

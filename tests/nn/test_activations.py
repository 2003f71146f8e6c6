import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn
from ansatz.nn.activations import ActivationLayer
from tests.nn.reference import COMPILED, close

X = 3 * np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
LAYERS = {
    layer.__name__: layer
    for layer in vars(nn).values()
    if isinstance(layer, type) and issubclass(layer, ActivationLayer)
} | {"PReLU": nn.PReLU, "RReLU": nn.RReLU, "Threshold": lambda: nn.Threshold(0.5, -2)}


@pytest.mark.parametrize("name", LAYERS)
def test_a_call_outside_of_jit_is_one_dispatch(name):
    layer = LAYERS[name]()
    layer.settle_shapes(X)
    called = jax.make_jaxpr(lambda state, x: az.functional_call(layer, state, x, return_state=True))
    (equation,) = called(layer.state_dict(), X).eqns
    assert equation.primitive.name in COMPILED


@az.jit
def outputs(layers, x):
    """Of all layers at once: one program compiles faster than many."""
    return {name: layer(x) for name, layer in layers.items()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_kept_and_close(dtype):
    layers = {name: LAYERS[name]().eval() for name in LAYERS if name != "PReLU"}
    x = jnp.asarray(X, dtype)
    exact = outputs(layers, x.astype("float32"))
    for name, y in outputs(layers, x).items():
        assert y.dtype == dtype, name
        close(y, exact[name], rtol=5e-2, atol=5e-2, err_msg=name)


def test_nan_stays_nan():
    layers = {name: LAYERS[name]().eval() for name in LAYERS}
    for name, y in outputs(layers, jnp.array([jnp.nan, jnp.nan])).items():
        assert np.isnan(y).all(), name


def test_nan_stays_nan_where_a_sum_is_compiled_into_the_same_loop():
    layers = {name: LAYERS[name]().eval() for name in LAYERS}
    sums = az.jit(lambda layers, x: {name: layer(x).sum() for name, layer in layers.items()})
    for name, total in sums(layers, jnp.full((8, 3, 16, 16), jnp.nan)).items():
        assert np.isnan(total), name


def test_slopes_start_at_a_quarter_whatever_the_default():
    layer = nn.PReLU()
    layer.initialize(init.Normal(1.0))
    assert layer.weight.value.tolist() == [0.25]


def test_slopes_may_be_one_for_each_channel_along_any_axis():
    layer = nn.PReLU(None, np.float32(0.25), axis=1)
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
    for layer in (nn.HardShrink, nn.SoftShrink):
        with pytest.raises(ValueError, match="bound"):
            layer(-1)
    with pytest.raises(ValueError, match="lower"):
        nn.RReLU(0.5, 0.25)
    with pytest.raises(TypeError, match="ReLU has no option 'inplace'"):
        nn.ReLU(inplace=True)


def test_random_slopes_are_drawn_anew_between_their_bounds():
    layer = nn.RReLU(0.25, 0.5)
    first, second = (np.asarray(az.jit(layer)(-jnp.ones(1000))) for _ in range(2))
    assert (first != second).any()
    assert -0.5 <= first.min() < -0.49
    assert -0.26 < first.max() <= -0.25
    # Four standard deviations of the mean of a thousand uniform numbers.
    assert abs(first.mean() + 0.375) < 4 * 0.25 / np.sqrt(12 * 1000)
    assert (layer(jnp.ones(3)) == 1).all()


def test_an_option_that_is_changed_later_is_followed():
    layer = nn.LeakyReLU(0.5)
    step = az.jit(layer)
    assert step(-jnp.ones(1)).tolist() == [-0.5]
    layer.negative_slope = 0.25
    assert step(-jnp.ones(1)).tolist() == [-0.25]


def test_pytorchs_words_for_the_approximation_are_understood():
    assert nn.GELU("tanh").approximate is True
    assert nn.GELU("none").approximate is False


def test_layers_print_their_settings():
    assert repr(nn.LeakyReLU(0.1)) == "LeakyReLU(negative_slope=0.1)"
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.Softmax(1)) == "Softmax(axis=1)"
    assert repr(nn.PReLU(None)) == "PReLU(num_parameters=None)"

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from ansatz.nn.activation_functions import BY_NAME, by_name, checked_activation, spelled
from tests.nn.reference import close


def test_each_name_is_a_function_of_the_same_name_in_nn():
    for name, function in BY_NAME.items():
        assert getattr(nn, name) is function is by_name(name)


def test_each_name_has_a_layer_of_the_same_spelling():
    layers = {name.lower() for name in nn.__all__}
    without = {name for name in BY_NAME if name.replace("_", "") not in layers}
    assert without == {"gelu_tanh"}


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(sorted(BY_NAME)), leading=st.lists(st.integers(0, 3), max_size=2))
def test_shapes_are_kept_by_all_but_the_gated_ones_which_halve_the_last_axis(name, leading):
    gated = name.endswith("glu")
    x = jnp.ones((*leading, 4))
    assert BY_NAME[name](x).shape == (*leading, 2 if gated else 4)


def sum_of(function):
    return lambda x: function(x).sum()


def test_every_function_runs_under_jit_grad_and_vmap():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")

    @jax.jit  # All in one program, which compiles faster than many.
    def transformed(x):
        return {
            name: (function(x), jax.vmap(function)(x), jax.grad(sum_of(function))(x))
            for name, function in BY_NAME.items()
        }

    for name, (compiled, mapped, slope) in transformed(x).items():
        y = BY_NAME[name](x)
        close(compiled, y, err_msg=name)
        close(mapped, y, err_msg=name)
        assert slope.shape == x.shape, name
        assert np.isfinite(slope).all(), name


def test_large_numbers_do_not_overflow():
    @jax.jit
    def values_and_slopes(x):
        return {
            name: (function(x), jax.grad(sum_of(function))(x))
            for name, function in BY_NAME.items()
            if "soft" not in name
        }

    for name, (y, slope) in values_and_slopes(jnp.array([-1e4, 1e4])).items():
        assert np.isfinite(y).all(), name
        assert np.isfinite(slope).all(), name


def test_a_gated_activation_wants_an_even_axis_that_exists():
    with pytest.raises(az.ShapeError, match=r"halves axis -1.*\(2, 3\)"):
        nn.glu(jnp.ones((2, 3)))
    with pytest.raises(az.ShapeError, match="halves axis 2"):
        nn.swiglu(jnp.ones((2, 4)), axis=2)
    assert nn.Dense(8, activation="swiglu")(jnp.ones((2, 3))).shape == (2, 4)


def test_a_near_name_is_suggested():
    with pytest.raises(ValueError, match=r"did you mean .*'gelu'"):
        by_name("gellu")
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        by_name("ReLU")


def test_a_number_is_no_activation():
    with pytest.raises(TypeError, match="3 of type int"):
        checked_activation(3)


def test_names_functions_layers_and_nothing_are_accepted():
    for choice in ("relu", jnp.tanh, nn.ReLU(), None):
        assert checked_activation(choice) is choice


def test_a_function_is_printed_by_its_name():
    assert spelled(jnp.sin) == "sin"
    assert spelled("relu") == "relu"


def test_an_activation_is_looked_at_as_any_compiled_function():
    x = jax.ShapeDtypeStruct((2, 3), "float32")
    assert nn.leaky_relu.eval_shape(x, negative_slope=0.5).shape == (2, 3)
    assert nn.relu.trace(x).jaxpr.in_avals[0].shape == (2, 3)
    assert "leaky_relu" in nn.leaky_relu.lower(x, 0.5).as_text()


def test_an_activation_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(nn.relu)) is nn.relu

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import init, nn
from tests.nn.reference import COMPILED, close


def test_a_named_activation_is_applied_to_the_output():
    layer, x = nn.Dense(3, 5, activation="relu"), np.arange(10.0, dtype="float32").reshape(2, 5)
    linear = x @ np.asarray(layer.weight.value).T + np.asarray(layer.bias.value)
    close(layer(x), np.maximum(linear, 0), rtol=1e-4)


def test_an_activation_may_be_a_function_that_looks_at_values():
    def shout(y):
        return y if float(y.sum()) > 0 else -y

    layer = nn.Dense(2, 2, activation=shout, weight_init=init.Constant(-1))
    assert layer(jnp.ones((1, 2))).tolist() == [[2.0, 2.0]]


def test_an_activation_may_be_a_layer_with_parameters_of_its_own():
    layer = nn.Dense(2, activation=nn.PReLU())
    layer(jnp.ones((1, 3)))
    assert list(layer.collect_params()) == ["weight", "bias", "activation.weight"]


def test_an_unknown_activation_is_refused_when_the_layer_is_built():
    with pytest.raises(ValueError, match=r"'rellu'; did you mean .*'relu'.*known names: celu, elu"):
        nn.Dense(2, activation="rellu")


def test_the_class_of_an_activation_is_refused_in_favour_of_a_layer():
    with pytest.raises(TypeError, match=r"activation=nn.ReLU\(\)"):
        nn.Dense(2, activation=nn.ReLU)


def test_an_activation_in_gluons_position_is_refused_with_the_right_spelling():
    with pytest.raises(TypeError, match="activation='relu'"):
        nn.Dense(2, "relu")


def test_widths_that_are_no_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="units is a whole number"):
        nn.Dense(2.5)
    with pytest.raises(ValueError, match="in_units cannot be negative"):
        nn.Dense(2, -1)


def test_flattening_merges_all_axes_but_the_first():
    layer = nn.Dense(3, flatten=True)
    x = jnp.arange(24.0).reshape(2, 3, 4)
    y = layer(x)
    assert layer.weight.shape == (3, 12)
    close(y, np.asarray(x).reshape(2, 12) @ np.asarray(layer.weight.value).T)
    assert layer(x.reshape(2, 4, 3)).shape == (2, 3)


def test_images_where_their_merged_axes_are_wanted_are_told_how_to_merge_them():
    with pytest.raises(az.ShapeError, match=r"but 12 is wanted, that of all .*nn\.Flatten\(\)"):
        nn.Dense(2, 12)(jnp.ones((5, 1, 3, 4)))


def test_flattening_accepts_an_empty_batch():
    assert nn.Dense(3, flatten=True)(jnp.ones((0, 3, 4))).shape == (0, 3)


def test_another_width_is_refused_with_the_name_of_the_layer():
    net = nn.Sequential(nn.Dense(3, 5))
    with pytest.raises(az.ShapeError, match=r"layer '0', Dense\(5 -> 3\).*\(3, 5\).*\(3, 6\)"):
        net(jnp.ones((2, 6)))


def test_an_input_without_axes_is_refused():
    with pytest.raises(az.ShapeError, match="no axis -1"):
        nn.Dense(3)(jnp.ones(()))


def test_pytorchs_bounds_hold_for_the_weight_and_the_zero_bias_of_dense():
    layer = nn.Dense(200, 100)
    layer.initialize(seed=0)
    weight = np.asarray(layer.weight.value)
    assert abs(weight).max() <= 0.1
    assert abs(weight.std() - 0.1 / np.sqrt(3)) < 1e-3
    assert not layer.bias.value.any()


@pytest.mark.parametrize("in_features", [100, None])
def test_the_bias_of_linear_is_drawn_from_pytorchs_bounds(in_features):
    layer = nn.Linear(in_features, 2000)
    layer.initialize(seed=0, example=jnp.ones((1, 100)))
    bias = np.asarray(layer.bias.value)
    assert 0.09 < abs(bias).max() <= 0.1
    assert abs(bias.std() - 0.1 / np.sqrt(3)) < 2e-3


def test_the_default_given_to_initialize_leaves_biases_alone():
    net = nn.Sequential(nn.Dense(3, 2), nn.Linear(3, 2))
    net.initialize(init.Constant(1), seed=0)
    assert (net[0].weight.value == 1).all()
    assert not net[0].bias.value.any()
    assert (net[1].weight.value == 1).all()
    assert not (net[1].bias.value == 1).any()


def test_an_open_bias_takes_the_default_given_to_initialize():
    layer = nn.Dense(3, 2, bias_init=None)
    layer.initialize(init.Constant(7))
    assert layer.bias.value.tolist() == [7, 7, 7]


def test_no_input_features_give_a_zero_bias_as_in_pytorch():
    layer = nn.Linear(0, 3)
    assert layer(jnp.ones((2, 0))).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_linear_prints_as_in_pytorch():
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1, bias=False))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=8, bias=True)\n"
        "  (1): Linear(in_features=8, out_features=1, bias=False)\n"
        ")"
    )


def test_dense_prints_its_widths_and_what_differs_from_the_defaults():
    assert repr(nn.Dense(8)) == "Dense(None -> 8)"
    layer = nn.Dense(8, 4, activation=jnp.sin, use_bias=False, flatten=True)
    assert repr(layer) == "Dense(4 -> 8, sin, use_bias=False, flatten=True)"


def test_the_widths_of_linear_follow_the_weight():
    layer = nn.Linear(None, 3)
    assert layer.in_features is None
    layer(jnp.ones((1, 5)))
    assert (layer.in_features, layer.out_features) == (5, 3)


@pytest.mark.parametrize(
    ("dtype", "given", "result"),
    [
        ("float32", "float32", "float32"),
        ("bfloat16", "bfloat16", "bfloat16"),
        ("float16", "float16", "float16"),
        ("float32", "bfloat16", "float32"),
        ("float32", "int32", "float32"),
    ],
)
def test_the_output_has_the_dtype_to_which_jax_promotes(dtype, given, result):
    layer = nn.Dense(3, dtype=dtype)
    assert layer(jnp.ones((2, 4), given)).dtype == result
    assert layer.weight.value.dtype == layer.bias.value.dtype == dtype


def test_a_numpy_array_is_an_input():
    assert nn.Dense(3)(np.ones((2, 4), np.float32)).shape == (2, 3)


@settings(max_examples=20, deadline=None)
@given(leading=st.lists(st.integers(0, 3), max_size=3))
def test_leading_axes_are_kept_whatever_they_are(leading):
    layer = nn.Dense(2, 3, weight_init="ones")
    x = np.ones((*leading, 3), np.float32)
    close(layer(x), np.full((*leading, 2), 3.0))


def test_a_call_outside_of_jit_is_one_dispatch():
    layer = nn.Dense(3, 4, activation="relu")
    called = jax.make_jaxpr(lambda state, x: az.functional_call(layer, state, x))
    (equation,) = called(layer.state_dict(), jnp.ones((2, 4))).eqns
    assert equation.primitive.name in COMPILED


def test_bilinear_draws_weight_and_bias_from_pytorchs_bounds():
    for layer in (nn.Bilinear(2000, 25, 3), nn.Bilinear(2000)):
        layer.initialize(seed=0, example=(jnp.ones((1, 25)), jnp.ones((1, 3))))
        for values in (np.asarray(layer.weight.value), np.asarray(layer.bias.value)):
            assert 0.19 < abs(values).max() <= 0.2
            assert abs(values.std() - 0.2 / np.sqrt(3)) < 4e-3


def test_the_fan_in_of_bilinear_is_the_number_of_products():
    layer = nn.Bilinear(5, 3, 4)
    assert init.Spec((5, 3, 4), fan_axes=layer.weight.fan_axes).fans[0] == 12


def test_bilinear_wants_inputs_that_agree_in_all_axes_but_the_last():
    layer = nn.Bilinear(2)
    with pytest.raises(az.ShapeError, match=r"\(3, 4\) and \(2, 4\)"):
        layer(jnp.ones((3, 4)), jnp.ones((2, 4)))
    assert layer.weight.shape == (2, None, None)
    assert layer(jnp.ones((0, 4)), jnp.ones((0, 5))).shape == (0, 2)
    assert nn.Bilinear(4, activation="glu")(jnp.ones(3), jnp.ones(2)).shape == (2,)
    assert repr(nn.Bilinear(4, activation="glu", use_bias=False)) == (
        "Bilinear(None × None -> 4, glu, use_bias=False)"
    )

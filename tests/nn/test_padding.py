import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn

IN_NUMPY = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@settings(max_examples=10)
@example(length=3, pair=(-1, 2), mode="reflect")
@given(
    length=st.integers(3, 6),
    pair=st.tuples(st.integers(-1, 2), st.integers(-1, 2)),
    mode=st.sampled_from(["zeros", *IN_NUMPY]),
)
def test_cells_are_added_as_numpy_adds_them_and_cut_off(length, pair, mode):
    x = np.arange(1.0, length + 1)
    added = [max(n, 0) for n in pair]

    def cut(x):
        return x[max(-pair[0], 0) : len(x) - max(-pair[1], 0)]

    # As in PyTorch, a circle closes over what is left, and a mirror shows what was cut off as well.
    if mode == "circular":
        expected = np.pad(cut(x), added, mode="wrap")
    else:
        expected = cut(np.pad(x, added, mode=IN_NUMPY.get(mode, "constant")))
    y = nn.Pad((pair,), mode)(jnp.asarray(x)[None, :, None])
    assert y[0, :, 0].tolist() == expected.tolist()


def test_one_number_is_for_all_sides_of_any_number_of_axes():
    for shape in ((1, 3, 2), (1, 3, 4, 2), (1, 3, 4, 5, 2)):
        grown = nn.Pad(1)(jnp.ones(shape)).shape
        assert grown == (1, *(n + 2 for n in shape[1:-1]), 2)
        assert nn.Pad(-1)(jnp.ones(grown)).shape == shape


def test_the_same_cells_may_be_added_by_a_convolution():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 5, 2)), "float32")
    inside = nn.Conv2D(3, 3, padding=1, padding_mode="reflect")
    inside.initialize(seed=0)
    y = inside(x)
    outside = nn.Sequential(nn.Pad(1, "reflect"), nn.Conv2D(3, 3, params=inside.collect_params()))
    assert jnp.allclose(outside(x), y, atol=1e-6)


def test_a_value_stands_for_zero_and_takes_the_dtype_of_the_input():
    y = nn.Pad(1, value=-2)(jnp.ones((1, 1, 1), "bfloat16"))
    assert y.dtype == "bfloat16"
    assert y.ravel().tolist() == [-2, 1, -2]
    assert nn.Pad(1, value=7)(jnp.ones((1, 1, 1), "int32")).ravel().tolist() == [7, 1, 7]
    assert nn.ConstantPad1d(1, jnp.inf)(jnp.ones((1, 1, 1)))[0, 0, 0] == jnp.inf
    with pytest.raises(ValueError, match=r"value=0\.5 of Pad is no int32"):
        nn.Pad(1, value=0.5)(jnp.ones((1, 1, 1), "int32"))


def test_pytorchs_order_begins_with_the_last_axis():
    x = jnp.ones((1, 2, 5, 6))
    assert nn.ZeroPad2d((1, 2, 3, 4))(x).shape == (1, 2, 12, 9)
    assert nn.ZeroPad2d((1, 2, 3, 4)).padding == ((3, 4), (1, 2))
    assert nn.ZeroPad2d((1, 2, 3, 4), layout="NHWC")(x).shape == (1, 9, 8, 6)
    assert isinstance(nn.ZeroPad2d(1), nn.Pad)


def test_layers_print_what_they_were_given():
    printed = {
        "Pad(padding=1)": nn.Pad(1),
        "Pad(padding=(1, 2), mode='reflect', layout='NCHW')": nn.Pad(
            (1, 2), "reflect", layout="NCHW"
        ),
        "Pad(padding=((1, 0), (0, -1)), value=2.0)": nn.Pad(((1, 0), (0, -1)), value=2),
        "ReflectionPad2d(padding=(1, 2, 3, 4))": nn.ReflectionPad2d((1, 2, 3, 4)),
        "ConstantPad1d(padding=1, value=0.5, layout='NWC')": nn.ConstantPad1d(1, 0.5, layout="NWC"),
    }
    for text, layer in printed.items():
        assert repr(layer) == text


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: nn.Pad(1.5), TypeError, "a whole number, or for each spatial axis"),
        (lambda: nn.Pad("same"), TypeError, "a whole number, or for each spatial axis"),
        (lambda: nn.Pad((1, 2, 3, 4)), ValueError, "nn.ZeroPad2d and the like"),
        (lambda: nn.Pad(((1, 2, 3),)), ValueError, "a number or a pair"),
        (lambda: nn.Pad(1, "mirror"), ValueError, "mode of Pad is one of 'zeros', 'reflect'"),
        (lambda: nn.Pad(1, "constant"), ValueError, "mode='zeros', with value="),
        (lambda: nn.Pad(1, "reflect", value=1), ValueError, "value=1 is for mode='zeros'"),
        (lambda: nn.Pad(1, value="x"), TypeError, "value is a number, got 'x'"),
        (lambda: nn.Pad(1, padding_mode="reflect"), TypeError, "called 'mode' here"),
        (lambda: nn.ZeroPad2d((1, 2)), ValueError, r"\(left, right, top, bottom\); got \(1, 2\)"),
        (lambda: nn.ZeroPad1d(((1, 2),)), ValueError, r"one number, or \(left, right\)"),
        (lambda: nn.ZeroPad1d(1, layout="NCHW"), ValueError, "'NWC'"),
        (nn.ZeroPad1d, TypeError, "ZeroPad1d needs padding"),
        (nn.ConstantPad1d, TypeError, "ConstantPad1d needs padding and value"),
    ],
)
def test_paddings_that_do_not_exist_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Pad(1), (4, 3), "one to three spatial axes"),
        (nn.Pad((1, 1)), (1, 4, 3), "4 axes, NHWC"),
        (nn.Pad((1, 1), layout="NCW"), (1, 4, 3), "is for 2 spatial axes"),
        (nn.Pad(3, "reflect"), (1, 3, 1), r"mode='reflect' adds .* 2 to give.*adds \(3, 3\)"),
        (nn.Pad(1, "replicate"), (1, 0, 1), "0 to give"),
        (nn.Pad(-2), (1, 3, 1), "cuts off more than the 3 cells along axis 1"),
        (nn.ReflectionPad2d(1), (3, 4, 4), "4 axes, NCHW"),
    ],
)
def test_inputs_that_do_not_fit_a_padding_are_refused(layer, shape, message):
    with pytest.raises(az.ShapeError, match=message):
        layer(jnp.ones(shape))


def test_each_cell_hands_its_derivative_to_the_one_it_came_from():
    x = jnp.arange(3.0)[None, :, None]
    gradient = jax.grad(lambda x: nn.Pad(((2, 0),), "reflect")(x).sum())(x)
    assert gradient.ravel().tolist() == [1, 2, 2]

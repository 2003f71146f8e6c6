import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import init, nn
from tests.nn.reference import COMPILED, close


def shape_of_output(layer, x):
    """What a call would give; nothing is drawn or computed."""
    state = {
        path: jax.ShapeDtypeStruct(parameter.shape, parameter.dtype)
        for path, parameter in layer.collect_params().items()
    }
    return jax.eval_shape(lambda state, x: az.functional_call(layer, state, x), state, x)


def plain(x, weight, bias, stride, pads, dilation, groups):
    """A convolution of `(batch, height, width, in)`, summed in loops with NumPy."""
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    outputs, inputs, high, wide = weight.shape
    down, right = (
        (x.shape[1 + i] - dilation * (weight.shape[2 + i] - 1) - 1) // stride + 1 for i in (0, 1)
    )
    y = np.zeros((len(x), down, right, outputs)) + bias
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i, j in np.ndindex(high, wide):
            seen = x[:, i * dilation :: stride, j * dilation :: stride, first : first + inputs]
            y[..., o] += seen[:, :down, :right] @ weight[o, :, i, j]
    return y


@settings(max_examples=20)
@given(data=st.data())
def test_a_convolution_is_the_sum_of_products_for_all_options(data):
    draw = data.draw
    groups, stride, dilation = (draw(st.integers(1, 2), label=n) for n in ("g", "s", "d"))
    high, wide = draw(st.sampled_from([(1, 1), (3, 2), (2, 3)]), label="kernel")
    pads = draw(st.sampled_from([((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 2), (1, 0))]), label="p")
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 2 * groups)).astype("float32")
    layer = nn.Conv2D(
        2 * groups, (high, wide), stride, pads, dilation=dilation, groups=groups, bias_init="ones"
    )
    y = layer(jnp.asarray(x))
    expected = plain(x, np.asarray(layer.weight.value), 1, stride, pads, dilation, groups)
    assert y.shape == tuple(expected.shape)
    close(y, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=15)
@given(
    length=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    padding=st.sampled_from([0, 1, ((2, 1),), "same", "causal", "valid"]),
    channels_first=st.booleans(),
)
def test_lengths_are_those_of_the_docs(length, kernel, stride, dilation, padding, channels_first):
    layout = "NCW" if channels_first else "NWC"
    layer = nn.Conv1D(2, kernel, stride, padding, dilation=dilation, layout=layout)
    x = jax.ShapeDtypeStruct((3, 1, length) if channels_first else (3, length, 1), "float32")
    before, after = {0: (0, 0), 1: (1, 1), "valid": (0, 0)}.get(padding, (2, 1))
    if padding in ("same", "causal"):
        places = -(-length // stride)
    else:
        places = (length + before + after - dilation * (kernel - 1) - 1) // stride + 1
    if places < 1:
        with pytest.raises(az.ShapeError, match="the window is larger"):
            layer.settle_shapes(x)
        return
    layer.settle_shapes(x)
    y = shape_of_output(layer, x)
    assert y.shape == ((3, 2, places) if channels_first else (3, places, 2))


@settings(max_examples=15)
@given(
    length=st.integers(1, 5),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([0, 1, ((0, 1),), "same", "causal", "valid"]),
    more=st.integers(0, 2),
)
def test_lengths_of_transposed_layers_are_those_of_the_docs(
    length, kernel, stride, dilation, padding, more
):
    fixed = padding in ("same", "causal")
    if more >= max(stride, dilation) or (more and fixed):
        with pytest.raises(ValueError, match="output_padding"):
            nn.ConvTranspose1D(2, kernel, stride, padding, dilation=dilation, output_padding=more)
        return
    layer = nn.ConvTranspose1D(2, kernel, stride, padding, dilation=dilation, output_padding=more)
    cut = {0: 0, 1: 2, "valid": 0}.get(padding, 1)
    places = (length - 1) * stride - cut + dilation * (kernel - 1) + more + 1
    if fixed:
        places = length * stride
    x = jax.ShapeDtypeStruct((3, length, 1), "float32")
    if places < 1:
        with pytest.raises(az.ShapeError, match="cuts everything off"):
            layer.settle_shapes(x)
        return
    layer.settle_shapes(x)
    y = shape_of_output(layer, x)
    assert y.shape == (3, places, 2)


def test_a_transposed_layer_computes_the_transpose_of_the_convolution():
    conv = nn.Conv2D(4, 3, 2, "same", groups=2, use_bias=False)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 6, 2)), "float32")
    y, pullback = jax.vjp(lambda x: conv(x), x)
    up = nn.ConvTranspose2D(2, 3, 2, "same", groups=2, use_bias=False)
    up.weight.value = conv.weight.value
    close(up(y), pullback(y)[0], rtol=1e-4, atol=1e-5)


def test_a_causal_layer_sees_no_later_step():
    layer = nn.Conv1D(1, 3, padding="causal", dilation=2)
    x = jnp.arange(8.0)[None, :, None]
    late = layer(x.at[0, 5].set(100.0)) != layer(x)
    assert late[0, :, 0].tolist() == [False] * 5 + [True, False, True]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv2D(4, 3, padding=1, groups=2, activation="relu"),
        lambda: nn.ConvTranspose2D(4, 2, 2),
        lambda: nn.SeparableConv2D(4, 3),
    ],
)
def test_layers_run_under_jit_grad_vmap_and_remat(layer):
    net = nn.Sequential(layer())
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 5, 5, 2)), "float32")

    @az.jit
    def both(net, x):
        grads = az.grad(lambda net, x: az.remat(net)(x).sum())(net, x[0])
        return az.vmap(lambda x: net(x))(x), grads

    y, grads = both(net, x)
    close(y[1], net(x[1]), rtol=1e-4)
    assert set(grads) == set(net.collect_params())


def test_an_eager_call_runs_one_program():
    layer = nn.Conv2D(4, 3, padding="same", activation="relu", in_channels=2)
    x = jnp.ones((1, 4, 4, 2))
    state = layer.state_dict()
    program = jax.make_jaxpr(lambda x: az.functional_call(layer, state, x))(x)
    assert [equation.primitive.name in COMPILED for equation in program.eqns] == [True]


def test_an_activation_may_be_a_layer_or_a_function():
    x = jnp.ones((1, 3, 1))
    for activation in (nn.PReLU(), lambda y: jnp.where(y > 0, y, 0.25 * y)):
        layer = nn.Conv1D(1, 1, activation=activation, weight_init=init.Constant(-1))
        assert layer(x)[0, 0, 0] == -0.25


# -- initial values ------------------------------------------------------------------------------


def spread(parameter):
    value = np.asarray(parameter.value)
    return abs(value).max(), value.std()


@pytest.mark.parametrize(
    ("layer", "fan", "shape"),
    [
        (nn.Conv2D(64, 3, groups=4), 8 * 9, (1, 3, 3, 32)),
        (nn.ConvTranspose2D(64, 3, groups=4), 16 * 9, (1, 3, 3, 32)),
        (nn.DepthwiseConv2D(5), 25, (1, 5, 5, 64)),
    ],
)
def test_weights_are_drawn_from_pytorchs_bounds_and_biases_are_zero(layer, fan, shape):
    layer.initialize(seed=0, example=jnp.ones(shape))
    largest, std = spread(layer.weight)
    bound = fan**-0.5
    assert 0.98 * bound < largest <= bound * (1 + 1e-6)
    assert abs(std - bound / 3**0.5) < 0.05 * bound
    assert not layer.bias.value.any()


@pytest.mark.parametrize(
    ("layer", "fan"),
    [
        (nn.Conv1d(8, 2000, 4, groups=2), 4 * 4),
        (nn.Conv2d(None, 2000, 2), 4 * 4),
        (nn.ConvTranspose1d(None, 2000, 4, groups=500), 4 * 4),
    ],
)
def test_layers_in_pytorchs_spelling_draw_their_bias_as_well(layer, fan):
    channels = {"Conv1d": 8, "Conv2d": 4, "ConvTranspose1d": 500}[type(layer).__name__]
    layer.initialize(seed=0, example=jnp.ones((1, channels, *(4,) * layer.axes)))
    largest, std = spread(layer.bias)
    assert 0.98 * fan**-0.5 < largest <= fan**-0.5 * (1 + 1e-6)
    assert abs(std - (3 * fan) ** -0.5) < 0.05 * fan**-0.5


def test_chosen_initialisers_see_the_true_axes_of_a_transposed_layer():
    layer = nn.ConvTranspose1D(2, 5, in_channels=400, weight_init=init.Kaiming())
    layer.initialize(seed=0)
    assert abs(spread(layer.weight)[1] - (2 / (400 * 5)) ** 0.5) < 1e-3


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: nn.Conv2D(4, 3, padding="sane"), ValueError, "padding is 'same', 'valid', a numb"),
        (lambda: nn.Conv2D(4, 3, padding="causal"), ValueError, "padding is 'same', 'valid', a"),
        (lambda: nn.Conv1D(4, 3, padding=(1, 2)), ValueError, r"written \(\(1, 2\),\)"),
        (lambda: nn.Conv2D(4, 3, padding=-1), ValueError, "padding cannot be less than 0"),
        (lambda: nn.Conv2D(4, (3, 3, 3)), ValueError, "kernel_size is one number, or 2 of them"),
        (lambda: nn.Conv2D(4, "relu"), TypeError, "kernel_size is made of whole numbers"),
        (lambda: nn.Conv2D(4, 0), ValueError, "kernel_size cannot be less than 1"),
        (lambda: nn.Conv2D(4, 3, 0), ValueError, "stride cannot be less than 1"),
        (lambda: nn.Conv2D(4, 3, groups=0), ValueError, "groups cannot be less than 1"),
        (lambda: nn.Conv2D(4, 3, groups=3), az.ShapeError, "channels=4 .* groups=3"),
        (lambda: nn.Conv2D(4, 3, groups=2, in_channels=3), az.ShapeError, "in_channels=3"),
        (lambda: nn.Conv2D(4, 3, layout="NCW"), ValueError, "'NHWC' .* or 'NCHW'"),
        (lambda: nn.Conv2D(4, 3, activation=nn.ReLU), TypeError, r"nn.ReLU\(\)"),
        (lambda: nn.ConvTranspose2D(4, 3, 2, output_padding=2), ValueError, "smaller than the str"),
        (lambda: nn.DepthwiseConv2D(3, multiplier=0), ValueError, "multiplier"),
    ],
)
def test_options_that_do_not_fit_are_refused_when_the_layer_is_built(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Conv2D(4, 3), (5, 5, 3), r"4 axes, NHWC.*x\[None\] for a batch.*x\[..., None\]"),
        (nn.Conv2d(1, 4, 3), (2, 5, 5), r"x\[:, None\] for one channel"),
        (nn.Conv2D(4, 3, in_channels=3), (2, 3, 8, 8), "build the layer with layout='NCHW'"),
        (nn.Conv2D(4, 3, groups=2), (2, 8, 8, 3), "in_channels=3 of Conv2D cannot be divided"),
        (nn.Conv2D(4, 9), (2, 8, 8, 3), "the window is larger"),
        (nn.ConvTranspose2D(4, 3, in_channels=3), (2, 8, 8, 2), "expects 3 channels"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_the_next_step(layer, shape, message):
    with pytest.raises(az.ShapeError, match=message):
        layer(jnp.ones(shape))


# -- sharing, precision, printing ----------------------------------------------------------------


def test_a_layer_may_hold_the_parameters_of_another_one():
    first = nn.SeparableConv2D(4, 3)
    twin = nn.SeparableConv2D(4, 3, params=first.collect_params())
    x = jnp.ones((1, 5, 5, 2))
    close(twin(x), first(x))
    assert twin.depthwise.weight is first.depthwise.weight
    assert twin.pointwise.bias is first.pointwise.bias
    with pytest.raises(az.TieError, match="none called 'weight'"):
        nn.SeparableConv2D(4, 3, params=nn.Conv2D(4, 3).collect_params())


def test_integers_become_floating_and_an_empty_batch_stays_empty():
    layer = nn.Conv2D(4, 3)
    assert layer(jnp.ones((2, 5, 5, 3), "uint8")).dtype == "float32"
    assert layer(jnp.ones((0, 5, 5, 3))).shape == (0, 3, 3, 4)


def test_layers_in_pytorchs_spelling_print_as_there():
    conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    up = nn.ConvTranspose2d(16, 3, 3, 2, 1, 1, groups=1)
    assert repr(conv) == (
        "Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)"
    )
    assert repr(up) == (
        "ConvTranspose2d(16, 3, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), "
        "output_padding=(1, 1))"
    )


def test_rules_for_conv2d_also_select_the_layer_in_pytorchs_spelling():
    net = nn.Sequential(nn.Conv2D(2, 1, in_channels=1), nn.Conv2d(2, 2, 1))
    net.initialize({nn.Conv2D: init.Ones()})
    assert (net[0].weight.value == 1).all()
    assert (net[1].weight.value == 1).all()


# -- padding with cells of the input ---------------------------------------------------------------


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_is_made_of_the_cells_that_numpy_takes(mode):
    x = np.arange(5, dtype=np.float32)
    layer = nn.Conv1D(1, 1, padding=((2, 3),), padding_mode=mode, weight_init="ones")
    in_numpy = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    assert layer(x[None, :, None])[0, :, 0].tolist() == np.pad(x, (2, 3), in_numpy).tolist()


@pytest.mark.parametrize(
    ("mode", "padding", "there"), [("reflect", 3, 2), ("circular", 4, 3), ("circular", "same", 3)]
)
def test_padding_cannot_add_more_cells_than_there_are(mode, padding, there):
    layer = nn.Conv1D(1, 9, padding=padding, padding_mode=mode)
    with pytest.raises(az.ShapeError, match=rf"axis 1 of \(1, 3, 1\) has {there} to give"):
        layer(jnp.ones((1, 3, 1)))
    nn.Conv1D(1, 3, padding=3, padding_mode="replicate")(jnp.ones((1, 3, 1)))


def test_names_of_padding_may_be_in_capitals_and_modes_have_their_own_option():
    assert nn.Conv2D(1, 3, padding="SAME").padding == "same"
    assert nn.MaxPool2D(2, padding="Valid").padding == "valid"
    with pytest.raises(ValueError, match="padding='same', padding_mode='circular'"):
        nn.Conv2D(1, 3, padding="CIRCULAR")
    with pytest.raises(ValueError, match="padding_mode is one of 'zeros', 'reflect', 'repl"):
        nn.SeparableConv2D(1, 3, padding_mode="edge")
    assert "padding=1, padding_mode='reflect'" in repr(
        nn.DepthwiseConv2D(3, padding=1, padding_mode="reflect")
    )

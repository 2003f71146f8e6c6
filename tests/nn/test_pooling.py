import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.reference import close


def windows(length, kernel, stride, before, after, ceil_mode):
    """Where the windows begin, by PyTorch's rule, found by trying all places."""
    begins = range(-before, length, stride)
    end = length + after
    whole = [b for b in begins if b + kernel <= end]
    # The window that is cut off begins less than a stride before the last place for a whole one.
    cut_off = [b for b in begins if b not in whole and b + kernel - end < stride]
    return whole + cut_off[:1] if ceil_mode else whole


@settings(max_examples=25)
@given(
    length=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    ceil_mode=st.booleans(),
    counted=st.booleans(),
)
def test_windows_stand_where_the_docs_say(length, kernel, stride, padding, ceil_mode, counted):
    build = lambda: (  # noqa: E731
        nn.MaxPool1D(kernel, stride, padding, ceil_mode=ceil_mode),
        nn.AvgPool1D(kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=counted),
    )
    if 2 * padding > kernel:
        with pytest.raises(ValueError, match="at most half"):
            build()
        return
    largest, average = build()
    x = np.random.default_rng(length).normal(size=length)
    begins = windows(length, kernel, stride, padding, padding, ceil_mode)
    given_x = jnp.asarray(x, "float32")[None, :, None]
    if not begins:
        with pytest.raises(az.ShapeError, match="the window is larger"):
            largest(given_x)
        return
    inside = [x[max(b, 0) : b + kernel] for b in begins]
    cells = [
        min(b + kernel, length + padding) - b if counted else len(seen)
        for b, seen in zip(begins, inside, strict=True)
    ]
    close(largest(given_x)[0, :, 0], [seen.max() for seen in inside])
    expected = [seen.sum() / n for seen, n in zip(inside, cells, strict=True)]
    close(average(given_x)[0, :, 0], expected, atol=1e-5)


@settings(max_examples=15)
@given(length=st.integers(1, 9), count=st.integers(1, 6))
@example(length=40, count=37)
def test_adaptive_windows_share_out_the_axis(length, count):
    x = np.random.default_rng(length).normal(size=length)
    seen = [x[i * length // count : -(-(i + 1) * length // count)] for i in range(count)]
    given_x = jnp.asarray(x, "float32")[None, None]
    largest = nn.AdaptiveMaxPool1D(count, layout="NCW")(given_x)
    average = nn.AdaptiveAvgPool1D(count, layout="NCW")(given_x)
    close(largest[0, 0], [s.max() for s in seen])
    close(average[0, 0], [s.mean() for s in seen], atol=1e-5)


def test_the_largest_of_many_uneven_windows_have_their_derivatives_at_the_first_place():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (1, 40, 2)), "float32")
    expected = np.zeros(x.shape)
    for i in range(37):
        begin = i * 40 // 37
        seen = np.asarray(x[0, begin : -(-(i + 1) * 40 // 37)])
        for channel, place in enumerate(seen.argmax(0)):
            expected[0, begin + place, channel] += 1
    close(jax.grad(lambda x: nn.AdaptiveMaxPool1D(37)(x).sum())(x), expected)


LAYERS = {
    "max": nn.MaxPool2D(2),
    "max, overlapping": nn.MaxPool2D(3, 2, 1),
    "max, dilated": nn.MaxPool2D(2, dilation=2),
    "average": nn.AvgPool2D(3, 2, 1),
    "adaptive max": nn.AdaptiveMaxPool2D((2, 3)),
    "adaptive average": nn.AdaptiveAvgPool2D((2, 3)),
    "global max": nn.GlobalMaxPool2D(keepdims=False),
    "global average": nn.GlobalAvgPool2D(keepdims=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_run_under_jit_grad_and_vmap(name):
    layer = LAYERS[name]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 7, 7, 2)), "float32")
    mapped = az.jit(az.vmap(lambda x: layer(x)))
    close(mapped(x)[1], layer(x[1]))
    gradient = jax.jit(jax.grad(lambda x: layer(x).sum()))(x[0])
    assert gradient.shape == x[0].shape
    if name != "average":  # whose padding takes a part
        # Each output hands on exactly its own derivative.
        close(gradient.sum(), layer(x[0]).size, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_half_precision_goes_in_and_comes_out(name):
    x = jnp.ones((1, 8, 8, 1), "bfloat16")
    assert LAYERS[name](x).dtype == "bfloat16"


def test_averages_are_summed_in_float32():
    x = jnp.full((1, 64, 64, 1), 100.0, "float16")
    assert nn.GlobalAvgPool2D()(x).item() == 100.0
    assert nn.AvgPool2D(64)(x).item() == 100.0


def test_integers_have_a_largest_one_and_a_floating_average():
    x = jnp.asarray([[-3], [-5], [-128], [-7]], "int8")[None]
    largest = nn.MaxPool1D(3, 2, 1)(x)
    assert largest.dtype == "int8"
    assert largest.ravel().tolist() == [-3, -5]
    assert nn.GlobalMaxPool1D()(x).dtype == "int8"
    assert nn.AvgPool1D(2)(x).ravel().tolist() == [-4.0, -67.5]


def test_infinity_in_one_window_leaves_the_others_alone():
    x = jnp.asarray([jnp.inf, 1, 2, 3, 4], "float32")[None, :, None]
    assert nn.AdaptiveAvgPool1D(3)(x).ravel().tolist() == [jnp.inf, 2.0, 3.5]
    assert nn.AdaptiveMaxPool1D(3)(-x).ravel().tolist() == [-1.0, -1.0, -3.0]


def test_nan_is_larger_than_everything():
    x = jnp.asarray([1, jnp.nan, 2, 3, 4, 5], "float32")[None, :, None]
    for layer in (nn.MaxPool1D(2), nn.AdaptiveMaxPool1D(3)):
        assert jnp.isnan(layer(x)).ravel().tolist() == [True, False, False]


def test_the_derivative_of_a_global_maximum_goes_to_the_first_place_that_has_it():
    x = jnp.asarray([[0.0, 2.0], [2.0, 1.0]])[None, :, :, None]
    gradient = jax.grad(lambda x: nn.GlobalMaxPool2D()(x).sum())(x)
    assert gradient.ravel().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.MaxPool2D(3, padding=2), "at most half of the window, which spans 3"),
        (lambda: nn.MaxPool2D(3, layout="NCW"), "'NHWC'"),
        (lambda: nn.MaxPool2D(0), "kernel_size cannot be less than 1"),
        (lambda: nn.AvgPool1D(2, padding="causal"), "padding is 'same', 'valid'"),
        (lambda: nn.AdaptiveAvgPool2D((1, 2, 3)), "output_size .* one number, or 2 of them"),
        (lambda: nn.AdaptiveAvgPool2D(0), "output_size cannot be less than 1"),
    ],
)
def test_options_that_do_not_fit_are_refused_when_the_layer_is_built(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.MaxPool2D(2), (4, 4, 3), r"4 axes, NHWC"),
        (nn.MaxPool2D(5), (1, 4, 4, 3), "the window is larger"),
        (nn.GlobalAvgPool2D(), (1, 0, 4, 3), "nothing to pool"),
        (nn.AdaptiveMaxPool2D(2), (1, 0, 4, 3), "nothing to pool"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(az.ShapeError, match=message):
        layer(jnp.ones(shape))


def test_the_sum_of_a_window_may_be_divided_by_any_number():
    pool = nn.AvgPool1D(3, 1, 1, divisor_override=2)
    assert pool(jnp.ones((1, 4, 1)))[0, :, 0].tolist() == [1, 1.5, 1.5, 1]
    assert repr(pool) == "AvgPool1D(kernel_size=3, stride=1, padding=1, divisor_override=2)"
    with pytest.raises(ValueError, match="divisor_override cannot be less than 1"):
        nn.AvgPool2d(2, divisor_override=0)

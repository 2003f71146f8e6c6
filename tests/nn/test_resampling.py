import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ansatz as az
from ansatz import nn
from tests.nn.reference import close


def line(*values, dtype="float32"):
    """A sequence with one channel."""
    return jnp.asarray(values, dtype)[None, :, None]


def on_line(x, **options):
    return nn.interpolate(x, **options)[0, :, 0].tolist()


def test_the_nearest_cell_is_the_one_in_which_a_cell_begins_or_has_its_centre():
    x = line(0, 1, 2, 3, 4)
    assert on_line(x, size=3) == [0, 1, 3]
    assert on_line(x, size=3, mode="nearest-exact") == [0, 2, 4]
    assert on_line(line(1, 2), scale=3) == [1, 1, 1, 2, 2, 2]


def test_a_straight_line_stays_one_between_its_ends():
    x = line(0, 4, 8)
    assert on_line(x, scale=2, mode="linear") == [0, 1, 3, 5, 7, 8]
    assert on_line(x, size=5, mode="linear", align_corners=True) == [0, 2, 4, 6, 8]
    assert on_line(x, size=1, mode="linear", align_corners=True) == [0]


@settings(max_examples=5)
@given(
    length=st.integers(1, 6),
    size=st.integers(1, 9),
    mode=st.sampled_from(["linear", "cubic"]),
    how=st.sampled_from([{}, {"align_corners": True}, {"antialias": True}]),
)
def test_weights_sum_to_one_and_the_gradient_is_the_transpose(length, size, mode, how):
    resize = lambda x: nn.interpolate(x, size=size, mode=mode, **how)  # noqa: E731

    @jax.jit
    def everything(x, c):
        y, pullback = jax.vjp(resize, x)
        return y, pullback(c)[0], jax.jvp(resize, (x,), (x,))[1], resize(jnp.full_like(x, 3))

    rng = np.random.default_rng(0)
    x, c = (jnp.asarray(rng.normal(size=(1, n, 1)), "float32") for n in (length, size))
    y, pulled, pushed, constant = everything(x, c)
    close(constant, np.full((1, size, 1), 3.0), rtol=1e-5)
    close(jnp.vdot(pulled, x), jnp.vdot(c, y), rtol=1e-3, atol=1e-4)
    close(pushed, y, rtol=1e-5, atol=1e-6)


def test_antialiasing_averages_over_what_a_cell_covers():
    x = line(0, 0, 8, 0, 0, 0, 0, 0)
    assert on_line(x, scale=0.5, mode="linear") == [0, 4, 0, 0]
    # A triangle of twice the width weighs cells at distances ½ and 1½ by 3 and 1.
    found = on_line(x, scale=0.5, mode="linear", antialias=True)
    close(np.asarray(found), [8 / 7, 3, 0, 0], rtol=1e-6)


def test_many_taps_are_one_gather_and_give_the_same():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 1)), "float32")
    c = jnp.ones((1, 200, 1))
    y, pullback = jax.vjp(lambda x: nn.interpolate(x, scale=100, mode="linear"), x)
    assert y.shape == (1, 200, 1)
    close(pullback(c)[0].ravel(), [100, 100], rtol=1e-5)


def test_second_derivatives_and_batches_of_gradients_are_there():
    resize = lambda x: nn.interpolate(x, scale=2, mode="linear")  # noqa: E731
    f = lambda x: (resize(x) ** 2).sum()  # noqa: E731

    @jax.jit
    def derivatives(x):
        both = jax.vmap(jax.grad(f))(jnp.stack([x, 2 * x]))
        return jax.jacfwd(resize)(x), jax.hessian(f)(x), both

    matrix, hessian, (gradient, twice) = derivatives(line(1, 2, 4))
    matrix = matrix.reshape(6, 3)
    close(hessian.reshape(3, 3), 2 * matrix.T @ matrix, rtol=1e-5)
    close(gradient.ravel(), 2 * matrix.T @ matrix @ jnp.array([1.0, 2, 4]), rtol=1e-5)
    close(twice, 2 * gradient, rtol=1e-6)


def test_what_takes_no_part_may_be_infinite():
    x = line(jnp.inf, 1, 2)
    assert on_line(x, scale=2)[2:] == [1, 1, 2, 2]
    assert on_line(x, scale=2, mode="linear")[3:] == [1.25, 1.75, 2]
    _, pullback = jax.vjp(lambda x: nn.interpolate(x, size=2), x)
    assert pullback(line(jnp.inf, 5))[0].ravel().tolist() == [jnp.inf, 5, 0]


def test_half_precision_is_computed_in_float32():
    x = line(*range(7), dtype="float16")
    expected = nn.interpolate(x.astype("float32"), size=5, mode="cubic").astype("float16")
    y = nn.interpolate(x, size=5, mode="cubic")
    assert y.dtype == "float16"
    assert (y == expected).all()
    # The gradient is a sum of many: in float16 it would not come further than 2048.
    y, pullback = jax.vjp(lambda x: nn.interpolate(x, size=3000), line(1, dtype="float16"))
    assert pullback(jnp.ones_like(y))[0].item() == 3000


def test_labels_stay_integers_and_averages_of_them_are_not():
    labels = line(3, 5, dtype="int32")
    assert nn.interpolate(labels, scale=2).dtype == "int32"
    assert on_line(labels, scale=2) == [3, 3, 5, 5]
    assert nn.interpolate(labels > 4, scale=2).dtype == "bool"
    assert on_line(labels, scale=2, mode="linear") == [3, 3.5, 4.5, 5]


def test_what_keeps_its_size_is_left_alone():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 4, 2)), "float32")
    for mode in ("nearest", "linear", "cubic"):
        assert (nn.interpolate(x, size=(3, 4), mode=mode) == x).all()


def test_an_empty_batch_is_resized():
    assert nn.Upsample(scale=2)(jnp.ones((0, 4, 4, 3))).shape == (0, 8, 8, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "either size=.* or scale=.*; got neither"),
        ({"size": 2, "scale": 2}, ValueError, "got both"),
        ({"scale": 2, "mode": "biliner"}, ValueError, "did you mean 'bilinear'"),
        ({"scale": 2, "mode": "area"}, ValueError, "nn.AdaptiveAvgPool2D"),
        ({"scale": 2, "align_corners": True}, ValueError, "align_corners .* is for mode='linear'"),
        (
            {"scale": 2, "mode": "linear", "align_corners": True, "antialias": True},
            ValueError,
            "not both",
        ),
        ({"scale": 0}, ValueError, "scale is a positive number"),
        ({"scale": float("nan")}, ValueError, "scale is a positive number"),
        ({"scale": "2"}, TypeError, "scale is made of numbers, got '2'"),
        ({"size": 2.0}, TypeError, "size is made of whole numbers, got 2.0"),
        ({"size": (1, 2, 3, 4)}, ValueError, "size is a positive number, or one for each axis"),
        ({"scale": 2, "layout": "HWC"}, ValueError, "layout is None .* got 'HWC'"),
        ({"scale_factor": 2}, TypeError, "it is scale= here, and channels are last"),
        ({"scale": 2, "interpolation": "linear"}, TypeError, "it is called 'mode' here"),
    ],
)
def test_options_of_a_resizing_that_do_not_fit_are_refused(options, error, message):
    for build in (nn.Upsample, lambda **options: nn.interpolate(line(1), **options)):
        with pytest.raises(error, match=message):
            build(**options)


def test_a_size_or_a_scale_is_given_by_name():
    with pytest.raises(TypeError, match=r"nothing by position.*by name: size, scale"):
        nn.Upsample(2)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Upsample(scale=2), (4, 3), r"one to three spatial axes.*\(4, 3\).*x\[None\]"),
        (nn.Upsample(scale=2, layout="NCHW"), (4, 4, 3), "4 axes, NCHW"),
        (nn.Upsample(scale=(2, 2)), (1, 4, 3), "is for 2 spatial axes.*has 1"),
        (nn.Upsample(scale=2, mode="bilinear"), (1, 4, 3), "2 spatial axes.*mode='linear' takes"),
        (nn.Upsample(scale=2), (1, 0, 3), "of the 0 along axis 1"),
        (nn.Upsample(scale=0.2), (1, 4, 3), "makes 0 cells of the 4 along axis 1"),
        (nn.PixelShuffle(2), (1, 4, 4, 6), "which 4 does not divide"),
        (nn.PixelShuffle(2), (1, 8, 4, 3), "build the layer with layout='NCHW'"),
        (nn.PixelShuffle((2, 2)), (1, 4, 4), "4 axes, NHWC"),
        (nn.PixelShuffle((2, 2), layout="NWC"), (1, 4, 4), "is for 2 spatial axes"),
        (nn.PixelUnshuffle(2), (1, 4, 5, 6), "divides axis 2 by 2"),
        (nn.ChannelShuffle(4), (1, 4, 5, 6), "4 groups.*has 6 along axis -1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(az.ShapeError, match=message):
        layer(jnp.ones(shape))


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: nn.PixelShuffle(0), ValueError),
        (lambda: nn.PixelShuffle(1.5), TypeError),
        (lambda: nn.PixelShuffle("2"), TypeError),
        (lambda: nn.PixelShuffle((1, 2, 3, 4)), ValueError),
        (lambda: nn.ChannelShuffle(0), ValueError),
    ],
)
def test_factors_and_groups_are_positive_whole_numbers(build, error):
    with pytest.raises(error, match=r"factor|groups"):
        build()


@settings(max_examples=5)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3))
def test_shuffling_and_unshuffling_are_inverse(axes):
    factor = [r for r, _ in axes]
    x = np.arange(np.prod([r * n for r, n in axes]) * 2, dtype="float32")
    x = jnp.asarray(x.reshape(1, *[r * n for r, n in axes], 2))
    assert (nn.PixelShuffle(factor)(nn.PixelUnshuffle(factor)(x)) == x).all()


def test_layers_print_what_differs_from_the_defaults():
    printed = {
        "Upsample(scale=2)": nn.Upsample(scale=2),
        "Upsample(size=(3, 4), mode='cubic', antialias=True)": nn.Upsample(
            size=[3, 4], mode="cubic", antialias=True
        ),
        "PixelShuffle(factor=2, layout='NCHW')": nn.PixelShuffle(2, layout="NCHW"),
        "ChannelShuffle(groups=2, axis=1)": nn.ChannelShuffle(2, axis=1),
    }
    for text, layer in printed.items():
        assert repr(layer) == text

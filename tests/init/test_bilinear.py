import jax
import numpy as np
import pytest

import ansatz as az
from ansatz import init


def value_of(shape, dtype="float32"):
    return np.asarray(az.Parameter(shape, dtype=dtype, init="bilinear").value)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, [1]),
        (2, [1, 0]),  # f = 1 and c = 0
        (3, [0.25, 0.75, 0.75]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_a_kernel_axis_has_the_weights_of_the_formula(size, expected):
    np.testing.assert_allclose(value_of((1, 1, size))[0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("kernel", [(4, 4), (3, 5), (4, 2, 6)])
def test_several_axes_multiply_and_all_channels_are_alike(kernel):
    drawn = value_of((2, 3, *kernel))
    lines = [value_of((1, 1, size))[0, 0] for size in kernel]
    expected = lines[0]
    for line in lines[1:]:
        expected = expected[..., None] * line
    for channels in drawn.reshape(-1, *kernel):
        np.testing.assert_allclose(channels, expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_transposed_convolution_with_it_interpolates_linearly(scale):
    size, padding = 2 * scale - scale % 2, -(-(scale - 1) // 2)
    line = np.array([0.0, 1.0, 3.0, 2.0, 2.0], np.float32)
    margin = size - 1 - padding
    y = jax.lax.conv_general_dilated(
        line[None, None], value_of((1, 1, size)), [1], [(margin, margin)], lhs_dilation=[scale]
    )[0, 0]
    # Output i stands at (i - (scale - 1) / 2) / scale of the input, as in image resizing.
    places = (np.arange(y.size) - (scale - 1) / 2) / scale
    inside = (places >= 0) & (places <= line.size - 1)
    np.testing.assert_allclose(
        np.asarray(y)[inside], np.interp(places[inside], range(line.size), line), atol=1e-6
    )


def test_low_precision_is_rounded_once():
    np.testing.assert_array_equal(
        value_of((1, 1, 5), "bfloat16"), value_of((1, 1, 5)).astype(jax.numpy.bfloat16)
    )


@pytest.mark.parametrize("shape", [(2, 2, 0), (0, 2, 3)])
def test_empty_kernels_are_filled(shape):
    assert value_of(shape).shape == shape


@pytest.mark.parametrize("shape", [(3,), (3, 3), (1,) * 6])
def test_a_shape_that_is_no_kernel_is_refused_by_path(shape):
    module = az.Module()
    module.up = az.Parameter(shape)
    with pytest.raises(az.InitializationError, match=r"parameter 'up' has shape .*3 to 5 dim"):
        module.initialize(init.Bilinear())


def test_integers_are_refused():
    with pytest.raises(az.InitializationError, match="dtype int32"):
        value_of((1, 1, 4), "int32")

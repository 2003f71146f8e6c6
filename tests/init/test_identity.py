import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import init, nn


def value_of(initializer, shape, dtype="float32"):
    return np.asarray(az.Parameter(shape, dtype=dtype, init=initializer).value)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (0, 2), (1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_the_identity_has_ones_on_the_diagonal_of_any_matrix(shape, dtype):
    np.testing.assert_array_equal(value_of("identity", shape, dtype), np.eye(*shape))
    np.testing.assert_array_equal(value_of(init.Identity(3), shape, dtype), 3 * np.eye(*shape))


def test_a_dense_layer_with_the_identity_hands_on_its_input():
    layer = nn.Dense(4, weight_init="eye")
    x = jnp.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(layer(x), x)


@pytest.mark.parametrize("kernel", [(3,), (5,), (3, 3), (1, 5), (3, 1, 3)])
@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (6, 3), (4, 4)])
def test_a_convolution_with_a_dirac_kernel_is_the_identity(kernel, channels, groups):
    weight = value_of(init.Dirac(groups), (channels, channels // groups, *kernel))
    x = np.random.default_rng(0).standard_normal((2, channels, *(6 for _ in kernel)))
    y = jax.lax.conv_general_dilated(
        x.astype(np.float32), weight, [1] * len(kernel), "SAME", feature_group_count=groups
    )
    np.testing.assert_allclose(y, x, rtol=1e-6)


@pytest.mark.parametrize(("out", "groups"), [(2, 1), (7, 1), (9, 3), (3, 3)])
def test_channels_that_do_not_fit_are_cut_off_or_left_at_zero(out, groups):
    weight = value_of(init.Dirac(groups), (out, 2, 3))
    assert weight.sum() == groups * min(out // groups, 2)
    kept = weight.reshape(groups, out // groups, 2, 3)
    for group in kept:
        np.testing.assert_array_equal(group[:, :, 1], np.eye(out // groups, 2))
        assert not group[:, :, [0, 2]].any()


def test_even_kernels_have_their_centre_after_the_middle():
    np.testing.assert_array_equal(value_of("dirac", (1, 1, 4))[0, 0], [0, 0, 1, 0])


@pytest.mark.parametrize("shape", [(2, 2, 0), (0, 2, 3), (2, 0, 3)])
def test_empty_kernels_are_filled(shape):
    assert value_of("dirac", shape).shape == shape


@pytest.mark.parametrize(
    ("initializer", "shape", "message"),
    [
        (init.Identity(), (3,), r"'weight' has shape \(3,\).* needs 2 dim"),
        (init.Identity(), (3, 3, 3), r"'weight' has shape \(3, 3, 3\).*init\.Dirac"),
        (init.Dirac(), (3, 3), r"'weight' has shape \(3, 3\).*3 to 5 .*init\.Identity"),
        (init.Dirac(), (3,), r"'weight' has shape \(3,\).*3 to 5 dimensions"),
        (init.Dirac(), (1,) * 6, "3 to 5 dimensions"),
        (init.Dirac(3), (4, 2, 3), r"'weight' .*cannot be split into the groups of Dirac\(gro"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_by_path(initializer, shape, message):
    module = az.Module()
    module.weight = az.Parameter(shape)
    with pytest.raises(az.InitializationError, match=message):
        module.initialize(initializer)


@pytest.mark.parametrize("groups", [0, -1, 1.0, "1", True, None])
def test_groups_are_positive_integers(groups):
    with pytest.raises(az.InitializationError, match="groups of Dirac"):
        init.Dirac(groups)


def test_a_gain_that_the_dtype_cannot_hold_is_refused():
    for gain, dtype in ((0.5, "int32"), (1e6, "float16")):
        with pytest.raises(az.InitializationError, match=f"dtype {dtype}, which cannot hold"):
            value_of(init.Identity(gain), (2, 2), dtype)
    with pytest.raises(az.InitializationError, match="gain of Identity"):
        init.Identity(float("nan"))

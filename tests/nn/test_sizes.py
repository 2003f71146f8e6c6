import jax.numpy as jnp
import numpy as np
import pytest

import ansatz as az
from ansatz import nn
from ansatz.nn.sizes import checked_size, checked_width, size_along


def test_an_axis_that_does_not_exist_is_a_shape_error():
    assert size_along(jnp.ones((2, 3)), -1) == 3
    with pytest.raises(az.ShapeError, match=r"\(2, 3\), which has no axis 2"):
        size_along(jnp.ones((2, 3)), 2)


def test_whole_numbers_of_numpy_are_sizes():
    assert checked_size("units", np.int64(3)) == 3
    assert checked_width("in_units", None) is None


def test_anything_else_is_refused_by_name():
    with pytest.raises(TypeError, match=r"units is a whole number, got 2\.5"):
        checked_size("units", 2.5)
    with pytest.raises(ValueError, match="units cannot be negative"):
        checked_size("units", -1)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm(3), nn.GroupNorm(3, 3), nn.InstanceNorm(3), nn.PReLU(3)], ids=repr
)
def test_channels_that_come_first_are_noticed(layer):
    with pytest.raises(az.ShapeError, match="channels come first, build the layer with axis=1"):
        layer(jnp.ones((2, 3, 4, 5)))
    with pytest.raises(az.ShapeError, match=r"3 channels along axis -1.*; check the axis and the"):
        layer(jnp.ones((2, 4)))
